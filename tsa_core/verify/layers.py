"""Verifies a TimeStampedData (RFC 5544): each timestamp at the time at which the next one proves that it existed.

The last timestamp is verified for now. When it is good, the one before it existed at its time, with the certificates,
CRLs and OCSP responses that were put into it, so that it is verified for that time; and so on down to the data. A layer
whose certificates had ended, or whose algorithms were weak, before the next layer was made, is refused (rule V20).
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, NoReturn, TypedDict, Unpack, cast

from tsa_core.paths.certificate import text
from tsa_core.paths.errors import printable
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.hashes import IMPRINT_HASHES
from tsa_core.protocol.timestamped_data import MAX_ARCHIVE_OCTETS, TimeStampedData, read_timestamped_data
from tsa_core.sources import chunks, octets
from tsa_core.verify.errors import ImprintMismatch, MalformedTimestamp, ProofMissing, VerificationError
from tsa_core.verify.expectations import ACCEPTANCE, Acceptance, Subject, check_names
from tsa_core.verify.path import check_not_after
from tsa_core.verify.statement import Octets
from tsa_core.verify.tolerances import DEFAULT_PERIODS
from tsa_core.verify.trust import TrustStore
from tsa_core.verify.verdict import VerifiedTimestamp
from tsa_core.verify.verifier import Verifier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography import x509

    from tsa_core.paths.revocation import Revocation
    from tsa_core.verify.tolerances import AlgorithmPeriod


class LayeredSubject(TypedDict, total=False):
    """What the first timestamp of a file must be about, and the moment for which the last one is verified.

    `artifact` is a path, bytes, or a file open for reading bytes.

    `artifact` or `digest` may be left out when the file holds its content; what is given must agree with it. `time`,
    aware, is now unless given.
    """

    artifact: Octets | None
    digest: bytes | None
    digest_algorithm: str | None
    time: datetime | None


class LayeredExpectations(LayeredSubject, total=False):
    """Both, for `verify_timestamped_data`; `algorithm_periods` are DEFAULT_PERIODS unless given."""

    tsa_certificate: x509.Certificate | None
    policies: Iterable[str] | None
    common_name: str | None
    revocation: Revocation | None
    allow: Iterable[str]
    algorithm_periods: Iterable[AlgorithmPeriod]


def open_timestamped_data(data: Octets) -> TimeStampedData:
    """Return what is in a TimeStampedData, a path, bytes or an open file; raises MalformedTimestamp."""
    try:
        return read_timestamped_data(octets(data, "the TimeStampedData", MAX_ARCHIVE_OCTETS))
    except EncodingError as error:
        raise MalformedTimestamp(f"the TimeStampedData cannot be read: {error}") from None


def verify_timestamped_data(
    data: Octets | TimeStampedData, *, trust: TrustStore | Octets, **expectations: Unpack[LayeredExpectations]
) -> VerifiedTimestamp:
    """Return the verdict on the first timestamp; its `proof` is the one on the second, and so on.

    `data` and `trust` are paths, bytes or open files, or what was read from them.

    All authorities must be in `trust`. What Acceptance says of certificates, policies and names is for the first
    timestamp. Raises a VerificationError that names the layer.
    """
    check_names(expectations, ACCEPTANCE | LayeredSubject.__optional_keys__, "verify_timestamped_data")
    trust = trust if isinstance(trust, TrustStore) else TrustStore.read(trust)
    archive = data if isinstance(data, TimeStampedData) else open_timestamped_data(data)
    accepted = {name: value for name, value in expectations.items() if name in ACCEPTANCE}
    acceptance = cast("Acceptance", {"algorithm_periods": DEFAULT_PERIODS, **accepted})
    later: Acceptance = {
        "allow": acceptance.get("allow", ()),
        "algorithm_periods": acceptance.get("algorithm_periods", ()),
        "revocation": acceptance.get("revocation"),
    }
    subject = _first_subject(archive, cast("LayeredSubject", expectations))
    time = expectations.get("time")
    if time is not None and time.tzinfo is None:
        raise TypeError("the time of verification must be an aware datetime")
    moment = time or datetime.now(UTC)
    proof: VerifiedTimestamp | None = None
    for number in reversed(range(len(archive.layers))):
        layer = archive.layers[number]
        about: Subject = subject if number == 0 else {"artifact": archive.layers[number - 1].encoded}
        try:
            verifier = Verifier(trust, **(acceptance if number == 0 else later))
            verdict = verifier._verify(layer.token, about, is_reply=False, moment=moment, proof=proof, crl=layer.crl)
            _check_not_ended(verdict, moment, last=proof is None)
            check_not_after(verdict.tst_info, moment)
            if number == 0:
                _check_content_too(archive, verdict, cast("LayeredSubject", expectations))
        except VerificationError as error:
            _raise_for_layer(error, number, len(archive.layers))
        proof, moment = verdict, verdict.latest or verdict.gen_time
    assert proof is not None  # noqa: S101 - there is one layer at least
    return proof


def _first_subject(archive: TimeStampedData, given: LayeredSubject) -> Subject:
    """Return what the first timestamp must be about."""
    prefix = archive.before_content
    artifact, digest = given.get("artifact"), given.get("digest")
    if artifact is not None:
        return {"artifact": cast("BinaryIO", _Prefixed(prefix, artifact)) if prefix else artifact}
    if digest is not None:
        if prefix:
            raise MalformedTimestamp(
                "its first timestamp is over metadata and data together, for which a digest of the data is not enough; "
                "give the data"
            )
        return {"digest": digest, "digest_algorithm": given.get("digest_algorithm")}
    if archive.content is None:
        where = f"; it says that they are at {printable(archive.data_uri)}" if archive.data_uri else ""
        raise TypeError(f"the file does not hold the data that its timestamp is about: give artifact or digest{where}")
    return {"artifact": prefix + archive.content}


def _check_content_too(archive: TimeStampedData, verdict: VerifiedTimestamp, given: LayeredSubject) -> None:
    """Raise ImprintMismatch when something was given and the content is something else."""
    if archive.content is None or (given.get("artifact") is None and given.get("digest") is None):
        return
    algorithm = next(known for known in IMPRINT_HASHES.values() if known.oid == verdict.tst_info.hash_oid)
    if algorithm.digest(archive.before_content + archive.content) != verdict.tst_info.hashed_message:
        raise ImprintMismatch("the content of the file is not what its timestamp is about")


def _check_not_ended(verdict: VerifiedTimestamp, moment: datetime, *, last: bool) -> None:
    """Raise ProofMissing when a certificate had ended before the moment that is proven; the anchor's end is nothing."""
    for certificate in verdict.path[: max(1, len(verdict.path) - 1)]:
        ended = certificate.not_valid_after_utc
        if ended < moment:
            name = printable(certificate.subject.rfc4514_string())
            why = (
                "and no later timestamp proves that it existed before"
                if last
                else f"before the next timestamp proves, at {text(moment)}, that it existed"
            )
            raise ProofMissing(f"the certificate of {name} ended at {text(ended)}, {why}")


def _raise_for_layer(error: VerificationError, number: int, count: int) -> NoReturn:
    reason = str(error)
    if isinstance(error, ImprintMismatch) and number > 0:
        reason = f"it is not over timestamp {number}: one was removed, exchanged or changed ({reason})"
    error.args = (f"timestamp {number + 1} of {count}: {reason}",)
    raise error


class _Prefixed:
    """Data behind a prefix, readable once."""

    def __init__(self, prefix: bytes, data: Octets) -> None:
        self._pieces = chain([prefix], chunks(data, "the artifact"))

    def read(self, size: int = -1) -> bytes:  # noqa: ARG002 - whoever hashes takes pieces of any size
        """Return the prefix, then the data in pieces; nothing at the end."""
        return next(self._pieces, b"")
