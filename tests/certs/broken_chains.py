"""One way at least of breaking each rule of certificate chains."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.certs.chains_to_break import (
    DAY,
    NOW,
    SMALL_KEY,
    TIMESTAMPING,
    Part,
    case_of,
    key,
    name,
    usage,
)
from tsa_core.api import LocalKeySigner
from tsa_core.conformance.chains import ChainCase
from tsa_core.protocol import der, oids

Break = Callable[[list[Part]], ChainCase | None]
BREAKS: list[tuple[str, Break]] = []


def breaks(rule: str) -> Callable[[Break], Break]:
    """Register what breaks a rule; it changes the parts, or returns a case of its own."""

    def register(function: Break) -> Break:
        BREAKS.append((rule, function))
        return function

    return register


def change(rule: str, function: Callable[[list[Part]], object]) -> None:
    def apply(parts: list[Part]) -> None:
        function(parts)

    BREAKS.append((rule, apply))


@breaks("chain-length")
def _leaf_alone(parts: list[Part]) -> ChainCase:
    return case_of(parts).replace(certificates=case_of(parts).certificates[:1])


@breaks("chain-length")
def _endless(parts: list[Part]) -> ChainCase:
    case = case_of(parts)
    return case.replace(certificates=[*case.certificates[:2], *[case.certificates[2]] * 15])


@breaks("issued-by-the-next")
def _wrong_order(parts: list[Part]) -> ChainCase:
    leaf, middle, root = case_of(parts).certificates
    return case_of(parts).replace(certificates=[leaf, root, middle])


@breaks("root-last")
def _root_missing(parts: list[Part]) -> ChainCase:
    case = case_of(parts)
    return case.replace(certificates=case.certificates[:2])


@breaks("key-is-the-signers")
def _another_key(parts: list[Part]) -> ChainCase:
    return case_of(parts, signer=LocalKeySigner(key("ecdsa-p384")))


@breaks("csbr-digest")
def _digest_by_setting(parts: list[Part]) -> ChainCase:
    return case_of(parts, signer=LocalKeySigner(parts[0].key, digest="sha512"))


@breaks("sigstore-padding")
def _pss(parts: list[Part]) -> ChainCase:
    parts[0].key = key("rsa-3072")
    return case_of(parts, signer=LocalKeySigner(parts[0].key, rsa_pss=True))


@breaks("sigstore-digest")
def _rsa_with_sha384(parts: list[Part]) -> ChainCase:
    parts[0].key = key("rsa-3072")
    return case_of(parts, signer=LocalKeySigner(parts[0].key, digest="sha384"))


@breaks("sigstore-gen-time")
def _three_digits(parts: list[Part]) -> ChainCase:
    return case_of(parts).replace(fraction_digits=[0, 3])


def odd_leaf(
    parts: list[Part],
    *,
    version: bytes = b"\xa0\x03\x02\x01\x02",
    serial_number: int = 4711,
    algorithm: str = oids.ECDSA_WITH_SHA256,
    public_key_info: bytes | None = None,
) -> ChainCase:
    """Return the chain with a leaf as the library's builder makes none, its signature by the intermediate."""
    case = case_of(parts)
    tbs = case.leaf.tbs_certificate_bytes
    _, position, end = der.read(tbs, 0, len(tbs))
    fields = []
    while position < end:
        stop = der.read(tbs, position, end)[2]
        fields.append(tbs[position:stop])
        position = stop
    identifier = der.sequence(der.oid(algorithm))
    fields[:3] = [version, der.integer(serial_number), identifier]
    fields[6] = public_key_info or fields[6]
    content = der.sequence(*(fields if version else fields[:7]))
    signature = parts[1].key.sign(content, ec.ECDSA(hashes.SHA256()))
    whole = der.sequence(content, identifier, der.tlv(der.BIT_STRING, b"\x00" + signature))
    return case.replace(certificates=[x509.load_der_x509_certificate(whole), *case.authorities])


@breaks("version-3")
def _version_1(parts: list[Part]) -> ChainCase:
    return odd_leaf(parts, version=b"")


@breaks("serial-number")
def _serial_too_long(parts: list[Part]) -> ChainCase:
    return odd_leaf(parts, serial_number=1 << 160)


@breaks("no-weak-signature")
def _sha1(parts: list[Part]) -> ChainCase:
    return odd_leaf(parts, algorithm="1.2.840.10045.4.1")


