"""Proof that a token existed at a time: a later timestamp over it (rule V20; RFC 3161 4, RFC 4998 for whole chains)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from tsa_core.paths.certificate import text
from tsa_core.paths.notes import Note
from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.reply import is_token
from tsa_core.values import Value
from tsa_core.verify.errors import ImprintMismatch, ProofMissing
from tsa_core.verify.tolerances import AlgorithmPeriod

_Verdict = TypeVar("_Verdict")


class ByDate(Value):
    """The periods of algorithms, and when the token is proven to have existed; None without a proof."""

    periods: tuple[AlgorithmPeriod, ...]
    existed: datetime | None

    @property
    def strong_then(self) -> frozenset[str]:
        """The algorithms that were strong when the token existed."""
        existed = self.existed
        return frozenset(p.algorithm for p in self.periods if existed is not None and existed <= p.until)

    def missing(self, reason: str) -> ProofMissing:
        """Return the error for a token that is too weak today; `reason` is that of the strict rules."""
        ends = ", ".join(f"{p.algorithm} until {text(p.until)}" for p in self.periods)
        if self.existed is None:
            return ProofMissing(f"{reason}; no later timestamp proves that it existed while it was strong ({ends})")
        return ProofMissing(f"{reason}; the proof, of {text(self.existed)}, came after its end ({ends})")

    def accept(self, algorithm: str, where: str, *, covered: bool) -> Note:
        """Return the note for a weak algorithm that the proof makes good; raises ProofMissing.

        `covered` says whether what was made with it is inside of the token, which is all that the proof is about.
        """
        if not covered or self.existed is None:
            raise ProofMissing(
                f"{where} is made with {algorithm}, and the certificate is not in the token, so that no proof covers it"
            )
        period = next(p for p in self.periods if p.algorithm == algorithm)
        return Note(
            code="strong-by-date",
            text=f"{algorithm} in {where} is weak today; a later timestamp proves that the token existed "
            f"at {text(self.existed)}, before the end of {algorithm} at {text(period.until)} ({period.source})",
        )


def prove(
    data: bytes, proofs: Sequence[bytes], verify: Callable[[bytes, bytes, Sequence[bytes]], _Verdict]
) -> _Verdict:
    """Return the verdict on the first proof, which must be over `data`; the others prove that one.

    A proof covers the file as it is, or the token alone of a reply. `verify` takes a proof, what it must be about,
    and the proofs of it. Raises the VerificationError of the proof.
    """
    for candidate in _covered(data):
        try:
            return verify(proofs[0], candidate, proofs[1:])
        except ImprintMismatch:
            continue
    raise ProofMissing("the proof is a timestamp of something else than this timestamp")


def _covered(data: bytes) -> tuple[bytes, ...]:
    """Return what a proof may be about: the file, and the token in it."""
    if is_token(data):
        return (data,)
    try:
        _, start, end = der.read(data, 0, len(data))
        return data, data[der.read(data, start, end)[2] : end]
    except EncodingError:
        return (data,)
