"""PEM and fingerprints, of certificates that the core has checked."""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode, encodebytes
from typing import Final

_BLOCK: Final = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")


def der_certificates(chain: bytes) -> list[bytes]:
    """Return the certificates of a PEM text as DER, in its order."""
    return [b64decode(block) for block in _BLOCK.findall(chain)]


def pem(der: bytes) -> bytes:
    """Return a certificate as PEM."""
    encoded = encodebytes(der).replace(b"\n", b"")
    lines = [encoded[start : start + 64] for start in range(0, len(encoded), 64)]
    return b"\n".join([b"-----BEGIN CERTIFICATE-----", *lines, b"-----END CERTIFICATE-----", b""])


def fingerprint(der: bytes) -> str:
    """Return the SHA-256 of a certificate, hex."""
    return hashlib.sha256(der).hexdigest()
