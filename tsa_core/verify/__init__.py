"""Verification of RFC 3161 timestamps: rules V1 to V15, or an exception that names one."""

from tsa_core.paths.findings import RevocationEvidence, RevocationFinding, RevocationStatus
from tsa_core.paths.notes import Note
from tsa_core.paths.revocation import Revocation, RevocationScope
from tsa_core.verify.errors import (
    AmbiguousSigner,
    CertificateRevoked,
    ImprintMismatch,
    InconsistentDigestLength,
    MalformedTimestamp,
    NonceMismatch,
    NotAccepted,
    NotGranted,
    PathError,
    PolicyMismatch,
    RequestInvalid,
    RequestMismatch,
    RevocationError,
    RevocationUnknown,
    SignatureInvalid,
    SignedDataError,
    SignerCertificateError,
    SignerCertificateMissing,
    SigningCertificateError,
    UnknownCriticalExtension,
    UnsupportedAlgorithm,
    UnsupportedRequestHash,
    VerificationError,
    WeakAlgorithm,
    WeakRequestHash,
)
from tsa_core.verify.expectations import Acceptance, Expectations, Subject
from tsa_core.verify.request import verify_request
from tsa_core.verify.statement import check_answer
from tsa_core.verify.subject import hash_artifact
from tsa_core.verify.trust import TrustStore
from tsa_core.verify.verdict import VerifiedTimestamp
from tsa_core.verify.verifier import Verifier, verify_response, verify_token

__all__ = [
    "Acceptance",
    "AmbiguousSigner",
    "CertificateRevoked",
    "Expectations",
    "ImprintMismatch",
    "InconsistentDigestLength",
    "MalformedTimestamp",
    "NonceMismatch",
    "NotAccepted",
    "NotGranted",
    "Note",
    "PathError",
    "PolicyMismatch",
    "RequestInvalid",
    "RequestMismatch",
    "Revocation",
    "RevocationError",
    "RevocationEvidence",
    "RevocationFinding",
    "RevocationScope",
    "RevocationStatus",
    "RevocationUnknown",
    "SignatureInvalid",
    "SignedDataError",
    "SignerCertificateError",
    "SignerCertificateMissing",
    "SigningCertificateError",
    "Subject",
    "TrustStore",
    "UnknownCriticalExtension",
    "UnsupportedAlgorithm",
    "UnsupportedRequestHash",
    "VerificationError",
    "VerifiedTimestamp",
    "Verifier",
    "WeakAlgorithm",
    "WeakRequestHash",
    "check_answer",
    "hash_artifact",
    "verify_request",
    "verify_response",
    "verify_token",
]
