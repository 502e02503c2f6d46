"""Many timestamps: results in order, one that does not hold ends nothing, and no more is read than is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.timestamp_shell import CHAIN, honest
from tsa_core.client import TimestampClient
from tsa_core.testing.http_tsa import HttpTsa
from tsa_core.verify import ImprintMismatch, MalformedTimestamp, TrustStore, Verifier, verify_many
from tsa_core.verify.statement import open_reply

TRUST = TrustStore.from_chain(CHAIN.pem)
each_count = pytest.mark.parametrize("threads", [1, 3])


@pytest.fixture(scope="module")
def replies() -> list[tuple[bytes, bytes]]:
    with HttpTsa(honest) as tsa, TimestampClient(tsa.url) as client:
        return [(client.stamp(artifact=b"%d" % number).reply, b"%d" % number) for number in range(5)]


@each_count
def test_results_come_in_the_order_of_the_items(replies: list[tuple[bytes, bytes]], threads: int) -> None:
    items = [replies[number % 5] for number in range(500)]
    results = list(verify_many(items, trust=TRUST, threads=threads))
    assert [(each.timestamp, each.subject) for each in results] == items
    assert all(each.result is not None and each.error is None for each in results)
    serials = [each.result.tst_info.serial_number for each in results if each.result]
    verifier = Verifier(TRUST)
    assert serials[:5] == [
        verifier.verify_response(reply, artifact=artifact).tst_info.serial_number for reply, artifact in replies
    ]


@each_count
def test_one_that_does_not_hold_ends_nothing(tmp_path: Path, replies: list[tuple[bytes, bytes]], threads: int) -> None:
    reply, artifact = replies[0]
    paths = tmp_path / "r.tsr", tmp_path / "a"
    for path, data in zip(paths, (reply, artifact), strict=True):
        path.write_bytes(data)
    start = reply.index(b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02")
    token = reply[reply.rindex(b"\x30", 0, start) :]
    assert open_reply(reply)
    items = [
        (reply, b"something else"),
        (b"no timestamp", artifact),
        (tmp_path / "missing.tsr", artifact),
        paths,
        (token, artifact),
        (reply, {"digest": Verifier(TRUST).verify_response(reply, artifact=artifact).tst_info.hashed_message}),
    ]
    results = list(verify_many(items, trust=CHAIN.pem, threads=threads))  # type: ignore[arg-type] # a dict in a list
    assert [type(each.error) for each in results[:3]] == [ImprintMismatch, MalformedTimestamp, FileNotFoundError]
    assert [each.result is not None for each in results] == [False, False, False, True, True, True]


def test_items_are_taken_a_few_hundred_ahead_and_no_further(replies: list[tuple[bytes, bytes]]) -> None:
    taken = 0

    def endless() -> Iterator[tuple[bytes, bytes]]:
        nonlocal taken
        while True:
            taken += 1
            yield replies[0]

    results = verify_many(endless(), trust=Verifier(TRUST), threads=2)
    assert next(results).result is not None
    results.close()  # type: ignore[attr-defined] # it is a generator
    assert taken < 1000


def test_mistakes_are_told_by_the_call(replies: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(ValueError, match="one thread"):
        verify_many(replies, trust=TRUST, threads=0)
    with pytest.raises(TypeError, match="a Verifier says itself"):
        verify_many(replies, trust=Verifier(TRUST), policies=["1.2.3"])
    with pytest.raises(TypeError, match="give a path"):
        list(verify_many([(7, b"")], trust=TRUST, threads=2))  # type: ignore[list-item] # the mistake that is tested
