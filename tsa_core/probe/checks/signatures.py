"""The CMS around a token: RFC 5652, 5035, 5754, 5816, 8419, 9882."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519

from tsa_core.paths.algorithms import SignatureScheme, signature_scheme
from tsa_core.probe.canonical import first_fault, is_sorted
from tsa_core.probe.check import Area, At, Severity, check
from tsa_core.probe.checks.signing_certificate import ANY_HASH, V1, V2
from tsa_core.probe.evidence import DoesNotApply, Evidence, Stamp, Unseen, key_of
from tsa_core.probe.reading import fields_of, has_certificates
from tsa_core.protocol import der, oids
from tsa_core.protocol.hashes import SHA512, SHAKE256_512, HashAlgorithm
from tsa_core.protocol.reply import SignerInfo
from tsa_core.protocol.signatures import describe_key
from tsa_core.protocol.tstinfo import encode_signing_time
from tsa_core.verify.algorithms import digest_algorithm
from tsa_core.verify.errors import VerificationError
from tsa_core.verify.signed_data import check_structure, find_signer
from tsa_core.verify.statement import check_answer, check_signed_by

_CONTENT_TYPE: Final = der.oid(oids.ID_CONTENT_TYPE)
_MESSAGE_DIGEST: Final = der.oid(oids.ID_MESSAGE_DIGEST)
_SIGNING_TIME: Final = der.oid(oids.ID_SIGNING_TIME)
_TST_INFO: Final = der.oid(oids.ID_CT_TST_INFO)
_SHA_2: Final = frozenset(map(der.oid, (oids.SHA256, oids.SHA384, oids.SHA512)))
_WEAK: Final = frozenset({"sha1", "md5"})
_ML_DSA_DIGESTS: Final = {"ML-DSA-44": 256, "ML-DSA-65": 384, "ML-DSA-87": 512}


def _digest(signer: SignerInfo) -> HashAlgorithm:
    """Return the hash of a SignerInfo, weak ones too; raises a VerificationError for an unknown one."""
    return digest_algorithm(signer.digest_algorithm_der, "the message digest", ANY_HASH)


def _scheme(signer: SignerInfo) -> SignatureScheme:
    return signature_scheme(signer.signature_algorithm_der, _digest(signer), ANY_HASH)


@check(
    "verifies",
    area=Area.SIGNATURE,
    rules="V2 V3 V4 V7 V13 V16",
    severity=Severity.CRITICAL,
    title="Every token verifies with its signer's certificate and answers its request",
    meaning="timestamp-cli verify refuses the token, as other verifiers will.",
    needs="plain bare",
)
def verifies(evidence: Evidence) -> Iterator[str | At]:
    """Let the verifier judge every token that was asked for in DER and with a strong hash."""
    judged = [s for s in evidence.tokens() if s.exchange.case.granted and s.exchange.body is not None]
    if not judged:
        raise Unseen("no token came for a request that is to be granted")
    unchecked = 0
    for stamp in judged:
        try:
            check_answer(stamp.reply.body, stamp.exchange.body or b"")
            unchecked += not _is_signed(stamp, evidence)
        except VerificationError as error:
            yield At(stamp.name, f"{error} (rule {error.rule})")
    if unchecked:
        raise Unseen(
            f"the signatures of {unchecked} of {len(judged)} tokens: no token brought their signer's certificate"
        )


def _is_signed(stamp: Stamp, evidence: Evidence) -> bool:
    """Check a token without certificates with one that another token brought; say whether its signature was checked.

    `check_answer` has checked the signatures of the others. Raises a VerificationError.
    """
    if stamp.reply.certificate is not None:
        return True
    known = evidence.certificate_of(stamp)
    if known is not None:
        signed = check_structure(stamp.token)
        check_signed_by(signed, stamp.info, find_signer(signed, [known]))
    return known is not None


@check(
    "one-signer",
    area=Area.SIGNATURE,
    rules="S20 V13",
    severity=Severity.CRITICAL,
    title="One SignerInfo",
    meaning="RFC 3161 2.4.2: the token contains the authority's signature and no other.",
)
def one_signer(evidence: Evidence) -> Iterator[str | At]:
    """Judge every token."""
    for stamp in evidence.tokens():
        if len(stamp.token.signers) != 1:
            yield At(stamp.name, f"{len(stamp.token.signers)}")


@check(
    "signed-data-version",
    area=Area.SIGNATURE,
    rules="C1",
    severity=Severity.WARNING,
    title="SignedData says version 3",
    meaning="RFC 5652 5.1: 3, because the content is no id-data. Strict readers refuse 1.",
)
def signed_data_version(evidence: Evidence) -> Iterator[str | At]:
    """Judge every token."""
    for stamp in evidence.tokens():
        if stamp.token.version != 3:
            yield At(stamp.name, f"version {stamp.token.version}")


@check(
    "signer-identifier",
    area=Area.SIGNATURE,
    rules="C2",
    severity=Severity.WARNING,
    title="The signer is named by issuer and serial number, in a SignerInfo of version 1",
    meaning="Most clients do not find a signer that is named by its key identifier.",
)
def signer_identifier(evidence: Evidence) -> Iterator[str | At]:
    """Judge every SignerInfo."""
    for stamp, signer in evidence.signers():
        if signer.sid_der[0] != der.SEQUENCE:
            yield At(stamp.name, "named by its key identifier")
        elif signer.version != 1:
            yield At(stamp.name, f"version {signer.version}")


@check(
    "signed-attributes",
    area=Area.SIGNATURE,
    rules="C3",
    severity=Severity.ERROR,
    title="content-type, message-digest and signing-certificate are signed, once each",
    meaning="RFC 5652 11, RFC 3161 2.4.2. Without them a signature can be moved to another content.",
)
def signed_attributes(evidence: Evidence) -> Iterator[str | At]:
    """Judge every SignerInfo."""
    for stamp, signer in evidence.signers():
        for name, title in ((_CONTENT_TYPE, "content-type"), (_MESSAGE_DIGEST, "message-digest")):
            if len(signer.attributes.get(name, ())) != 1:
                yield At(stamp.name, f"no {title}, or several values")
        if signer.attributes.get(_CONTENT_TYPE, (_TST_INFO,))[0] != _TST_INFO or stamp.token.content_type != _TST_INFO:
            yield At(stamp.name, "content-type is not id-ct-TSTInfo")
        if V1 not in signer.attributes and V2 not in signer.attributes:
            yield At(stamp.name, "no signing-certificate")


@check(
    "attributes-order",
    area=Area.SIGNATURE,
    rules="C3",
    severity=Severity.ERROR,
    title="Signed attributes stand in DER order",
    meaning="RFC 5652 5.3: they must be DER. Clients that hash them as they came find another signature.",
)
def attributes_order(evidence: Evidence) -> Iterator[str | At]:
    """Judge the SET of every SignerInfo."""
    for stamp, signer in evidence.signers():
        if not is_sorted(fields_of(signer.signed_attributes_der)):
            yield At(stamp.name, "not in order")


@check(
    "certificates-order",
    area=Area.SIGNATURE,
    rules="C4",
    severity=Severity.WARNING,
    title="Certificates stand in DER order",
    meaning="certificates is a SET OF; rfc3161-client and sigstore-python refuse it out of order.",
)
def certificates_order(evidence: Evidence) -> Iterator[str | At]:
    """Judge every token with certificates."""
    with_some = [stamp for stamp in evidence.tokens() if stamp.token.certificates]
    if not with_some:
        raise Unseen("no token holds a certificate")
    for stamp in with_some:
        if not is_sorted(stamp.token.certificates):
            yield At(stamp.name, "not in order")


@check(
    "digest-algorithms",
    area=Area.SIGNATURE,
    rules="C5",
    severity=Severity.ERROR,
    title="digestAlgorithms lists the signer's digest",
    meaning="RFC 5652 5.1. Readers that hash while they read use this list.",
)
def digest_algorithms(evidence: Evidence) -> Iterator[str | At]:
    """Judge every token."""
    for stamp, signer in evidence.signers():
        # By the identifiers alone: parameters may be NULL in one place and absent in the other.
        if fields_of(signer.digest_algorithm_der)[0] not in [fields_of(e)[0] for e in stamp.token.digest_algorithms]:
            yield At(stamp.name, "it is missing")


@check(
    "signing-time",
    area=Area.SIGNATURE,
    rules="C6",
    severity=Severity.WARNING,
    title="signing-time is genTime's second, UTCTime until 2049",
    meaning="RFC 5652 11.3. Two times in one token leave open which one holds.",
)
def signing_time(evidence: Evidence) -> Iterator[str | At]:
    """Judge the attribute where it is there."""
    found = [
        (stamp, one.attributes[_SIGNING_TIME]) for stamp, one in evidence.signers() if _SIGNING_TIME in one.attributes
    ]
    if not found:
        raise DoesNotApply("no token has the attribute")
    for stamp, values in found:
        if values != (encode_signing_time(stamp.info.gen_time),):
            yield At(stamp.name, "another time or form")


@check(
    "one-digest",
    area=Area.SIGNATURE,
    rules="C7 C9",
    severity=Severity.WARNING,
    title="One digest algorithm throughout; SHA-512 with Ed25519, SHAKE256 with Ed448",
    meaning="RFC 5754, RFC 8419. Clients take the content's digest for the signature's.",
)
def one_digest(evidence: Evidence) -> Iterator[str | At]:
    """Judge message digest and signature of every token."""
    for stamp, signer in evidence.signers():
        digest, scheme = _digest(signer), _scheme(signer)
        if any(name != digest.name for name in scheme.hash_names):
            yield At(stamp.name, f"{digest.name} for the content, {', '.join(scheme.hash_names)} in the signature")
        wanted = {ed25519.Ed25519PublicKey: SHA512, ed448.Ed448PublicKey: SHAKE256_512}.get(scheme.key_type)
        if wanted is not None and digest.name != wanted.name:
            yield At(stamp.name, f"{scheme.name} with {digest.name} instead of {wanted.name}")


@check(
    "digest-of-key",
    area=Area.SIGNATURE,
    rules="C7 C10",
    severity=Severity.NOTE,
    title="The digest is as strong as the key",
    meaning="FIPS 186-5 6.1, RFC 9882 3.3: P-384 and ML-DSA-65 want 384 bits, P-521 and ML-DSA-87 want 512.",
)
def digest_of_key(evidence: Evidence) -> Iterator[str | At]:
    """Judge the message digest beside the signer's key where that is ECDSA or ML-DSA; other keys ask for no length."""
    for stamp, signer in evidence.signers():
        if (certificate := evidence.certificate_of(stamp)) is None:
            continue
        wanted, bits = _digest_bits(key_of(certificate)), _digest(signer).digest_size * 8
        if bits < wanted:
            yield At(stamp.name, f"{_digest(signer).name} with a key that wants {wanted} bits")


