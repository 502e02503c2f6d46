"""A PKI made on the spot: certificates for any public key, also one whose private half nobody here has."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from tsa_core.api import LocalKeySigner, PrivateKey, PublicKey
from tsa_core.certs import KEY_KINDS, Issuer, certificate_name, issue_certificate, new_key
from tsa_core.certs.templates import key_usage

__all__ = ["KEY_KINDS", "Pki", "new_key", "shared_key", "write_pem"]

_CLOCK_GRACE: Final = timedelta(minutes=5)
_VALIDITY: Final = timedelta(days=365)


@cache
def shared_key(kind: str = "ecdsa-p256", number: int = 0) -> PrivateKey:  # noqa: ARG001 - the cache looks at it
    """Return this process's one key of a kind, for tests that only need any: making an RSA key takes a second.

    `number` tells several of a kind apart.
    """
    return new_key(kind)


class Pki:
    """A root, any number of intermediates, and certificates for whoever asks. Nothing is written unless told.

    `kind` is that of the CAs' keys; leaves have the key that they are issued for. `intermediates` counts the CAs
    between root and leaf. `now` is the middle of things: CAs and leaves are valid from five minutes before it for
    a year, unless told otherwise.
    """

    def __init__(self, *, kind: str = "ecdsa-p256", intermediates: int = 1, now: datetime | None = None) -> None:
        self.now = (now or datetime.now(UTC)).replace(microsecond=0)
        key = new_key(kind)
        name = _name("Test Root")
        self.root = self._build(
            subject=name,
            public_key=key.public_key(),
            issuer=name,
            issuer_key=key,
            path_length=intermediates,
            usages=(),
            usage_critical=False,
            not_before=None,
            not_after=None,
        )
        self.intermediates: tuple[x509.Certificate, ...] = ()
        """The intermediates, the one that issues leaves first."""
        for depth in range(intermediates):
            below = new_key(kind)
            subject = _name(f"Test Intermediate {depth + 1}")
            certificate = self._build(
                subject=subject,
                public_key=below.public_key(),
                issuer=name,
                issuer_key=key,
                path_length=intermediates - depth - 1,
                usages=[ExtendedKeyUsageOID.TIME_STAMPING],
                usage_critical=False,
                not_before=None,
                not_after=None,
            )
            self.intermediates = (certificate, *self.intermediates)
            key, name = below, subject
        self._issuer_key, self._issuer_name = key, name

    def issue(
        self,
        public_key: PublicKey,
        *,
        common_name: str = "Test TSA",
        usages: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.TIME_STAMPING,),
        usage_critical: bool = True,
        ca: bool = False,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> x509.Certificate:
        """Return a certificate for `public_key`; the defaults make one with which a TSA may issue (RFC 3161 2.3)."""
        return self._build(
            subject=_name(common_name),
            public_key=public_key,
            issuer=self._issuer_name,
            issuer_key=self._issuer_key,
            path_length=0 if ca else None,
            usages=usages,
            usage_critical=usage_critical,
            not_before=not_before,
            not_after=not_after,
        )

    def chain(self, leaf: x509.Certificate | PublicKey) -> tuple[x509.Certificate, ...]:
        """Return the certificates from `leaf` to the root; for a public key, its leaf is issued first."""
        certificate = leaf if isinstance(leaf, x509.Certificate) else self.issue(leaf)
        return (certificate, *self.intermediates, self.root)

    def write_chain(self, path: Path, leaf: x509.Certificate | PublicKey) -> Path:
        """Write the chain as PEM, leaf first, as a profile's certificate_chain wants it; return `path`."""
        return write_pem(path, self.chain(leaf))

    def _build(
        self,
        *,
        subject: x509.Name,
        public_key: PublicKey,
        issuer: x509.Name,
        issuer_key: PrivateKey,
        path_length: int | None,
        usages: Sequence[x509.ObjectIdentifier],
        usage_critical: bool,
        not_before: datetime | None,
        not_after: datetime | None,
    ) -> x509.Certificate:
        """Return one certificate; `path_length` None makes one that is no CA's."""
        ca = path_length is not None
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=ca, path_length=path_length), True),
            (key_usage(ca=ca), True),
            (x509.SubjectKeyIdentifier.from_public_key(public_key), False),
        ]
        signing = Issuer(name=issuer, signer=LocalKeySigner(issuer_key))
        if subject != issuer:
            extensions.append((signing.authority_key_identifier, False))
        if usages:
            extensions.append((x509.ExtendedKeyUsage(usages), usage_critical))
        return issue_certificate(
            subject=subject,
            public_key=public_key,
            issuer=signing,
            extensions=extensions,
            not_before=not_before or self.now - _CLOCK_GRACE,
            not_after=not_after or self.now + _VALIDITY,
        )


def write_pem(path: Path, certificates: Sequence[x509.Certificate]) -> Path:
    """Write certificates as PEM and return `path`."""
    path.write_bytes(b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates))
    return path


def _name(common_name: str) -> x509.Name:
    return certificate_name(common_name, organization="tsa-core tests")
