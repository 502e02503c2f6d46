"""The certificates that a server's TLS needs, and its clients'."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests import pki


@dataclass
class TlsMaterial:
    """A CA, a server's certificate for 127.0.0.1 and clients', as files in `folder`."""

    folder: Path
    name: str = "CA"
    _key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        self.ca = self.folder / f"{self.name}.pem"
        self._certificate = self._issue(self.name, self._key, ca=True)
        self.ca.write_bytes(self._certificate.public_bytes(Encoding.PEM))

    def write(self, name: str, *, days: float = 30, host: str = "127.0.0.1") -> tuple[Path, Path]:
        """Write a certificate for an address and its key; returns both paths."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._issue(name, key, ca=False, days=days, host=host)
        paths = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
        paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return paths

    def write_self_signed(self) -> tuple[Path, Path]:
        """Write a certificate for 127.0.0.1 that no CA has issued, with the CA's own name and key; returns both."""
        certificate = self._issue(self.name, self._key, ca=False)
        paths = self.folder / f"{self.name}-self.pem", self.folder / f"{self.name}-self.key"
        paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
        paths[1].write_bytes(self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return paths

    def _issue(
        self, name: str, key: ec.EllipticCurvePrivateKey, *, ca: bool, days: float = 30, host: str = "127.0.0.1"
    ) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=60))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(pki.key_usage(sign=True, issue=ca), critical=True)
        )
        if not ca:
            names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))])
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
            builder = builder.add_extension(names, critical=False).add_extension(usage, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def client_context(self, certificate: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        """Return what a client needs to trust the server, and to be trusted with `certificate`."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if certificate is not None:
            context.load_cert_chain(*certificate)
        return context
