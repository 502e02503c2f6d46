"""The certificate chain of a profile and what must hold before it may issue.

The rules are those of RFC 3161 2.3 and RFC 5280 and of the reference system, each with a line for the operator who
broke it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from tsa_core.api import ConfigError, KeyMismatch, PublicKey, Signer, describe_key
from tsa_core.protocol.signatures import MIN_RSA_BITS

ExtensionT = TypeVar("ExtensionT", bound=x509.ExtensionType)

_MAX_FILE_OCTETS = 1024 * 1024
_MAX_CERTIFICATES = 16


@dataclass(frozen=True, kw_only=True)
class CertificateChain:
    """Certificates from the TSA's own to the root."""

    certificates: tuple[x509.Certificate, ...]

    @property
    def leaf(self) -> x509.Certificate:
        """The TSA's certificate."""
        return self.certificates[0]

    def selection(self, include: Literal["leaf", "intermediates", "full"]) -> list[bytes]:
        """Return the DER certificates that a token carries."""
        last = {"leaf": 1, "intermediates": len(self.certificates) - 1, "full": len(self.certificates)}[include]
        return [certificate.public_bytes(Encoding.DER) for certificate in self.certificates[:last]]

    def pem(self) -> bytes:
        """Return all certificates, TSA's first, as PEM."""
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.certificates)


def load_chain(path: Path) -> CertificateChain:
    """Read a PEM file, TSA certificate first, root last; raises ConfigError when it holds no certificates."""
    return parse_chain(read_chain_file(path), where=str(path))


def read_chain_file(path: Path) -> bytes:
    """Return a chain file's bytes; raises ConfigError when it cannot be read."""
    where = str(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_FILE_OCTETS + 1)
    except OSError as error:
        raise ConfigError(f"the certificate chain cannot be read: {error.strerror}", path=where) from None
    if len(data) > _MAX_FILE_OCTETS:
        raise ConfigError("the certificate chain is larger than 1 MiB", path=where)
    return data


def parse_chain(data: bytes, *, where: str) -> CertificateChain:
    """Return the chain of a PEM file's bytes, TSA certificate first; raises ConfigError, which names `where`."""
    try:
        certificates = tuple(x509.load_pem_x509_certificates(data))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"the certificate chain is not a PEM file of certificates, TSA certificate first: {error}", path=where
        ) from None
    return CertificateChain(certificates=certificates)


def chain_of(certificates: Sequence[bytes]) -> CertificateChain:
    """Return the chain that a signer brought along, as DER."""
    return CertificateChain(certificates=tuple(map(x509.load_der_x509_certificate, certificates)))


def check_chain(
    chain: CertificateChain,
    signer: Signer,
    *,
    where: str,
    enforce_intermediate_eku: bool = True,
    at: datetime | None = None,
) -> None:
    """Check a chain and that it is the signer's.

    Raises ConfigError (KeyMismatch for another key) with one line that names the certificate, the rule and the
    remedy. `where` names the profile's setting. `at` is the present time unless given.
    """
    at = at or datetime.now(UTC)
    certificates = chain.certificates
    if not 2 <= len(certificates) <= _MAX_CERTIFICATES:
        raise ConfigError(
            f"the certificate chain has {len(certificates)} certificate(s); it needs the TSA certificate, any "
            f"intermediates and the root, in that order, {_MAX_CERTIFICATES} at most",
            path=where,
        )
    try:
        _check_path(certificates, at=at, where=where)
        _check_leaf(certificates[0], where=where)
        for certificate in certificates[1:]:
            _check_ca(certificate, where=where)
        _check_path_lengths(certificates, where=where)
        if enforce_intermediate_eku:
            for certificate in certificates[1:-1]:
                _check_intermediate_usage(certificate, where=where)
    except ValueError as error:  # a certificate whose extensions cannot be parsed
        raise ConfigError(f"a certificate of the chain is malformed: {error}", path=where) from None
    _check_key(certificates[0], signer, where=where)


def _title(certificate: x509.Certificate) -> str:
    return f"certificate {certificate.subject.rfc4514_string() or 'without a name'!r}"


def _check_path(certificates: Sequence[x509.Certificate], *, at: datetime, where: str) -> None:
    for certificate in certificates:
        if at < certificate.not_valid_before_utc:
            raise ConfigError(
                f"the {_title(certificate)} is not valid before "
                f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%S}Z; check the clock, or wait",
                path=where,
            )
        if at > certificate.not_valid_after_utc:
            raise ConfigError(
                f"the {_title(certificate)} ended on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S}Z; renew it",
                path=where,
            )
    root = certificates[-1]
    for certificate, issuer in zip(certificates, (*certificates[1:], root), strict=True):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            if certificate is root:
                raise ConfigError(
                    f"the last {_title(root)} is not self-signed; put the root at the end of the chain", path=where
                ) from None
            raise ConfigError(
                f"the {_title(certificate)} was not issued by the {_title(issuer)} that follows it; "
                "order the chain from the TSA certificate to the root",
                path=where,
            ) from None


