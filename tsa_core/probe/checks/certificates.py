"""The signer's certificate and those above it: RFC 3161 2.3, RFC 5280, and how long they will do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, ExtensionOID

from tsa_core.client.issuers import access_urls
from tsa_core.client.revocation import crl_urls
from tsa_core.paths.errors import VerificationError
from tsa_core.probe.check import Area, At, Severity, check
from tsa_core.probe.evidence import DoesNotApply, Evidence, Unseen, key_of

LEAST_DAYS: Final = 30
RSA_ENDS: Final = datetime(2028, 12, 31, 23, 59, 59, tzinfo=UTC)
"""TS 119 312 V2.1.1 8.4: certificates for RSA keys under 3000 bits end by then."""
RSA_BITS: Final = 3000
_OTHER_USAGES: Final = (
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)


@check(
    "extended-key-usage",
    area=Area.CERTIFICATE,
    rules="S8 V7",
    severity=Severity.ERROR,
    title="Extended key usage is timeStamping alone, and critical",
    meaning="RFC 3161 2.3. Verifiers refuse a certificate that is for other things too.",
)
def extended_key_usage(evidence: Evidence) -> Iterator[str | At]:
    """Judge the signers' certificates."""
    for certificate in evidence.certificates():
        purpose = certificate.extensions.get(ExtensionOID.EXTENDED_KEY_USAGE)
        if purpose is None:
            yield At(certificate.name, "there is none")
            continue
        if not purpose.critical:
            yield At(certificate.name, "it is not critical")
        if list(purpose.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
            yield At(certificate.name, ", ".join(each.dotted_string for each in purpose.value))


@check(
    "no-ca",
    area=Area.CERTIFICATE,
    rules="S8 V7",
    severity=Severity.ERROR,
    title="The signer is no CA",
    meaning="RFC 3161 2.3: a key of its own. A stolen key could issue certificates.",
)
def no_ca(evidence: Evidence) -> Iterator[str | At]:
    """Judge the signers' certificates."""
    for certificate in evidence.certificates():
        if certificate.is_ca:
            yield At(certificate.name, "basicConstraints says CA")


@check(
    "key-usage",
    area=Area.CERTIFICATE,
    rules="S8",
    severity=Severity.WARNING,
    title="Key usage is digitalSignature or nonRepudiation, and nothing else",
    meaning="RFC 3161 2.3: the key signs timestamps alone.",
)
def key_usage(evidence: Evidence) -> Iterator[str | At]:
    """Judge the signers' certificates."""
    for certificate in evidence.certificates():
        usage = certificate.value(ExtensionOID.KEY_USAGE)
        if usage is None:
            yield At(certificate.name, "there is no key usage")
            continue
        if not (usage.digital_signature or usage.content_commitment):
            yield At(certificate.name, "it permits no signature")
        if other := [name for name in _OTHER_USAGES if getattr(usage, name)]:
            yield At(certificate.name, f"also {', '.join(other)}")


@check(
    "certificate-valid",
    area=Area.CERTIFICATE,
    rules="S8 V8",
    severity=Severity.CRITICAL,
    title="Every certificate is valid at the time of the tokens",
    meaning="A token of a certificate that has ended, or not begun, is refused by everybody.",
)
def certificate_valid(evidence: Evidence) -> Iterator[str | At]:
    """Judge every certificate that came, at the time of the token that brought it."""
    evidence.certified()
    for stamp in evidence.tokens():
        for each in stamp.reply.certificates:
            if not each.not_before <= stamp.info.gen_time <= each.not_after:
                yield At(stamp.name, f"{each.name}: {each.not_before:%Y-%m-%d} to {each.not_after:%Y-%m-%d}")


@check(
    "certificate-lifetime",
    area=Area.CERTIFICATE,
    rules="S8",
    severity=Severity.WARNING,
    title=f"The signer's certificate holds for {LEAST_DAYS} days or more",
    meaning="When it ends, no token can be made; a new one must be in place, and known to the clients, before.",
)
def certificate_lifetime(evidence: Evidence) -> Iterator[str | At]:
    """Judge what is left of it."""
    for certificate in evidence.certificates():
        left = certificate.not_after - evidence.started
        if timedelta(0) <= left < timedelta(days=LEAST_DAYS):
            yield At(certificate.name, f"{left.days} days are left, until {certificate.not_after:%Y-%m-%d}")


@check(
    "key-strength",
    area=Area.CERTIFICATE,
    rules="V15",
    severity=Severity.CRITICAL,
    title="The signer's key is strong today",
    meaning="RSA under 2048 bits ended in 2013 (NIST SP 800-131A): such a key can be broken.",
)
def key_strength(evidence: Evidence) -> Iterator[str | At]:
    """Judge the keys by the verifier's rules."""
    for certificate in evidence.certificates():
        try:
            _ = certificate.public_key
        except VerificationError as error:
            yield str(error)


@check(
    "key-future",
    area=Area.CERTIFICATE,
    rules="V15 V20",
    severity=Severity.WARNING,
    title="The signer's key will do until its certificate ends",
    meaning="ETSI TS 119 312 V2.1.1 8.4: RSA keys under 3000 bits end on 2028-12-31.",
)
def key_future(evidence: Evidence) -> Iterator[str | At]:
    """Judge RSA keys beside their certificates' ends."""
    for certificate in evidence.certificates():
        key = key_of(certificate)
        if isinstance(key, rsa.RSAPublicKey) and key.key_size < RSA_BITS and certificate.not_after > RSA_ENDS:
            yield At(certificate.name, f"RSA {key.key_size}, until {certificate.not_after:%Y-%m-%d}")


@check(
    "chain-signatures",
    area=Area.CERTIFICATE,
    rules="V8 V15",
    severity=Severity.ERROR,
    title="Each certificate is signed, strongly, by the one above it",
    meaning="A path with a broken or weak signature leads nowhere.",
)
def chain_signatures(evidence: Evidence) -> Iterator[str | At]:
    """Judge every certificate whose issuer came too."""
    pairs = {
        (each.der, above.der): (each, above)
        for reply in evidence.bags()
        for each in reply.certificates
        if (above := reply.issuer_of(each)) is not None
    }
    if not pairs:
        raise Unseen("no certificate came with its issuer's")
    for each, above in pairs.values():
        try:
            each.check_signed_by(above)
        except VerificationError as error:
            yield str(error)


@check(
    "chain-included",
    area=Area.CERTIFICATE,
    rules="S12",
    severity=Severity.NOTE,
    title="The certificates between signer and root come with the token",
    meaning="openssl ts, osslsigncode and tsp-client find no path with the root alone.",
)
def chain_included(evidence: Evidence) -> Iterator[str | At]:
    """Judge the signers' certificates: the issuer is there, or may be the root itself."""
    for reply in evidence.bags():
        certificate = reply.certificate
        if certificate is not None and not certificate.self_issued and reply.issuer_of(certificate) is None:
            text = f"{len(reply.certificates)} came, without the issuer; that is right where the issuer is the root"
            yield At(certificate.name, text)


@check(
    "root-left-out",
    area=Area.CERTIFICATE,
    rules="S12",
    severity=Severity.NOTE,
    title="The root is left out",
    meaning="Who verifies has it, or must not trust it; it makes each token larger.",
)
def root_left_out(evidence: Evidence) -> Iterator[str | At]:
    """Judge the certificates that came."""
    for reply in evidence.bags():
        for each in reply.certificates:
            if each.self_issued and each.is_ca:
                yield f"{each.name}, {len(each.der)} bytes"


@check(
    "unrelated-certificates",
    area=Area.CERTIFICATE,
    rules="S12",
    severity=Severity.NOTE,
    title="Only certificates of the signer's path come",
    meaning="Others make each token larger, and some clients take the first one for the signer's.",
)
def unrelated_certificates(evidence: Evidence) -> Iterator[str | At]:
    """Judge the certificates that came."""
    for reply in evidence.bags():
        path = reply.path
        for each in reply.certificates:
            if each not in path:
                yield each.name


@check(
    "revocation-pointers",
    area=Area.CERTIFICATE,
    rules="V9",
    severity=Severity.WARNING,
    title="The signer's certificate says where its revocation is told",
    meaning="Adobe Acrobat and long-term formats need a CRL or an OCSP responder.",
)
def revocation_pointers(evidence: Evidence) -> Iterator[str | At]:
    """Judge the signers' certificates."""
    for certificate in evidence.certificates():
        ocsp = access_urls(certificate, AuthorityInformationAccessOID.OCSP)
        if not ocsp and not crl_urls([certificate.certificate]):
            yield At(certificate.name, "neither cRLDistributionPoints nor an OCSP responder over http")


@check(
    "revocation-answers",
    area=Area.CERTIFICATE,
    rules="V9 V18",
    severity=Severity.WARNING,
    title="CRLs and OCSP responders of the path answer",
    meaning="Verifiers that ask for revocation refuse the token, or wait for a place that is gone.",
)
def revocation_answers(evidence: Evidence) -> Iterator[str | At]:
    """Judge what was fetched."""
    if evidence.online is None:
        raise Unseen("nothing was fetched; --online asks these places")
    if not evidence.online.asked:
        raise DoesNotApply("the certificates name no place")
    yield from evidence.online.failures


@check(
    "not-revoked",
    area=Area.CERTIFICATE,
    rules="V9 V18",
    severity=Severity.CRITICAL,
    title="No certificate of the path is revoked",
    meaning="A token of a revoked key proves nothing.",
)
def not_revoked(evidence: Evidence) -> Iterator[str | At]:
    """Judge the certificates by what was fetched."""
    if evidence.online is None:
        raise Unseen("nothing was fetched; --online asks for revocation")
    if evidence.online.revoked is None:
        raise Unseen(evidence.online.unknown)
    if evidence.online.revoked:
        yield evidence.online.revoked


@check(
    "path",
    area=Area.CERTIFICATE,
    rules="V8 V15 V17",
    severity=Severity.CRITICAL,
    title="The path leads to a root that the caller trusts",
    meaning="Whoever trusts these roots refuses the tokens.",
)
def path(evidence: Evidence) -> Iterator[str | At]:
    """Judge what the verifier says of the first token of each signer with the caller's roots."""
    evidence.certified()
    if evidence.path_problem is None:
        raise Unseen("no roots were given; --trust, --roots or --tsa names some")
    if evidence.path_problem:
        yield evidence.path_problem