@breaks("rsa-public-key")
def _pss_public_key(parts: list[Part]) -> ChainCase:
    numbers = key("rsa-3072").public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    bits = der.tlv(der.BIT_STRING, b"\x00" + numbers)
    return odd_leaf(parts, public_key_info=der.sequence(der.sequence(der.oid(oids.ID_RSASSA_PSS)), bits))


change("validity", lambda p: setattr(p[0], "not_after", NOW - timedelta(hours=1)))
change("validity", lambda p: setattr(p[2], "not_before", NOW + timedelta(hours=1)))
change("issued-by-the-next", lambda p: setattr(p[0], "signing_key", key()))
change("issued-by-the-next", lambda p: setattr(p[0], "issuer_name", name("Somebody else")))
change("leaf-no-ca", lambda p: p[0].set(x509.BasicConstraints(ca=True, path_length=0), True))
change("leaf-usage-timestamping", lambda p: p[0].drop(x509.ExtendedKeyUsage))
change(
    "leaf-usage-timestamping",
    lambda p: p[0].set(x509.ExtendedKeyUsage([TIMESTAMPING, ExtendedKeyUsageOID.CODE_SIGNING]), True),
)
change("leaf-usage-critical", lambda p: p[0].set(x509.ExtendedKeyUsage([TIMESTAMPING]), False))
change("leaf-signs", lambda p: p[0].set(usage("key_agreement"), True))
change("leaf-signs-only", lambda p: p[0].set(usage("digital_signature", "key_encipherment"), True))
change("authorities-are-cas", lambda p: p[1].set(x509.BasicConstraints(ca=False, path_length=None), True))
change("authorities-are-cas", lambda p: p[1].drop(x509.BasicConstraints))
change("authorities-sign-certificates", lambda p: p[1].set(usage("crl_sign"), True))
change("leaf-signs-only", lambda p: p[0].set(usage("digital_signature", "data_encipherment"), True))
change("path-length", lambda p: p[2].set(x509.BasicConstraints(ca=True, path_length=0), True))
change("intermediates-usage-timestamping", lambda p: p[1].drop(x509.ExtendedKeyUsage))
change(
    "intermediates-usage-timestamping",
    lambda p: p[1].set(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])),
)
change("rsa-size", lambda p: setattr(p[0], "key", SMALL_KEY))
change("rsa-size", lambda p: setattr(p[2], "key", SMALL_KEY))
change("key-identifiers", lambda p: p[0].set(x509.AuthorityKeyIdentifier(b"somebody else's", None, None)))
change(
    "critical-extensions",
    lambda p: p[0].set(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),
)
change(
    "private-key-usage-period", lambda p: p[0].set(x509.PrivateKeyUsagePeriod(NOW - 9 * DAY, NOW - timedelta(hours=1)))
)
change("private-key-usage-period", lambda p: p[0].set(x509.PrivateKeyUsagePeriod(NOW + DAY, NOW + 9 * DAY)))
change("private-key-usage-period", lambda p: p[0].set(x509.PrivateKeyUsagePeriod(NOW - DAY, NOW + 2000 * DAY)))
change("valid-path", lambda p: p[1].set(x509.NameConstraints([x509.DirectoryName(name("Others"))], None), True))
change("valid-path", lambda p: p[2].set(x509.NameConstraints(None, [x509.DirectoryName(p[0].subject)]), True))


@breaks("valid-path")
def _no_common_policy(parts: list[Part]) -> None:
    parts[1].set(x509.PolicyConstraints(0, None), True)
    parts[0].set(x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.2.3"), None)]))


change("leaf-ends-first", lambda p: setattr(p[1], "not_after", NOW + 10 * DAY))

change("etsi-organization", lambda p: setattr(p[0], "subject", name("TSA", organization="")))
change("etsi-common-name", lambda p: setattr(p[0], "subject", name("")))
change("etsi-country", lambda p: setattr(p[0], "subject", name("TSA", country="")))
change("etsi-organization-identifier", lambda p: setattr(p[0], "subject", name("TSA", identifier="")))
change("etsi-key-length", lambda p: setattr(p[0], "key", key("rsa-2048")))
change("etsi-key-length", lambda p: setattr(p[0], "key", ec.generate_private_key(ec.SECP224R1())))
change("etsi-key-algorithm", lambda p: setattr(p[0], "key", key("ed25519")))
change("etsi-signature-digest", lambda p: setattr(p[0], "digest", hashes.SHA3_256()))
change("etsi-key-usage", lambda p: p[0].drop(x509.KeyUsage))
change("etsi-key-usage", lambda p: p[0].set(usage("digital_signature"), False))
change("etsi-private-key-usage-period", lambda p: p[0].drop(x509.PrivateKeyUsagePeriod))
change("etsi-private-key-usage-period", lambda p: p[0].set(x509.PrivateKeyUsagePeriod(NOW - DAY, NOW + 1000 * DAY)))
change("etsi-authority-key-identifier", lambda p: p[0].drop(x509.AuthorityKeyIdentifier))
change(
    "etsi-authority-key-identifier",
    lambda p: p[0].set(x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(p[2].subject)], p[1].serial_number)),
)
change("etsi-certificate-policies", lambda p: p[0].drop(x509.CertificatePolicies))
change("etsi-revocation", lambda p: p[0].drop(x509.CRLDistributionPoints))
change("etsi-issuer-address", lambda p: p[0].drop(x509.AuthorityInformationAccess))

