"""Verification of RFC 3161 timestamps: rules V1 to V15, or an exception that names one."""

from typing import TYPE_CHECKING

from tsa_core.lazy_names import lazy_names

if TYPE_CHECKING:
    from tsa_core.paths.findings import RevocationEvidence, RevocationFinding, RevocationStatus
    from tsa_core.paths.notes import Note
    from tsa_core.paths.revocation import Revocation, RevocationScope
    from tsa_core.protocol.transparency.policy import LogPolicy, parse_policy, threshold_policy
    from tsa_core.verify.errors import (
        AmbiguousSigner,
        AuthorityNameMismatch,
        CertificateRevoked,
        ImprintMismatch,
        InconsistentDigestLength,
        LogProofError,
        MalformedTimestamp,
        NonceMismatch,
        NotAccepted,
        NotGranted,
        PathError,
        PolicyMismatch,
        ProofMissing,
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
    from tsa_core.verify.log_evidence import LogEvidence, verify_log_proof
    from tsa_core.verify.many import Verification, verify_many
    from tsa_core.verify.request import verify_request
    from tsa_core.verify.statement import check_answer
    from tsa_core.verify.subject import hash_artifact
    from tsa_core.verify.tolerances import ALLOWANCES, DEFAULT_PERIODS, AlgorithmPeriod
    from tsa_core.verify.trust import TrustAnchor, TrustStore
    from tsa_core.verify.trusted_authority import TrustedAuthority
    from tsa_core.verify.verdict import VerifiedTimestamp
    from tsa_core.verify.verifier import Verifier, verify_response, verify_token
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "tsa_core.paths.findings": "RevocationEvidence RevocationFinding RevocationStatus",
            "tsa_core.paths.notes": "Note",
            "tsa_core.paths.revocation": "Revocation RevocationScope",
            "tsa_core.protocol.transparency.policy": "LogPolicy parse_policy threshold_policy",
            "tsa_core.verify.errors": (
                "AmbiguousSigner AuthorityNameMismatch CertificateRevoked ImprintMismatch "
                "InconsistentDigestLength LogProofError MalformedTimestamp NonceMismatch NotAccepted NotGranted "
                "PathError PolicyMismatch ProofMissing RequestInvalid RequestMismatch RevocationError "
                "RevocationUnknown SignatureInvalid SignedDataError SignerCertificateError SignerCertificateMissing "
                "SigningCertificateError UnknownCriticalExtension UnsupportedAlgorithm UnsupportedRequestHash "
                "VerificationError WeakAlgorithm WeakRequestHash"
            ),
            "tsa_core.verify.expectations": "Acceptance Expectations Subject",
            "tsa_core.verify.many": "Verification verify_many",
            "tsa_core.verify.log_evidence": "LogEvidence verify_log_proof",
            "tsa_core.verify.request": "verify_request",
            "tsa_core.verify.statement": "check_answer",
            "tsa_core.verify.subject": "hash_artifact",
            "tsa_core.verify.tolerances": "ALLOWANCES AlgorithmPeriod DEFAULT_PERIODS",
            "tsa_core.verify.trust": "TrustAnchor TrustStore",
            "tsa_core.verify.trusted_authority": "TrustedAuthority",
            "tsa_core.verify.verdict": "VerifiedTimestamp",
            "tsa_core.verify.verifier": "Verifier verify_response verify_token",
        },
    )


__all__ = [
    "ALLOWANCES",
    "DEFAULT_PERIODS",
    "Acceptance",
    "AlgorithmPeriod",
    "AmbiguousSigner",
    "AuthorityNameMismatch",
    "CertificateRevoked",
    "Expectations",
    "ImprintMismatch",
    "InconsistentDigestLength",
    "LogEvidence",
    "LogPolicy",
    "LogProofError",
    "MalformedTimestamp",
    "NonceMismatch",
    "NotAccepted",
    "NotGranted",
    "Note",
    "PathError",
    "PolicyMismatch",
    "ProofMissing",
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
    "TrustAnchor",
    "TrustStore",
    "TrustedAuthority",
    "UnknownCriticalExtension",
    "UnsupportedAlgorithm",
    "UnsupportedRequestHash",
    "Verification",
    "VerificationError",
    "VerifiedTimestamp",
    "Verifier",
    "WeakAlgorithm",
    "WeakRequestHash",
    "check_answer",
    "hash_artifact",
    "parse_policy",
    "threshold_policy",
    "verify_log_proof",
    "verify_many",
    "verify_request",
    "verify_response",
    "verify_token",
]
