"""Which algorithms a timestamp of a record relies on, and until when they are strong by the caller's table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from tsa_core.evidence.errors import AlgorithmEnded
from tsa_core.paths.algorithm_ends import AlgorithmEnd, Use, matches, uses_of_path
from tsa_core.paths.certificate import text
from tsa_core.protocol.hashes import HashAlgorithm
from tsa_core.verify import VerifiedTimestamp


def check_ends(uses: Iterable[Use], ends: Iterable[AlgorithmEnd], moment: datetime, whose: str) -> None:
    """Raise AlgorithmEnded for a use whose algorithm was not strong any more at `moment`."""
    ends = tuple(ends)
    for use in uses:
        for end in ends:
            if matches(use, end) and moment > end.until:
                raise AlgorithmEnded(f"{whose} relies on {use.algorithm} in {use.where} at {text(moment)}: {end}")


def uses_of(tree: HashAlgorithm, digest_name: str, verdict: VerifiedTimestamp) -> Iterator[Use]:
    """Yield what a verified timestamp over a tree relies on; `digest_name` is the hash of the CMS signature."""
    yield Use(tree.name, None, "the hash tree")
    yield Use(digest_name, None, "the timestamp's signature")
    yield from uses_of_path(verdict.path)
