"""What the caller trusts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from cryptography import exceptions, x509

from tsa_core.paths.certificate import PathCertificate, load_certificate, load_pem_certificates
from tsa_core.paths.extensions import PARSING_ERRORS
from tsa_core.protocol.errors import EncodingError
from tsa_core.verify.errors import PathError


@dataclass(frozen=True, kw_only=True)
class TrustStore:
    """The roots that the caller trusts, and certificates that may help to reach them but carry no trust.

    `certificates` are intermediates, and the signer's own certificate where a token does not hold it.
    """

    roots: tuple[x509.Certificate, ...]
    certificates: tuple[x509.Certificate, ...] = ()

    def __post_init__(self) -> None:
        if not self.roots:
            raise PathError("no root certificate was given, so nothing can be trusted")

    @cached_property
    def prepared_roots(self) -> tuple[PathCertificate, ...]:
        """The roots, prepared for path building once for every verifier that uses this store."""
        return tuple(map(PathCertificate, self.roots))

    @cached_property
    def prepared_certificates(self) -> tuple[PathCertificate, ...]:
        """The other certificates, prepared likewise."""
        return tuple(map(PathCertificate, self.certificates))

    @classmethod
    def from_chain(cls, chain: bytes) -> TrustStore:
        """Read a chain as an authority serves it: signer, intermediates, root; PEM in any order, or one DER.

        The self-signed certificates are the roots. Raises PathError when there is none, because then nothing
        in the file says what is to be trusted.
        """
        certificates = read_certificates(chain)
        roots = tuple(c for c in certificates if is_self_signed(c))
        if not roots:
            raise PathError(
                "the certificate chain holds no self-signed root; give the root with --root-certificates "
                "and this file with --intermediate-certificates"
            )
        return cls(roots=roots, certificates=tuple(c for c in certificates if c not in roots))

    @classmethod
    def from_files(cls, roots: bytes, intermediates: bytes = b"") -> TrustStore:
        """Read roots and intermediates, each PEM with any number of certificates or one DER certificate."""
        return cls(
            roots=read_certificates(roots),
            certificates=read_certificates(intermediates) if intermediates else (),
        )


def read_certificates(data: bytes) -> tuple[x509.Certificate, ...]:
    """Return the certificates in `data`, PEM or one DER; raises PathError when there is none to read."""
    if b"-----BEGIN" not in data and not data.startswith(b"\x30"):
        raise PathError("the certificates cannot be read: they are neither PEM nor DER")
    try:
        if b"-----BEGIN" in data:
            return tuple(load_pem_certificates(data))
        return (load_certificate(data),)
    except (EncodingError, *PARSING_ERRORS) as error:
        raise PathError(f"the certificates cannot be read: {error}") from None


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Say whether a certificate is signed with its own key."""
    try:
        certificate.verify_directly_issued_by(certificate)
    except (exceptions.InvalidSignature, *PARSING_ERRORS):
        return False
    return True
