"""Checks the files of the scheme https before the TLS library reads them, whose messages name no file."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tsa_core.api import ConfigError, key_file, read_file
from tsa_core.config import ServerSettings
from tsa_core.protocol.encodings import Encoding, PublicFormat

_MAX_FILE_OCTETS: Final = 1024 * 1024
_SHAPE: Final = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
_RSA_BITS: Final = (2048, 4096)
_USE: Final = "use ECDSA on P-256 or P-384, RSA of 2048 to 4096 bits, or Ed25519"


def tls_files(settings: ServerSettings) -> list[Path]:
    """Return the files that the scheme https reads; an empty list without it."""
    return [path for path in (settings.tls_certificate, settings.tls_key, settings.tls_ca) if path is not None]


def check_tls_files(settings: ServerSettings, *, by_granian: bool = True) -> None:
    """Raise ConfigError, with the file and the remedy, unless the TLS files can be used.

    The certificate must be valid now and belong to the key; the key must not be encrypted, and be of a kind that the
    server's TLS signs with, granian's unless `by_granian` is false; `tls_ca` must hold at least one certificate. Every
    call reads the files again, so that a reload checks the current ones.
    """
    if "https" not in settings.schemes:
        return
    assert settings.tls_certificate is not None  # noqa: S101 - ServerSettings demands both beside the scheme
    assert settings.tls_key is not None  # noqa: S101 - as above
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # only for TLS

    leaf = _read_certificates(settings.tls_certificate, "tls_certificate")[0]
    certified = _certified_key(leaf, settings.tls_certificate)
    try:
        with key_file(settings.tls_key, "file of server.tls_key", limit=_MAX_FILE_OCTETS) as data:
            key = load_pem_private_key(data, password=None)
    except TypeError:
        raise ConfigError(
            f"server.tls_key: {settings.tls_key} is encrypted; decrypt it with 'openssl pkey' and protect the file"
        ) from None
    except ValueError:
        raise ConfigError(f"server.tls_key: {settings.tls_key} is not a private key in PEM") from None
    except UnsupportedAlgorithm:
        raise ConfigError(f"server.tls_key: {settings.tls_key} is of a kind that is not known; {_USE}") from None
    if key.public_key().public_bytes(*_SHAPE) != certified:
        raise ConfigError(
            f"server.tls_key: {settings.tls_key} is not the key of the first certificate in {settings.tls_certificate}"
        )
    if by_granian:
        _check_kind(key.public_key(), settings.tls_key)
    try:
        # granian reads them so too, once more in Rust; what OpenSSL refuses ends in a traceback there.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_certificate, settings.tls_key, "")
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise ConfigError(
            f"server.tls_certificate: {settings.tls_certificate} or its key is refused by OpenSSL: {reason}; {_USE}"
        ) from None
    now = datetime.now(UTC)
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        raise ConfigError(
            f"server.tls_certificate: {settings.tls_certificate} is valid from {leaf.not_valid_before_utc:%Y-%m-%d} "
            f"to {leaf.not_valid_after_utc:%Y-%m-%d} only; clients would refuse it"
        )
    if settings.tls_ca is not None:
        _read_certificates(settings.tls_ca, "tls_ca")


def _certified_key(leaf: x509.Certificate, path: Path) -> bytes:
    """Return the SubjectPublicKeyInfo of a certificate; raises ConfigError for one that TLS cannot use."""
    try:
        info = leaf.public_key().public_bytes(*_SHAPE)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"server.tls_certificate: the key in {path} is of a kind that is not known; {_USE}") from None
    # RSASSA-PSS keys, and curves that are written out, are read as if they were plain.
    if info not in leaf.tbs_certificate_bytes:
        raise ConfigError(f"server.tls_certificate: the key in {path} is certified in an uncommon form; {_USE}")
    return info


def _check_kind(key: object, path: Path) -> None:
    """Raise ConfigError for a key that granian's TLS (rustls with ring) cannot sign with: it ends the process."""
    match key:
        case rsa.RSAPublicKey():
            usable = _RSA_BITS[0] <= key.key_size <= _RSA_BITS[1]
        case ec.EllipticCurvePublicKey():
            usable = isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1)
        case _:
            usable = isinstance(key, ed25519.Ed25519PublicKey)
    if not usable:
        raise ConfigError(f"server.tls_key: {path} is of a kind that the server's TLS does not sign with; {_USE}")


def _read(path: Path, setting: str) -> bytes:
    return read_file(path, f"file of server.{setting}", limit=_MAX_FILE_OCTETS)


def _read_certificates(path: Path, setting: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path, setting))
    except ValueError:
        raise ConfigError(f"server.{setting}: {path} holds no certificates in PEM") from None
