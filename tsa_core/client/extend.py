"""Puts a later timestamp over one that holds today, so that it can be verified when it would not hold any more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tsa_core.paths.revocation import Revocation
from tsa_core.protocol.timestamped_data import Layer, TimeStampedData
from tsa_core.protocol.token_material import token_of, with_material
from tsa_core.verify.verdict import VerifiedTimestamp


@dataclass(frozen=True, kw_only=True)
class Extended:
    """The data with one more layer; the verdict on the whole, first timestamp first."""

    archive: TimeStampedData
    verdict: VerifiedTimestamp

    @property
    def extend_before(self) -> datetime:
        """When the first certificate of the last timestamp's path ends, the anchor's left out."""
        path = last_verdict(self.verdict).path
        return min(certificate.not_valid_after_utc for certificate in path[: max(1, len(path) - 1)])


def wrap(timestamp: bytes, *, content: bytes | None = None) -> TimeStampedData:
    """Return a TimeStampedData (RFC 5544) with one timestamp, a reply or a bare token; raises EncodingError."""
    return TimeStampedData(layers=(Layer(token=token_of(timestamp)),), content=content)


def last_verdict(verdict: VerifiedTimestamp) -> VerifiedTimestamp:
    """Return the verdict on the last layer, whose authority vouches for all others."""
    while verdict.proof is not None:
        verdict = verdict.proof
    return verdict


def with_evidence(
    archive: TimeStampedData, verdict: VerifiedTimestamp, revocation: Revocation | None
) -> TimeStampedData:
    """Return the data with the last token's path, and CRLs and OCSP responses, inside that token.

    `verdict` is the one on the data as they are. Raises EncodingError when the token becomes too large.
    """
    *before, last = archive.layers
    path = [certificate.public_bytes(Encoding.DER) for certificate in last_verdict(verdict).path]
    crls = [_der(found) for found in revocation.crls] if revocation is not None else []
    responses = [_der(found) for found in revocation.ocsp_responses] if revocation is not None else []
    token = with_material(last.token, certificates=path, crls=crls, ocsp_responses=responses)
    return archive.with_layers((*before, Layer(token=token, crl=last.crl)))


def extend(
    archive: TimeStampedData,
    *,
    stamp: Callable[[bytes], bytes],
    verify: Callable[[TimeStampedData], VerifiedTimestamp],
    revocation: Revocation | None = None,
) -> Extended:
    """Return the data with a timestamp over their last one, into which its path and `revocation` are put first.

    `stamp` returns the reply or token of an authority for the octets that it gets (TimestampClient.stamp, for example);
    `verify` verifies data, and raises unless they hold: before, because a timestamp over one that does not hold proves
    nothing, and after, because the new authority must be trusted too. Raises what both raise, and EncodingError.
    """
    verdict = verify(archive)
    filled = with_evidence(archive, verdict, revocation)
    token = token_of(stamp(filled.layers[-1].encoded))
    longer = filled.with_layers((*filled.layers, Layer(token=token)))
    return Extended(archive=longer, verdict=verify(longer))


def _der(found: object) -> bytes:
    """Return the DER of a CRL or an OCSP response, whoever read it."""
    if isinstance(found, x509.CertificateRevocationList | ocsp.OCSPResponse):
        return found.public_bytes(Encoding.DER)
    return bytes(found.der)  # type: ignore[attr-defined]  # our two readers have it
