"""Why a timestamp was refused: one exception for each reason, each naming its rule.

The rules are listed in docs/verify/rules.md; S5 is the server's rule about the request's digest.
"""

from __future__ import annotations

from tsa_core.paths.errors import (
    CertificateRevoked,
    PathError,
    RevocationError,
    RevocationUnknown,
    UnsupportedAlgorithm,
    VerificationError,
    WeakAlgorithm,
    printable,
)

__all__ = [
    "AmbiguousSigner",
    "AuthorityNameMismatch",
    "CertificateRevoked",
    "ImprintMismatch",
    "InconsistentDigestLength",
    "LogProofError",
    "MalformedTimestamp",
    "NonceMismatch",
    "NotAccepted",
    "NotGranted",
    "PathError",
    "PolicyMismatch",
    "ProofMissing",
    "RequestInvalid",
    "RequestMismatch",
    "RevocationError",
    "RevocationUnknown",
    "SignatureInvalid",
    "SignedDataError",
    "SignerCertificateError",
    "SignerCertificateMissing",
    "SigningCertificateError",
    "UnknownCriticalExtension",
    "UnsupportedAlgorithm",
    "UnsupportedRequestHash",
    "VerificationError",
    "WeakAlgorithm",
    "WeakRequestHash",
    "printable",
]


class NotGranted(VerificationError):
    """The authority refused, or answered something else than a token (RFC 3161 2.4.2).

    `status` is PKIStatus as a number, `texts` its statusString, `failures` the names of the failInfo bits.
    """

    rule = "V1"

    def __init__(self, *, status: int, name: str, texts: tuple[str, ...], failures: tuple[str, ...]) -> None:
        parts = [f"the authority did not grant the timestamp: {name}"]
        if failures:
            parts.append(f"({', '.join(failures)})")
        if texts:
            parts.append("- " + "; ".join(printable(text) for text in texts))
        super().__init__(" ".join(parts))
        self.status = status
        self.status_name = name
        self.texts = texts
        self.failures = failures


class RequestMismatch(VerificationError):
    """The token does not answer what was asked."""

    rule = "V2"


class ImprintMismatch(RequestMismatch):
    """The token is about other data, or names another hash algorithm."""


class NonceMismatch(RequestMismatch):
    """The token's nonce is not the one that was sent, is missing, or nobody asked for one."""


class PolicyMismatch(RequestMismatch):
    """The token was made under another policy than the one that was asked for."""


class SignedDataError(VerificationError):
    """The CMS structure does not hold together: versions, content type, message digest."""

    rule = "V3"


class SignatureInvalid(SignedDataError):
    """The signature is not one of these attributes by the signer's key."""


class SigningCertificateError(VerificationError):
    """ESSCertID or ESSCertIDv2 is missing or identifies another certificate than the signer's."""

    rule = "V4"


class SignerCertificateError(VerificationError):
    """The signer's certificate is not one for timestamps: key purpose, key usage or CA."""

    rule = "V7"


class SignerCertificateMissing(PathError):
    """The signer's certificate is neither in the token nor among those given."""


class NotAccepted(VerificationError):
    """The token is sound but is not from whom, or not under the policy, that the caller accepts."""

    rule = "V10"


class UnknownCriticalExtension(VerificationError):
    """The token holds a critical extension that this verifier does not understand."""

    rule = "V11"


class AmbiguousSigner(VerificationError):
    """Not exactly one SignerInfo, or more certificates than any honest token holds."""

    rule = "V13"


class MalformedTimestamp(VerificationError):
    """The bytes are not a timestamp: structure, trailing bytes or size."""

    rule = "V14"


class AuthorityNameMismatch(VerificationError):
    """TSTInfo.tsa is not a name of the signer's certificate, or cannot be read."""

    rule = "V16"


class ProofMissing(WeakAlgorithm):
    """An algorithm that is weak today, and no later timestamp that proves that the token is older than its end."""

    rule = "V20"


class LogProofError(VerificationError):
    """The proof does not show that the timestamp is in a trusted log, and was seen by enough witnesses in time."""

    rule = "V22"


class RequestInvalid(VerificationError):
    """A TimeStampReq that no authority should grant."""

    rule = "S5"


class WeakRequestHash(RequestInvalid):
    """The request names a hash with known collisions."""


class UnsupportedRequestHash(RequestInvalid):
    """The request names a hash that is not known."""


class InconsistentDigestLength(RequestInvalid):
    """The request's digest does not have the length of its hash algorithm."""
