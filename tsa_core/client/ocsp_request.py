"""OCSP requests (RFC 6960 4.1.1), each about one certificate and with a nonce (RFC 9654)."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from tsa_core.paths.certificate import PathCertificate
from tsa_core.paths.ocsp import subject_public_key
from tsa_core.paths.ocsp_reader import NONCE
from tsa_core.protocol import der, oids

REQUEST_TYPE: Final = "application/ocsp-request"
RESPONSE_TYPE: Final = "application/ocsp-response"
_NONCE_OCTETS: Final = 32


def new_nonce() -> bytes:
    """Return 32 random octets."""
    return secrets.token_bytes(_NONCE_OCTETS)


def build_ocsp_request(certificate: PathCertificate, issuer: PathCertificate, nonce: bytes) -> bytes:
    """Return a DER OCSPRequest; raises a VerificationError when the issuer's key cannot be read.

    The issuer is named by SHA-1, which every responder knows (RFC 5019 2.1.1); it protects nothing here.
    """
    cert_id = der.sequence(
        der.sequence(der.oid(oids.SHA1), der.null()),
        der.octet_string(_sha1(certificate.issuer)),
        der.octet_string(_sha1(subject_public_key(issuer))),
        certificate.serial_der,
    )
    extension = der.sequence(der.oid(NONCE), der.octet_string(der.octet_string(nonce)))
    requests = der.sequence(der.sequence(cert_id))
    return der.sequence(der.sequence(requests, der.explicit(2, der.sequence(extension))))


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()
