"""Checks the files of the scheme https before the TLS library reads them, whose messages name no file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from tsa_core.api import ConfigError, key_file, read_file
from tsa_core.config import ServerSettings
from tsa_core.protocol.encodings import Encoding, PublicFormat

_MAX_FILE_OCTETS: Final = 1024 * 1024


def tls_files(settings: ServerSettings) -> list[Path]:
    """Return the files that the scheme https reads; an empty list without it."""
    return [path for path in (settings.tls_certificate, settings.tls_key, settings.tls_ca) if path is not None]


def check_tls_files(settings: ServerSettings) -> None:
    """Raise ConfigError, with the file and the remedy, unless the TLS files can be used.

    The certificate must be valid now and belong to the key; the key must not be encrypted; `tls_ca` must hold at
    least one certificate. Every call reads the files again, so that a reload checks the current ones.
    """
    if "https" not in settings.schemes:
        return
    assert settings.tls_certificate is not None  # noqa: S101 - ServerSettings demands both beside the scheme
    assert settings.tls_key is not None  # noqa: S101 - as above
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # only for TLS

    leaf = _read_certificates(settings.tls_certificate, "tls_certificate")[0]
    try:
        with key_file(settings.tls_key, "file of server.tls_key", limit=_MAX_FILE_OCTETS) as data:
            key = load_pem_private_key(data, password=None)
    except TypeError:
        raise ConfigError(
            f"server.tls_key: {settings.tls_key} is encrypted; decrypt it with 'openssl pkey' and protect the file"
        ) from None
    except ValueError:
        raise ConfigError(f"server.tls_key: {settings.tls_key} is not a private key in PEM") from None
    shape = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*shape) != leaf.public_key().public_bytes(*shape):
        raise ConfigError(
            f"server.tls_key: {settings.tls_key} is not the key of the first certificate in {settings.tls_certificate}"
        )
    now = datetime.now(UTC)
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        raise ConfigError(
            f"server.tls_certificate: {settings.tls_certificate} is valid from {leaf.not_valid_before_utc:%Y-%m-%d} "
            f"to {leaf.not_valid_after_utc:%Y-%m-%d} only; clients would refuse it"
        )
    if settings.tls_ca is not None:
        _read_certificates(settings.tls_ca, "tls_ca")


def _read(path: Path, setting: str) -> bytes:
    return read_file(path, f"file of server.{setting}", limit=_MAX_FILE_OCTETS)


def _read_certificates(path: Path, setting: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path, setting))
    except ValueError:
        raise ConfigError(f"server.{setting}: {path} holds no certificates in PEM") from None
