"""Certificates of a chain: who issued whom, and how messages name them."""

from __future__ import annotations

from typing import Final, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from tsa_core.paths.errors import printable
from tsa_core.paths.extensions import PARSING_ERRORS

MAX_CERTIFICATES: Final = 16
"""How many certificates a chain may have."""


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Say whether `issuer` signed `certificate`: its name and its key."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *PARSING_ERRORS):
        return False
    return True


def title(certificate: x509.Certificate) -> str:
    """Return how messages name a certificate."""
    return f"certificate {subject_text(certificate) or 'without a name'!r}"


def subject_text(certificate: x509.Certificate) -> str:
    """Return a certificate's subject for people, also where it cannot be read."""
    return _text(certificate, "subject")


def issuer_text(certificate: x509.Certificate) -> str:
    """Return the name of a certificate's issuer for people, also where it cannot be read."""
    return _text(certificate, "issuer")


def _text(certificate: x509.Certificate, field: Literal["subject", "issuer"]) -> str:
    try:
        name: x509.Name = getattr(certificate, field)
        return printable(name.rfc4514_string())
    except PARSING_ERRORS:
        return f"with {'a' if field == 'subject' else 'an'} {field} that cannot be read"