def _extension(certificate: x509.Certificate, kind: type[ExtensionT]) -> x509.Extension[ExtensionT] | None:
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def _check_leaf(leaf: x509.Certificate, *, where: str) -> None:
    constraints = _extension(leaf, x509.BasicConstraints)
    if constraints is not None and constraints.value.ca:
        raise ConfigError(
            f"the first {_title(leaf)} is a CA's; the chain must begin with the TSA's own certificate", path=where
        )
    usage = _extension(leaf, x509.ExtendedKeyUsage)
    if usage is None or list(usage.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        found = ", ".join(oid.dotted_string for oid in usage.value) if usage else "none"
        raise ConfigError(
            f"the extended key usage of the {_title(leaf)} must be timeStamping (1.3.6.1.5.5.7.3.8) and nothing "
            f"else, it is: {found}; issue a certificate for timestamping alone (RFC 3161 2.3)",
            path=where,
        )
    if not usage.critical:
        raise ConfigError(
            f"the extended key usage of the {_title(leaf)} is not critical; RFC 3161 2.3 demands it: "
            "issue the certificate again with extendedKeyUsage = critical, timeStamping",
            path=where,
        )
    key_usage = _extension(leaf, x509.KeyUsage)
    if key_usage is not None:
        value = key_usage.value
        if not (value.digital_signature or value.content_commitment):
            raise ConfigError(
                f"the key usage of the {_title(leaf)} allows no signatures; it needs digitalSignature", path=where
            )
        if value.key_cert_sign or value.crl_sign or value.key_encipherment or value.key_agreement:
            raise ConfigError(
                f"the key usage of the {_title(leaf)} allows more than signatures; a TSA's key is for that alone",
                path=where,
            )


def _check_ca(certificate: x509.Certificate, *, where: str) -> None:
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.value.ca:
        raise ConfigError(
            f"the {_title(certificate)} is no CA's (basicConstraints), so it cannot have issued the one before it",
            path=where,
        )
    key_usage = _extension(certificate, x509.KeyUsage)
    if key_usage is not None and not key_usage.value.key_cert_sign:
        raise ConfigError(
            f"the key usage of the {_title(certificate)} lacks keyCertSign, so it cannot have issued any",
            path=where,
        )
    _check_rsa_size(certificate, where=where)


def _check_path_lengths(certificates: Sequence[x509.Certificate], *, where: str) -> None:
    for below, certificate in enumerate(certificates[1:]):
        constraints = _extension(certificate, x509.BasicConstraints)
        limit = constraints.value.path_length if constraints else None
        if limit is not None and below > limit:
            raise ConfigError(
                f"the {_title(certificate)} allows {limit} CA certificate(s) below it, the chain has {below}",
                path=where,
            )


def _check_intermediate_usage(certificate: x509.Certificate, *, where: str) -> None:
    usage = _extension(certificate, x509.ExtendedKeyUsage)
    if usage is None or ExtendedKeyUsageOID.TIME_STAMPING not in usage.value:
        raise ConfigError(
            f"the extended key usage of the intermediate {_title(certificate)} does not list timeStamping; "
            "issue it so, or set enforce_intermediate_eku = false",
            path=where,
        )


def _check_rsa_size(certificate: x509.Certificate, *, where: str) -> None:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        raise ConfigError(
            f"the RSA key of the {_title(certificate)} has {key.key_size} bits; {MIN_RSA_BITS} is the minimum",
            path=where,
        )


def _spki(key: PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _check_key(leaf: x509.Certificate, signer: Signer, *, where: str) -> None:
    try:
        certified = leaf.public_key()
        same = _spki(certified) == _spki(signer.public_key)  # type: ignore[arg-type] # X25519 and the like: unequal
        kind = describe_key(certified)
    except (ValueError, UnsupportedAlgorithm):
        same, kind = False, "of an unknown kind"
    if not same:
        raise KeyMismatch(
            f"{where}: the signer's key ({describe_key(signer.public_key)}) is not the one that the "
            f"{_title(leaf)} certifies ({kind}); give the chain that was issued for this key, or the other key"
        )
    _check_rsa_size(leaf, where=where)
