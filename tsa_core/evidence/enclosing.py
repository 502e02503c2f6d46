"""Puts into a timestamp what its verification needs decades later, before a renewal covers it (RFC 5652 5.1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tsa_core.evidence.errors import EvidenceError
from tsa_core.evidence.syntax import ArchiveTimeStamp, EvidenceRecord
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.hashes import IMPRINT_HASHES
from tsa_core.protocol.token_material import with_material
from tsa_core.verify import TrustStore, VerifiedTimestamp, verify_token

if TYPE_CHECKING:
    from tsa_core.paths.revocation import Revocation


def enclose(
    record: EvidenceRecord,
    *,
    certificates: Sequence[bytes] = (),
    crls: Sequence[bytes] = (),
    ocsp_responses: Sequence[bytes] = (),
) -> EvidenceRecord:
    """Return the record with these DER values in its last timestamp, where the next renewal covers them.

    Whoever verifies the record decades later finds the certificates, CRLs and OCSP responses there; nobody else will
    have them then. Call it before a renewal, and with what is valid at its moment. Raises EvidenceError.
    """
    token = record.chains[-1][-1].time_stamp
    return record.with_last_token(_with(token, certificates, crls, ocsp_responses))


def verify_own(
    token: bytes, trust: TrustStore, revocation: Revocation | None = None, *, time: datetime | None = None
) -> VerifiedTimestamp:
    """Verify a token about whatever it is about: whether it holds at `time`, now unless given."""
    info = ArchiveTimeStamp(time_stamp=token).info
    names = {algorithm.oid: name for name, algorithm in IMPRINT_HASHES.items()}
    return verify_token(
        token,
        trust=trust,
        digest=info.hashed_message,
        digest_algorithm=names.get(info.hash_oid),
        revocation=revocation,
        time=time or datetime.now(UTC),
    )


def filled(token: bytes, verdict: VerifiedTimestamp, revocation: Revocation | None = None) -> bytes:
    """Return the token with its path, and the CRLs and OCSP responses that it was verified with, inside of it."""
    path = [certificate.public_bytes(Encoding.DER) for certificate in verdict.path]
    if revocation is None:
        return _with(token, path, (), ())
    return _with(token, path, [*map(_der, revocation.crls)], [*map(_der, revocation.ocsp_responses)])


def _with(token: bytes, certificates: Sequence[bytes], crls: Sequence[bytes], ocsp_responses: Sequence[bytes]) -> bytes:
    try:
        return with_material(token, certificates=certificates, crls=crls, ocsp_responses=ocsp_responses)
    except EncodingError as error:
        raise EvidenceError(f"nothing can be put into the last timestamp: {error}") from None


def _der(found: object) -> bytes:
    """Return the DER of a CRL or an OCSP response, whoever read it."""
    if isinstance(found, x509.CertificateRevocationList | ocsp.OCSPResponse):
        return found.public_bytes(Encoding.DER)
    return bytes(found.der)  # type: ignore[attr-defined]  # our two readers have it
