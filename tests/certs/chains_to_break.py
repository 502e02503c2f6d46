"""Certificate chains in parts, to be changed before they are signed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from tsa_core.api import LocalKeySigner, PrivateKey
from tsa_core.conformance.chains import ChainCase
from tsa_core.testing import shared_key

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
TIMESTAMPING = ExtendedKeyUsageOID.TIME_STAMPING
Extensions = dict[type[x509.ExtensionType], tuple[x509.ExtensionType, bool]]
SMALL_KEY = rsa.generate_private_key(65537, 1024)


def usage(*names: str) -> x509.KeyUsage:
    every = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: name in names for name in every})


def published(issuer: str) -> list[tuple[x509.ExtensionType, bool]]:
    def address(ending: str) -> x509.UniformResourceIdentifier:
        return x509.UniformResourceIdentifier(f"http://pki.example.com/{issuer}.{ending}")

    return [
        (x509.CRLDistributionPoints([x509.DistributionPoint([address("crl")], None, None, None)]), False),
        (
            x509.AuthorityInformationAccess(
                [x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, address("cer"))]
            ),
            False,
        ),
        (x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("2.23.140.1.4.2"), None)]), False),
    ]


def name(common_name: str, **other: str) -> x509.Name:
    oids = {
        "country": NameOID.COUNTRY_NAME,
        "organization": NameOID.ORGANIZATION_NAME,
        "identifier": NameOID.ORGANIZATION_IDENTIFIER,
    }
    values = {"country": "DE", "organization": "Example Ltd", "identifier": "VATDE-123456789", **other}
    parts = [x509.NameAttribute(oids[key], value) for key, value in values.items() if value]
    return x509.Name([*parts, *([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])])


@dataclass
class Part:
    """One certificate before it is made; tests change what they break."""

    subject: x509.Name
    key: Any
    extensions: Extensions
    not_before: datetime = NOW - DAY
    not_after: datetime = NOW + 1000 * DAY
    serial_number: int = field(default_factory=x509.random_serial_number)
    issuer_name: x509.Name | None = None
    signing_key: Any = None
    digest: Any = field(default_factory=hashes.SHA256)

    def set(self, extension: x509.ExtensionType, critical: bool = False) -> None:
        self.extensions[type(extension)] = (extension, critical)

    def drop(self, kind: type[x509.ExtensionType]) -> None:
        del self.extensions[kind]

    def make(self, issuer: Part) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.subject)
            .issuer_name(self.issuer_name or issuer.subject)
            .public_key(self.key.public_key())
            .serial_number(self.serial_number)
            .not_valid_before(self.not_before)
            .not_valid_after(self.not_after)
        )
        for extension, critical in self.extensions.values():
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.signing_key or issuer.key, self.digest)


def extensions(*found: tuple[x509.ExtensionType, bool]) -> Extensions:
    return {type(extension): (extension, critical) for extension, critical in found}


def key(kind: str = "ecdsa-p256") -> PrivateKey:
    return shared_key(kind)


def right_chain() -> list[Part]:
    """Return leaf, intermediate and root that fulfil every rule of every profile."""
    leaf_key, middle_key, root_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))

    def identifiers(own: Any, issuer: Any) -> list[tuple[x509.ExtensionType, bool]]:
        return [
            (x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), False),
        ]

    leaf = Part(
        subject=name("TSA"),
        key=leaf_key,
        extensions=extensions(
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (usage("digital_signature"), True),
            (x509.ExtendedKeyUsage([TIMESTAMPING]), True),
            (x509.PrivateKeyUsagePeriod(NOW - DAY, NOW + 300 * DAY), False),
            *identifiers(leaf_key, middle_key),
            *published("intermediate"),
        ),
    )
    middle = Part(
        subject=name("Intermediate"),
        key=middle_key,
        extensions=extensions(
            (x509.BasicConstraints(ca=True, path_length=0), True),
            (usage("key_cert_sign", "crl_sign"), True),
            (x509.ExtendedKeyUsage([TIMESTAMPING]), False),
            *identifiers(middle_key, root_key),
            *published("root"),
        ),
    )
    root = Part(
        subject=name("Root"),
        key=root_key,
        extensions=extensions(
            (x509.BasicConstraints(ca=True, path_length=None), True),
            (usage("key_cert_sign", "crl_sign"), True),
            (x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), False),
        ),
    )
    return [leaf, middle, root]


def case_of(parts: Sequence[Part], *, signer: LocalKeySigner | None = None) -> ChainCase:
    made = [part.make(issuer) for part, issuer in zip(parts, [*parts[1:], parts[-1]], strict=True)]
    signer = signer or signer_for(parts[0].key)
    return ChainCase(
        certificates=made,
        at=NOW,
        public_key=signer.public_key if signer else None,
        algorithm=signer.algorithm if signer else None,
    )


def signer_for(private_key: Any) -> LocalKeySigner | None:
    try:
        return LocalKeySigner(private_key)
    except Exception:  # noqa: BLE001 - a key that no signer takes is what some tests are about
        return None