def _digest_bits(key: object) -> int:
    """Return how many bits of a digest a key wants at least, 0 where its kind does not say."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return min(key.key_size, 512)
    return _ML_DSA_DIGESTS.get(describe_key(key), 0)


@check(
    "digest-strength",
    area=Area.SIGNATURE,
    rules="V15 V20",
    severity=Severity.CRITICAL,
    title="Digest and signature are strong today",
    meaning="SHA-1 ended in 2012 (ETSI TS 119 312), MD5 before: such a token can be forged.",
)
def digest_strength(evidence: Evidence) -> Iterator[str | At]:
    """Judge the algorithms of every SignerInfo."""
    for stamp, signer in evidence.signers():
        weak = {_digest(signer).name, *_scheme(signer).hash_names} & _WEAK
        if weak:
            yield At(stamp.name, f"{', '.join(sorted(weak))}")


@check(
    "digest-parameters",
    area=Area.SIGNATURE,
    rules="C8",
    severity=Severity.NOTE,
    title="SHA-2 identifiers have no parameters",
    meaning="RFC 5754 2: they should be absent, and both forms must be read.",
)
def digest_parameters(evidence: Evidence) -> Iterator[str | At]:
    """Judge digestAlgorithm of every SignerInfo, and digestAlgorithms."""
    for stamp, signer in evidence.signers():
        for identifier in (signer.digest_algorithm_der, *stamp.token.digest_algorithms):
            if len(parts := fields_of(identifier)) > 1 and parts[0] in _SHA_2:
                yield At(stamp.name, "NULL")


@check(
    "certificates-unasked",
    area=Area.SIGNATURE,
    rules="S13",
    severity=Severity.ERROR,
    title="Without certReq there are no certificates",
    meaning="RFC 3161 2.4.1: the field must not be present then.",
    needs="bare false-written",
)
def certificates_unasked(evidence: Evidence) -> Iterator[str | At]:
    """Judge every token that was asked for without them; an empty field is there, too."""
    evidence.stamp("bare")
    for stamp in evidence.tokens():
        if stamp.request is None or stamp.request.cert_req:
            continue
        if number := len(stamp.token.certificates):
            yield At(stamp.name, f"{number} came")
        elif has_certificates(stamp.reply.body):
            yield At(stamp.name, "the field is there, and empty")


@check(
    "certificates-asked",
    area=Area.SIGNATURE,
    rules="S12",
    severity=Severity.ERROR,
    title="With certReq the signer's certificate is there",
    meaning="RFC 3161 2.4.1. Without it nobody can verify who does not have it already.",
    needs="plain sha384",
)
def certificates_asked(evidence: Evidence) -> Iterator[str | At]:
    """Judge every token that was asked for with it."""
    evidence.stamp("plain")
    for stamp in evidence.tokens():
        if stamp.request is not None and stamp.request.cert_req and stamp.reply.certificate is None:
            yield At(stamp.name, f"it is not among the {len(stamp.token.certificates)} that came")


@check(
    "reply-der",
    area=Area.SIGNATURE,
    rules="S21 S29",
    severity=Severity.WARNING,
    title="The whole reply is DER, certificates aside",
    meaning="CMS permits BER, and some clients read DER alone.",
)
def reply_der(evidence: Evidence) -> Iterator[str | At]:
    """Judge every reply."""
    for each in evidence.exchanges.values():
        if each.reply is None or each.reply.status is None:
            continue
        # What is said of the SETs of certificates and attributes has checks of its own.
        certificates = frozenset(each.reply.token.certificates) if each.reply.token is not None else frozenset[bytes]()
        if fault := first_fault(each.reply.body, certificates):
            yield At(each.case.title, f"{fault}")
