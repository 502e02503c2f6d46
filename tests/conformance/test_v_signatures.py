"""Rules V3 to V5, V13 and V15: what was signed, by whom, and by which algorithm."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.conformance.verification import CHAIN, TRUST, granted, refused, signed_by, verify
from tsa_core.protocol import der, oids
from tsa_core.protocol.hashes import IMPRINT_HASHES, MD5, SHA1, SHA256, SHA384, SHA512
from tsa_core.protocol.signatures import signature_algorithm
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import (
    KEY_KINDS,
    Chain,
    Issued,
    ca_extensions,
    issue,
    key_usage,
    make_chain,
    make_key,
    signer_extensions,
)
from tsa_core.verify import (
    AmbiguousSigner,
    MalformedTimestamp,
    PathError,
    SignatureInvalid,
    SignedDataError,
    SignerCertificateError,
    SigningCertificateError,
    TrustStore,
    UnsupportedAlgorithm,
    VerificationError,
    WeakAlgorithm,
)

# --- V3: the signature and what it covers ---


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes((data[position] ^ 1,)) + data[position + 1 :]


def test_v3_a_bit_in_every_signed_part() -> None:
    reply = granted()
    signed = forge.tst_info()
    for part in (signed, SHA256.digest(signed), hashlib.sha256(CHAIN.signer.der).digest()):
        start = reply.index(part)
        for position in range(start, start + len(part), 3):
            changed = flipped(reply, position)
            with pytest.raises(VerificationError):
                verify(changed)


def test_v3_signature_itself() -> None:
    key = CHAIN.signer.key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    signature = key.sign(b"something else", ec.ECDSA(hashes.SHA256()))
    refused(SignatureInvalid, "V3", lambda: verify(granted(signature=signature)))


def test_v3_signature_over_the_content_instead_of_the_attributes() -> None:
    content = forge.tst_info()
    signature = signature_algorithm(CHAIN.signer.certificate.public_key()).signing_function(CHAIN.signer.key)(content)
    refused(SignatureInvalid, "V3", lambda: verify(granted(content, signature=signature)))


def test_v3_attributes_must_be_there() -> None:
    left_out = {
        oids.ID_CONTENT_TYPE: None,
        oids.ID_SIGNING_TIME: None,
        oids.ID_MESSAGE_DIGEST: None,
        oids.ID_AA_SIGNING_CERTIFICATE_V2: None,
    }
    refused(MalformedTimestamp, "V14", lambda: verify(granted(attributes=left_out)))


@pytest.mark.parametrize(
    "attributes",
    [
        {oids.ID_CONTENT_TYPE: None},
        {oids.ID_CONTENT_TYPE: [der.oid(oids.ID_DATA)]},
        {oids.ID_CONTENT_TYPE: [der.oid(oids.ID_CT_TST_INFO), der.oid(oids.ID_DATA)]},
        {oids.ID_MESSAGE_DIGEST: None},
        {oids.ID_MESSAGE_DIGEST: [der.octet_string(bytes(32))]},
        {oids.ID_MESSAGE_DIGEST: []},
    ],
)
def test_v3_content_type_and_message_digest(attributes: dict[str, Any]) -> None:
    refused(SignedDataError, "V3", lambda: verify(granted(attributes=attributes)))


def test_v3_content_of_another_type() -> None:
    refused(SignedDataError, "V3", lambda: verify(granted(content_type=oids.ID_DATA)))


def test_v3_attributes_out_of_order_count_if_what_was_signed_is_known() -> None:
    assert verify(granted(reverse_attributes=True)).tst_info.serial_number == 0x1234
    assert verify(granted(reverse_attributes=True, sign_as_sent=True)).tst_info.serial_number == 0x1234


def test_v3_digest_algorithms_lists_the_signers() -> None:
    refused(SignedDataError, "V3", lambda: verify(granted(digest_algorithms=[SHA512.identifier])))
    refused(SignedDataError, "V3", lambda: verify(granted(digest_algorithms=[])))
    more = [SHA512.identifier, der.sequence(SHA256.oid_der, der.null())]
    assert verify(granted(digest_algorithms=more)).status == 0


def test_v3_algorithm_protection() -> None:
    algorithm = signature_algorithm(CHAIN.signer.certificate.public_key())
    good = der.sequence(algorithm.digest.identifier, b"\xa1" + algorithm.identifier[1:])
    bad = der.sequence(SHA512.identifier, b"\xa1" + algorithm.identifier[1:])
    assert verify(granted(attributes={oids.ID_AA_CMS_ALGORITHM_PROTECT: [good]})).status == 0
    reply = granted(attributes={oids.ID_AA_CMS_ALGORITHM_PROTECT: [bad]})
    refused(SignedDataError, "V3", lambda: verify(reply))


@pytest.mark.parametrize("parts", [{"version": 2}, {"version": 0}, {"signer_version": 2}, {"signer_version": 0}])
def test_v3_cms_versions(parts: dict[str, Any]) -> None:
    refused(SignedDataError, "V3", lambda: verify(granted(**parts)))


# --- V4 and V5: ESSCertID and ESSCertIDv2 ---


def with_ess(*, v1: bytes | None = None, v2: bytes | None = None) -> bytes:
    attributes = {
        oids.ID_AA_SIGNING_CERTIFICATE: [v1] if v1 is not None else None,
        oids.ID_AA_SIGNING_CERTIFICATE_V2: [v2] if v2 is not None else None,
    }
    return granted(attributes=attributes, certificates=[CHAIN.signer.der, CHAIN.intermediate.der])


RIGHT_V1 = forge.signing_certificate(forge.ess_cert_id(CHAIN.signer.der))
RIGHT_V2 = forge.signing_certificate(forge.ess_cert_id_v2(CHAIN.signer.der))
WRONG_V1 = forge.signing_certificate(forge.ess_cert_id(CHAIN.intermediate.der))
WRONG_V2 = forge.signing_certificate(forge.ess_cert_id_v2(CHAIN.signer.der, digest=bytes(32)))
OTHERS_V2 = forge.signing_certificate(forge.ess_cert_id_v2(CHAIN.intermediate.der))


@pytest.mark.parametrize(
    "ess",
    [
        {},
        {"v2": WRONG_V2},
        {"v2": OTHERS_V2},
        {"v1": WRONG_V1},
        {"v1": RIGHT_V1, "v2": WRONG_V2},
        {"v1": WRONG_V1, "v2": RIGHT_V2},
        {"v2": forge.signing_certificate()},
        {"v2": der.null()},
    ],
    ids=["absent", "wrong", "another's", "v1 wrong", "v1 right v2 wrong", "v1 wrong v2 right", "empty", "noise"],
)
def test_v4_the_id_must_be_the_signers(ess: dict[str, bytes]) -> None:
    refused(SigningCertificateError, "V4", lambda: verify(with_ess(**ess)))


@pytest.mark.parametrize("ess", [{"v1": RIGHT_V1}, {"v2": RIGHT_V2}, {"v1": RIGHT_V1, "v2": RIGHT_V2}])
def test_v4_either_version_or_both(ess: dict[str, bytes]) -> None:
    assert verify(with_ess(**ess)).signer_certificate == CHAIN.signer.certificate


def test_v4_several_ids_are_legal_and_the_first_is_the_signers() -> None:
    own, other = forge.ess_cert_id_v2(CHAIN.signer.der), forge.ess_cert_id_v2(CHAIN.intermediate.der)
    assert verify(with_ess(v2=forge.signing_certificate(own, other))).status == 0
    reply = with_ess(v2=forge.signing_certificate(other, own))
    refused(SigningCertificateError, "V4", lambda: verify(reply))


@pytest.mark.parametrize("second", [True, False], ids=["second version", "first version"])
@pytest.mark.parametrize(
    ("further", "after"),
    [
        (der.null(), b""),
        (der.sequence(), b""),
        (der.sequence(der.octet_string(bytes(32)), der.null()), b""),
        (der.sequence(der.octet_string(bytes(32)), b"", der.sequence(), der.null()), b""),
        (b"", der.octet_string(b"policies")),
        (b"", der.sequence(der.octet_string(b"policy"))),
        (b"", der.sequence(der.sequence(der.octet_string(b"policy")))),
        (b"", der.sequence() + der.null()),
    ],
)
def test_v4_what_follows_the_first_id_is_ids_and_policies(*, second: bool, further: bytes, after: bytes) -> None:
    """RFC 5035 3: what other readers cannot read must not have a meaning here."""
    own = (forge.ess_cert_id_v2 if second else forge.ess_cert_id)(CHAIN.signer.der)
    odd = der.sequence(der.sequence(own, further), after)
    reply = with_ess(v2=odd) if second else with_ess(v1=odd)
    refused(SigningCertificateError, "V4", lambda: verify(reply))


def test_v4_policies_may_follow_the_ids() -> None:
    ids = der.sequence(forge.ess_cert_id_v2(CHAIN.signer.der))
    policies = der.sequence(der.sequence(der.oid("1.2.3")), der.sequence(der.oid("1.2.4"), der.sequence()))
    assert verify(with_ess(v2=der.sequence(ids, policies))).status == 0
    assert verify(with_ess(v2=der.sequence(ids, der.sequence()))).status == 0


def test_v4_issuer_serial_matches_if_present() -> None:
    without = forge.ess_cert_id_v2(CHAIN.signer.der, issuer_serial=b"")
    assert verify(with_ess(v2=forge.signing_certificate(without))).status == 0
    names = der.sequence(der.explicit(4, CHAIN.intermediate.certificate.issuer.public_bytes()))
    wrong = forge.ess_cert_id_v2(CHAIN.signer.der, issuer_serial=der.sequence(names, der.integer(1)))
    refused(SigningCertificateError, "V4", lambda: verify(with_ess(v2=forge.signing_certificate(wrong))))


def test_v5_hash_algorithm_explicit_or_defaulted() -> None:
    for identifier in (SHA256.identifier, der.sequence(SHA256.oid_der, der.null())):
        explicit = forge.ess_cert_id_v2(CHAIN.signer.der, algorithm=identifier)
        assert verify(with_ess(v2=forge.signing_certificate(explicit))).status == 0
    longer = forge.ess_cert_id_v2(CHAIN.signer.der, algorithm=SHA512.identifier, digest=SHA512.digest(CHAIN.signer.der))
    assert verify(with_ess(v2=forge.signing_certificate(longer))).status == 0
    weak = forge.ess_cert_id_v2(CHAIN.signer.der, algorithm=SHA1.identifier, digest=SHA1.digest(CHAIN.signer.der))
    refused(WeakAlgorithm, "V15", lambda: verify(with_ess(v2=forge.signing_certificate(weak))))
    # RFC 5035 leaves SHA-1 to the first version, so that no allowance is needed here.
    refused(WeakAlgorithm, "V15", lambda: verify(with_ess(v2=forge.signing_certificate(weak)), allow=["sha1"]))


# --- V13: more signers and certificates than there should be ---


@pytest.mark.parametrize("count", [0, 2, 3])
def test_v13_not_one_signer(count: int) -> None:
    refused(AmbiguousSigner, "V13", lambda: verify(granted(signers=count)))


def test_v13_injected_certificates_change_nothing() -> None:
    spoofed = issue("Signer", issuer=CHAIN.intermediate, extensions=signer_extensions())
    stranger = make_chain()
    bag = [spoofed.der, stranger.root.der, stranger.signer.der, CHAIN.signer.der, CHAIN.intermediate.der]
    result = verify(granted(certificates=bag), common_name="Signer")
    assert result.signer_certificate == CHAIN.signer.certificate


def test_v13_injected_certificate_with_the_signers_name_and_number() -> None:
    twin = issue(
        "Signer",
        issuer=CHAIN.intermediate,
        extensions=signer_extensions(),
        serial_number=CHAIN.signer.certificate.serial_number,
    )
    result = verify(granted(certificates=[twin.der, CHAIN.signer.der]))
    assert result.signer_certificate == CHAIN.signer.certificate
    refused(SigningCertificateError, "V4", lambda: verify(granted(certificates=[twin.der])))


def test_v13_checks_are_made_on_the_certificate_that_signed() -> None:
    # CVE-2026-39984: a rogue signs, and a good certificate is put first into the bag.
    rogue_chain = make_chain()
    reply = forge.reply(forge.token(rogue_chain.signer, certificates=[CHAIN.signer.der, rogue_chain.signer.der]))
    refused(PathError, "V8", lambda: verify(reply))
    rogue = issue("Rogue", issuer=CHAIN.intermediate, extensions=(key_usage(sign=True),))
    reply = forge.reply(forge.token(rogue, certificates=[CHAIN.signer.der, rogue.der]))
    refused(SignerCertificateError, "V7", lambda: verify(reply, common_name="Signer"))


def test_v13_subject_key_identifier_names_a_signer_too() -> None:
    identifier = x509.SubjectKeyIdentifier(b"\x01\x02\x03\x04")
    signer = issue("Keyed", issuer=CHAIN.intermediate, extensions=(*signer_extensions(), (identifier, False)))
    sid = der.tlv(0x80, identifier.digest)
    assert signed_by(signer, TRUST, sid=sid, signer_version=3).signer_certificate == signer.certificate
    refused(SignedDataError, "V3", lambda: signed_by(signer, TRUST, sid=sid, signer_version=1))


# --- V15: algorithms ---


@pytest.mark.parametrize("kind", KEY_KINDS)
def test_v15_every_kind_of_key(kind: str) -> None:
    chain = make_chain(kind)
    result = verify(granted(chain=chain), trust=TrustStore.from_chain(chain.pem))
    assert result.path[0] == chain.signer.certificate
    changed = granted(chain=chain)
    refused(
        SignatureInvalid,
        "V3",
        lambda: verify(flipped(changed, len(changed) - 1), trust=TrustStore.from_chain(chain.pem)),
    )


@pytest.fixture(scope="module")
def rsa_chain() -> Chain:
    return make_chain("rsa2048")


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("pss", [False, True])
def test_v15_rsa_with_both_paddings(rsa_chain: Chain, digest: str, pss: bool) -> None:
    algorithm = signature_algorithm(rsa_chain.signer.certificate.public_key(), digest=digest, pss=pss)
    trust = TrustStore.from_chain(rsa_chain.pem)
    assert verify(granted(chain=rsa_chain, algorithm=algorithm), trust=trust).status == 0
    other = der.sequence(der.oid(oids.SHA512_WITH_RSA), der.null())
    wrong = granted(chain=rsa_chain, algorithm=algorithm, signature_identifier=other)
    if (digest, pss) == ("sha512", False):
        assert verify(wrong, trust=trust).status == 0
    else:
        refused(SignatureInvalid, "V3", lambda: verify(wrong, trust=trust))


def test_v15_certificates_signed_with_pss() -> None:
    root = issue("Root", key=make_key("rsa2048"), extensions=ca_extensions(), pss=True)
    signer = issue("Signer", issuer=root, extensions=signer_extensions(), pss=True)
    assert signed_by(signer, TrustStore(roots=(root.certificate,))).path[1] == root.certificate


@pytest.mark.parametrize("name", [name for name, h in IMPRINT_HASHES.items() if not h.weak])
def test_v15_imprint_hashes(name: str) -> None:
    content = forge.tst_info(hash_algorithm=IMPRINT_HASHES[name])
    assert verify(granted(content)).tst_info.hash_algorithm is IMPRINT_HASHES[name]


@pytest.mark.parametrize("weak", [SHA1, MD5])
def test_v15_weak_hashes_are_refused_everywhere(weak: Any, rsa_chain: Chain) -> None:
    trust = TrustStore.from_chain(rsa_chain.pem)
    imprint = forge.tst_info(hash_algorithm=weak)
    refused(WeakAlgorithm, "V15", lambda: verify(granted(imprint)))
    refused(WeakAlgorithm, "V15", lambda: verify(granted(chain=rsa_chain, digest=weak), trust=trust))
    with_rsa = "1.2.840.113549.1.1.5" if weak is SHA1 else "1.2.840.113549.1.1.4"
    identifier = der.sequence(der.oid(with_rsa), der.null())
    reply = granted(chain=rsa_chain, signature_identifier=identifier)
    refused(WeakAlgorithm, "V15", lambda: verify(reply, trust=trust))


def test_v15_sha1_in_ecdsa_and_in_the_defaults_of_pss(rsa_chain: Chain) -> None:
    ecdsa = der.sequence(der.oid("1.2.840.10045.4.1"))
    refused(WeakAlgorithm, "V15", lambda: verify(granted(signature_identifier=ecdsa)))
    pss = der.sequence(der.oid(oids.ID_RSASSA_PSS), der.sequence())
    reply = granted(chain=rsa_chain, signature_identifier=pss)
    refused(WeakAlgorithm, "V15", lambda: verify(reply, trust=TrustStore.from_chain(rsa_chain.pem)))


def test_v15_unknown_hashes_and_signatures() -> None:
    unknown = SHA384.replace(oid="1.2.3.4", name="unknown")
    refused(UnsupportedAlgorithm, "V15", lambda: verify(granted(forge.tst_info(hash_algorithm=unknown))))
    identifier = der.sequence(der.oid("1.2.3.4"))
    refused(UnsupportedAlgorithm, "V15", lambda: verify(granted(signature_identifier=identifier)))


def test_v15_algorithm_of_another_kind_of_key() -> None:
    identifier = der.sequence(der.oid(oids.ID_ED25519))
    refused(UnsupportedAlgorithm, "V15", lambda: verify(granted(signature_identifier=identifier)))


def test_v15_short_rsa_keys_and_long_exponents() -> None:
    short = rsa.generate_private_key(65537, 1024)
    signer = issue("Short", issuer=CHAIN.intermediate, key=short, extensions=signer_extensions())
    algorithm = signature_algorithm(make_chain("rsa2048").signer.certificate.public_key())
    refused(WeakAlgorithm, "V15", lambda: signed_by(signer, TRUST, algorithm=algorithm))


def test_v15_certificates_signed_with_sha1_are_refused() -> None:
    # cryptography no longer makes them, so the algorithm is renamed in a good one, in both of its places.
    good = der.sequence(der.oid(oids.ECDSA_WITH_SHA256))
    sha1 = der.sequence(der.oid("1.2.840.10045.4.1"))
    original = CHAIN.signer.der
    _, start, end = der.read(original, 0, len(original))
    _, content, content_end = der.read(original, start, end)
    signed = der.sequence(original[content:content_end].replace(good, sha1, 1))
    forged = der.sequence(signed, original[content_end:end].replace(good, sha1, 1))
    signer = Issued(key=CHAIN.signer.key, certificate=x509.load_der_x509_certificate(forged))
    refused(WeakAlgorithm, "V15", lambda: signed_by(signer, TRUST))
