"""Which batches must be renewed, before when, and why: certificates end, and algorithms do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from cryptography import x509

from tsa_core.evidence.state.batch import Batch
from tsa_core.evidence.syntax import ArchiveTimeStamp
from tsa_core.paths.algorithm_ends import PLANNED_ENDS, AlgorithmEnd, Use, key_of, matches, signature_hash
from tsa_core.paths.errors import printable
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.reply import read_token
from tsa_core.verify.errors import VerificationError
from tsa_core.verify.signed_data import check_structure, find_signer
from tsa_core.verify.statement import readable
from tsa_core.verify.tolerances import algorithm_rules

TIMESTAMP: Final = "timestamp"
HASH_TREE: Final = "hash tree"
_ANY: Final = algorithm_rules(frozenset({"sha1", "md5", "rsa1024"}))


class Reason(NamedTuple):
    """One end: when, what ends, and which renewal it asks for."""

    moment: datetime
    why: str
    renewal: str


@dataclass(frozen=True, kw_only=True)
class Due:
    """When a batch must be renewed. `reasons` are all ends that are known, the first one decides.

    `renewal` is `timestamp`, or `hash tree` when the hash of the tree ends first, for which the files are needed.
    """

    batch: Batch
    gen_time: datetime
    reasons: tuple[Reason, ...]

    @property
    def before(self) -> datetime:
        """The moment before which the renewal must be done."""
        return self.reasons[0].moment

    @property
    def renewal(self) -> str:
        """The kind of renewal."""
        return self.reasons[0].renewal


def due_batches(batches: Iterable[Batch], *, ends: Sequence[AlgorithmEnd] = PLANNED_ENDS) -> tuple[Due, ...]:
    """Return when each batch must be renewed, the most urgent one first.

    Nobody's signature is checked; certificates are those in the last timestamp, the anchor left out. Raises
    StateError for a batch that cannot be read.
    """
    return tuple(sorted((due_of(batch, ends=ends) for batch in batches), key=lambda due: due.before))


def due_of(batch: Batch, *, ends: Sequence[AlgorithmEnd] = PLANNED_ENDS) -> Due:
    """Return when one batch must be renewed."""
    timestamp = batch.last_chain()[-1]
    reasons = sorted(_reasons(timestamp, ends))
    return Due(batch=batch, gen_time=timestamp.info.gen_time, reasons=tuple(reasons))


def _reasons(timestamp: ArchiveTimeStamp, ends: Sequence[AlgorithmEnd]) -> Iterator[Reason]:
    tree = timestamp.hash_algorithm.name
    yield from _ends((Use(tree, None, "the hash tree"),), ends, HASH_TREE)
    try:
        token = read_token(timestamp.time_stamp)
        signed = check_structure(token, _ANY)
        certificates = readable(token.certificates)
        signer = find_signer(signed, certificates)
    except (EncodingError, VerificationError) as error:
        yield Reason(timestamp.info.gen_time, f"nobody knows when it ends: {error}", TIMESTAMP)
        return
    uses = [Use(signed.digest.name, None, "the timestamp's signature")]
    for certificate in _chain(signer.certificate, [each.certificate for each in certificates]):
        name = printable(certificate.subject.rfc4514_string())
        yield Reason(certificate.not_valid_after_utc, f"the certificate of {name} ends", TIMESTAMP)
        kind, bits = key_of(certificate)
        uses.append(Use(kind, bits, f"the key of {name}"))
        if (hashed := signature_hash(certificate)) is not None:
            uses.append(Use(hashed, None, f"the signature on {name}"))
    yield from _ends(uses, ends, TIMESTAMP)


def _chain(signer: x509.Certificate, certificates: Sequence[x509.Certificate]) -> Iterator[x509.Certificate]:
    """Yield the signer and the intermediates above it, by name; what is self-issued is an anchor and left out."""
    seen: set[x509.Certificate] = set()
    certificate: x509.Certificate | None = signer
    while certificate is not None and certificate not in seen:
        seen.add(certificate)
        yield certificate
        issuer = certificate.issuer
        above = (each for each in certificates if each.subject == issuer and each.subject != each.issuer)
        certificate = next(above, None)


def _ends(uses: Iterable[Use], ends: Sequence[AlgorithmEnd], renewal: str) -> Iterator[Reason]:
    for use in uses:
        for end in ends:
            if matches(use, end):
                yield Reason(end.until, f"{use.algorithm} ends in {use.where} ({end.source})", renewal)
