"""Verification of many timestamps, of one set of authorities.

from tsa_core.verify import verify_many
for each in verify_many((("a.tsr", "a.txt"), ("b.tsr", "b.txt")), trust="chain.pem"):
    print(each.timestamp, each.result.gen_time if each.result else each.error)
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Final, TypeAlias, Unpack

from tsa_core.protocol.reply import is_token
from tsa_core.values import Value
from tsa_core.verify.errors import VerificationError
from tsa_core.verify.expectations import Acceptance, Subject
from tsa_core.verify.statement import Octets, octets
from tsa_core.verify.trust import TrustStore
from tsa_core.verify.verdict import VerifiedTimestamp
from tsa_core.verify.verifier import Verifier

Item: TypeAlias = "tuple[Octets, Octets | Subject]"
"""A reply or a bare token, and the artifact; or instead of the artifact a Subject, with a digest for example."""

_BATCH: Final = 32
"""Items that a thread takes at once, so that handing them over costs little beside them."""
_AHEAD: Final = 4
"""Batches for each thread that are begun before their results are asked for: they bound the memory."""


class Verification(Value):
    """What became of one of many: `result` when it holds, else `error`, and the item that it was.

    `error` is a VerificationError, or an OSError when a file cannot be read.
    """

    timestamp: Octets
    subject: Octets | Subject
    result: VerifiedTimestamp | None = None
    error: VerificationError | OSError | None = None


def verify_many(
    items: Iterable[Item],
    *,
    trust: TrustStore | Octets | Verifier,
    threads: int | None = None,
    **acceptance: Unpack[Acceptance],
) -> Iterator[Verification]:
    """Yield what becomes of each item, in their order; a timestamp that does not hold ends nothing.

    An item is a pair: the timestamp, a reply or a bare token, and its artifact, each as path, bytes or open file; or
    the timestamp and a Subject, `{"digest": ...}` for example. Items are taken from `items` only a few hundred ahead
    of the results, so that any number of them needs the same memory; closing the iterator stops it. `trust` is what
    `verify_response` takes, or a Verifier, which has its own acceptance.

    `threads` read and hash files at once, one for each CPU unless given. Raises TypeError for an item that is none.
    """
    if isinstance(trust, Verifier):
        if acceptance:
            raise TypeError("a Verifier says itself whose timestamps it accepts")
        verifier = trust
    else:
        verifier = Verifier(trust, **acceptance)
    count = threads if threads is not None else _cpus()
    if count < 1:
        raise ValueError("there must be one thread at least")
    # Not a generator itself, so that what is wrong with the arguments is said by the call.
    return _inline(verifier, items) if count == 1 else _threaded(verifier, iter(items), count)


def _inline(verifier: Verifier, items: Iterable[Item]) -> Iterator[Verification]:
    for item in items:
        yield _verify(verifier, item)


def _threaded(verifier: Verifier, items: Iterator[Item], count: int) -> Iterator[Verification]:
    running: deque[Future[list[Verification]]] = deque()
    with ThreadPoolExecutor(count, "tsa-verify-many") as pool:
        try:
            while True:
                while len(running) < count * _AHEAD and (batch := list(islice(items, _BATCH))):
                    running.append(pool.submit(_verify_all, verifier, batch))
                if not running:
                    return
                yield from running.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _verify_all(verifier: Verifier, batch: list[Item]) -> list[Verification]:
    return [_verify(verifier, item) for item in batch]


def _verify(verifier: Verifier, item: Item) -> Verification:
    timestamp, given = item
    subject: Subject = given if isinstance(given, Mapping) else {"artifact": given}
    try:
        data = octets(timestamp)
        call = verifier.verify_token if is_token(data) else verifier.verify_response
        return Verification(timestamp=timestamp, subject=given, result=call(data, **subject))
    except (VerificationError, OSError) as error:
        return Verification(timestamp=timestamp, subject=given, error=error)


def _cpus() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1
