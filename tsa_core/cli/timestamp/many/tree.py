"""One request for many files: a hash tree over their digests, and an evidence record for each (RFC 4998 4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tsa_core.cli.timestamp.many.asking import Asking
from tsa_core.cli.timestamp.many.kept import About
from tsa_core.cli.timestamp.many.outcome import Outcome, State
from tsa_core.cli.timestamp.many.pool import Pool
from tsa_core.client import Timestamp
from tsa_core.protocol.hashes import HashAlgorithm


class _NotGiven(Exception):
    """The server gave no timestamp for the tree; the outcome says why."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.text)
        self.outcome = outcome


def stamp_tree(asking: Asking, abouts: Sequence[About]) -> Iterator[Outcome]:
    """Yield what became of files whose digests are known: one request for all that have one hash."""
    by_algorithm: dict[HashAlgorithm, list[About]] = {}
    for about in abouts:
        by_algorithm.setdefault(about.algorithm, []).append(about)
    for algorithm, group in by_algorithm.items():
        yield from _stamp_group(asking, algorithm, group)


def _stamp_group(asking: Asking, algorithm: HashAlgorithm, group: Sequence[About]) -> Iterator[Outcome]:
    from tsa_core.evidence import make_records

    given: list[Timestamp] = []

    def stamp(tree: HashAlgorithm, root: bytes) -> bytes:
        # In a thread, so that Ctrl-C does not have to wait for the server.
        pool: Pool[bytes, Timestamp | Outcome] = Pool(
            [root], lambda root: asking.ask(group[0].item, root, tree), jobs=1, interruption=asking.interruption
        )
        answer = next(pool.results(), group[0].outcome(State.UNASKED))
        if isinstance(answer, Outcome):
            raise _NotGiven(answer)
        given.append(answer)
        return answer.reply

    digests = [{algorithm.name: about.digest} for about in group]
    try:
        records = make_records(digests, stamp, hash_name=algorithm.name)
    except _NotGiven as error:
        asking.fatal = asking.fatal or error.outcome.text
        for about in group:
            yield about.outcome(error.outcome.state, text=error.outcome.text)
        return
    facts: dict[str, Any] = {"time": given[0].time, "warnings": given[0].warnings}
    for about, record in zip(group, records, strict=True):
        if asking.fatal:  # the disk is full; after Ctrl-C, what the server gave is still written
            yield about.outcome(State.UNASKED)
        else:
            yield asking.keep(about, record.encode(), **facts)
