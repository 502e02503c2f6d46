"""Certificate chains: read from files, held in order, put into order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from tsa_core.api import ConfigError, PublicKey, UnsupportedKey, read_file, signature_algorithm
from tsa_core.paths.certificate import load_pem_certificates
from tsa_core.paths.chains import MAX_CERTIFICATES, issued_by, issuer_text, subject_text, title
from tsa_core.paths.errors import printable
from tsa_core.paths.extensions import PARSING_ERRORS, read_extensions
from tsa_core.protocol.encodings import Encoding, PublicFormat
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.signatures import public_key_info
from tsa_core.values import Value

_MAX_FILE_OCTETS = 1024 * 1024


class CertificateChain(Value):
    """Certificates from the TSA's own to the root."""

    certificates: tuple[x509.Certificate, ...]

    @property
    def leaf(self) -> x509.Certificate:
        """The TSA's certificate."""
        return self.certificates[0]

    def certified_key(self) -> bytes | None:
        """Return the SubjectPublicKeyInfo, DER, of the TSA's certificate; None for a key that cannot be read."""
        try:
            return self.leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        except (ValueError, UnsupportedAlgorithm):
            return None

    def selection(self, include: Literal["none", "leaf", "intermediates", "full"]) -> list[bytes]:
        """Return the DER certificates that a token carries."""
        size = len(self.certificates)
        last = {"none": 0, "leaf": 1, "intermediates": size - 1, "full": size}[include]
        return [certificate.public_bytes(Encoding.DER) for certificate in self.certificates[:last]]

    def pem(self) -> bytes:
        """Return all certificates, TSA's first, as PEM."""
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.certificates)


def load_chain(path: Path) -> CertificateChain:
    """Read a PEM file, TSA certificate first, root last; raises ConfigError when it holds no certificates."""
    return parse_chain(read_chain_file(path), where=str(path))


def read_chain_file(path: Path) -> bytes:
    """Return a chain file's bytes; raises ConfigError when it cannot be read."""
    return read_file(path, "certificate chain", limit=_MAX_FILE_OCTETS)


def parse_chain(data: bytes, *, where: str) -> CertificateChain:
    """Return the chain of a PEM file's bytes, TSA certificate first; raises ConfigError, which names `where`."""
    try:
        certificates = tuple(load_pem_certificates(data))
    except PARSING_ERRORS as error:
        # The library's text about a file that is not PEM at all sends the reader to its own web pages.
        reason = error if b"-----BEGIN CERTIFICATE-----" in data else "there is no BEGIN CERTIFICATE in it"
        raise ConfigError(
            f"the certificate chain is not a PEM file of certificates, TSA certificate first: {reason}", path=where
        ) from None
    for number, certificate in enumerate(certificates, 1):
        try:
            _ = certificate.subject, certificate.issuer
            read_extensions(certificate, certificate.public_bytes(Encoding.DER))
        except (EncodingError, *PARSING_ERRORS) as error:
            raise ConfigError(
                f"certificate {number} of the chain cannot be read: {printable(str(error))}; issue it again", path=where
            ) from None
    return CertificateChain(certificates=certificates)


def load_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a PEM file, in its order; raises ConfigError when it holds none."""
    return load_chain(path).certificates


class CertificationRequest(Value):
    """Who asks for a TSA certificate; the key is proven to be the requester's."""

    subject: x509.Name
    public_key: PublicKey


def load_request(path: Path) -> CertificationRequest:
    """Read a PKCS #10 request, PEM or DER; raises ConfigError for one that cannot be read or does not verify."""
    where = str(path)
    data = read_file(path, "certification request", limit=_MAX_FILE_OCTETS)
    load = x509.load_pem_x509_csr if b"-----BEGIN" in data else x509.load_der_x509_csr
    try:
        request = load(data)
        valid, public_key = request.is_signature_valid, request.public_key()
        # Raises UnsupportedKey for keys that cannot make timestamps.
        signature_algorithm(public_key)
    except (ValueError, UnsupportedAlgorithm, UnsupportedKey) as error:
        raise ConfigError(f"the certification request cannot be used: {error}", path=where) from None
    if not valid or not isinstance(public_key, PublicKey):
        raise ConfigError("the certification request's signature does not verify under its own key", path=where)
    return CertificationRequest(subject=request.subject, public_key=public_key)


def chain_of(certificates: Sequence[bytes]) -> CertificateChain:
    """Return the chain that a signer brought along, as DER."""
    return CertificateChain(certificates=tuple(map(x509.load_der_x509_certificate, certificates)))


def order_chain(certificates: Sequence[x509.Certificate], public_key: PublicKey) -> CertificateChain:
    """Return the path from the certificate of `public_key` to a self-signed one, out of certificates in any order.

    Duplicates and what does not belong to the path are left out. Where several issuers fit (a CA whose certificate
    was renewed, a cross-certificate), the path that reaches a self-signed certificate is taken, and among those
    whose first branch ends latest. Raises ConfigError when no certificate is for the key, or when no path ends in
    a self-signed one.
    """
    wanted = public_key_info(public_key)
    pool = list(dict.fromkeys(certificates))
    leaves = [certificate for certificate in pool if _key_info(certificate) == wanted]
    if not leaves:
        names = ", ".join(repr(subject_text(certificate)) for certificate in pool)
        raise ConfigError(f"none of the certificates is for the signer's key; they are: {names}")
    leaves.sort(key=lambda certificate: certificate.not_valid_after_utc, reverse=True)
    for leaf in leaves:
        if path := _path_to_root((leaf,), pool):
            return CertificateChain(certificates=path)
    last = _longest((leaves[0],), pool)[-1]
    raise ConfigError(
        f"the issuer of the {title(last)} is missing: {issuer_text(last)!r}; add its certificate, and so on to the root"
    )


def lowest_key(certificates: Sequence[x509.Certificate]) -> bytes | None:
    """Return the SubjectPublicKeyInfo, DER, of the one certificate that has issued none of the others, in any order.

    For keys whose URI may name several versions, before one of them is opened. None where it cannot be read, or where
    several certificates with different keys have issued none.
    """
    pool = list(dict.fromkeys(certificates))
    lowest = {_key_info(each) for each in pool if not any(issued_by(other, each) for other in pool if other != each)}
    return (lowest.pop() or None) if len(lowest) == 1 else None


def _key_info(certificate: x509.Certificate) -> bytes:
    try:
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return b""


def _issuers(path: tuple[x509.Certificate, ...], pool: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """Return who may have issued the last certificate of `path`, the one that ends latest first."""
    found = [other for other in pool if other not in path and issued_by(path[-1], other)]
    return sorted(found, key=lambda certificate: certificate.not_valid_after_utc, reverse=True)


def _path_to_root(
    path: tuple[x509.Certificate, ...], pool: Sequence[x509.Certificate]
) -> tuple[x509.Certificate, ...] | None:
    if issued_by(path[-1], path[-1]):
        return path
    if len(path) < MAX_CERTIFICATES:
        for issuer in _issuers(path, pool):
            if found := _path_to_root((*path, issuer), pool):
                return found
    return None


def _longest(path: tuple[x509.Certificate, ...], pool: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    while len(path) < MAX_CERTIFICATES and (issuers := _issuers(path, pool)):
        path = (*path, issuers[0])
    return path
