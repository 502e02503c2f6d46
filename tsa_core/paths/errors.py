"""Why a certificate path, or what is said about its revocation, was refused: one exception for each reason."""

from __future__ import annotations

from typing import ClassVar

from tsa_core.protocol.errors import TsaError


class VerificationError(TsaError):
    """What was verified must not be relied on; the text says why in one line.

    `rule` is the number of the rule that was broken, `V8` for example (docs/verify/rules.md).
    """

    rule: ClassVar[str] = "V"


class PathError(VerificationError):
    """There is no valid certificate path from the signer to a trusted root at that time."""

    rule = "V8"


class RevocationError(VerificationError):
    """Revocation was to be checked and speaks against the token."""

    rule = "V9"


class CertificateRevoked(RevocationError):
    """A certificate of the path was revoked in a way that takes the token's value."""


class RevocationUnknown(RevocationError):
    """The given CRLs and OCSP responses do not cover a certificate that had to be covered."""


class WeakAlgorithm(VerificationError):
    """An algorithm whose collisions or keys are within reach: SHA-1, MD5, short RSA keys."""

    rule = "V15"


class UnsupportedAlgorithm(VerificationError):
    """An algorithm that this verifier does not implement."""

    rule = "V15"


def printable(text: str, limit: int = 300) -> str:
    """Return text from a stranger on one line, without control characters that a terminal would obey."""
    shown = text[: limit + 1]
    # Nearly always; one look at each character is a tenth of what verifying one of many records costs.
    cleaned = shown if shown.isprintable() else "".join(c if c.isprintable() else " " for c in shown)
    return cleaned if len(cleaned) <= limit else cleaned[:limit] + "..."