change("csbr-digest", lambda p: setattr(p[0], "digest", hashes.SHA384()))
change("csbr-key", lambda p: setattr(p[0], "key", key("rsa-2048")))
change("csbr-key", lambda p: setattr(p[0], "key", key("ed25519")))
change("csbr-authority-keys", lambda p: setattr(p[2], "key", key("rsa-3072")))
change("csbr-validity", lambda p: setattr(p[0], "not_after", NOW + 4200 * DAY))
change("csbr-key-change", lambda p: p[0].drop(x509.PrivateKeyUsagePeriod))
change("csbr-key-change", lambda p: p[0].set(x509.PrivateKeyUsagePeriod(NOW - DAY, NOW + 500 * DAY)))
change("csbr-issuer", lambda p: p.pop(1))
change("csbr-serial-number", lambda p: setattr(p[0], "serial_number", 4711))
change("csbr-leaf-policies", lambda p: p[0].drop(x509.CertificatePolicies))
change("csbr-leaf-crl", lambda p: p[0].drop(x509.CRLDistributionPoints))
change("csbr-leaf-crl", lambda p: p[0].set(p[0].extensions[x509.CRLDistributionPoints][0], True))
change("csbr-leaf-issuer-address", lambda p: p[0].drop(x509.AuthorityInformationAccess))
change("csbr-leaf-key-usage", lambda p: p[0].set(usage("content_commitment"), True))
change("csbr-leaf-key-usage-alone", lambda p: p[0].set(usage("digital_signature", "content_commitment"), True))
change("csbr-authority-key-identifier", lambda p: p[1].drop(x509.AuthorityKeyIdentifier))
change("csbr-intermediate-extensions", lambda p: p[1].drop(x509.CertificatePolicies))
change("csbr-intermediate-extensions", lambda p: p[1].drop(x509.CRLDistributionPoints))
change("csbr-authority-constraints", lambda p: p[2].set(x509.BasicConstraints(ca=True, path_length=None), False))
change("csbr-authority-constraints", lambda p: p[1].set(usage("key_cert_sign"), True))
change(
    "csbr-intermediate-usage",
    lambda p: p[1].set(x509.ExtendedKeyUsage([TIMESTAMPING, ExtendedKeyUsageOID.CODE_SIGNING])),
)
change("csbr-root-usage", lambda p: p[2].set(x509.ExtendedKeyUsage([TIMESTAMPING])))

change("sigstore-names", lambda p: setattr(p[0], "subject", name("TSA", organization="")))
change("sigstore-key", lambda p: setattr(p[0], "key", key("rsa-3072")))
change("sigstore-key", lambda p: setattr(p[0], "key", key("ecdsa-p521")))
change("sigstore-key", lambda p: setattr(p[0], "key", key("ed25519")))

change("acrobat-key", lambda p: setattr(p[0], "key", key("ed448")))
change("acrobat-revocation", lambda p: p[1].drop(x509.CRLDistributionPoints))
change("acrobat-name", lambda p: setattr(p[0], "subject", name("")))


@breaks("csbr-signature")
@breaks("acrobat-signature")
def _issuer_with_ed25519(parts: list[Part]) -> None:
    parts[1].key, parts[0].digest = key("ed25519"), None


@breaks("csbr-names-equal")
def _another_string_type(parts: list[Part]) -> None:
    # Equal by RFC 5280 7.1, and other bytes.
    attributes = [
        x509.NameAttribute(a.oid, str(a.value), _type=x509.name._ASN1Type.PrintableString) for a in parts[1].subject
    ]
    parts[0].issuer_name = x509.Name(attributes)
