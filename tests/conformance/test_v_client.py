"""Rules V6 and V21: what only the client can see, whether a reply is recent and whether it comes in time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from tests.conformance.verification import CHAIN
from tsa_core.client import (
    BadReply,
    NotAwaited,
    RequestTimeout,
    ThresholdNotMet,
    TimestampClient,
    stamp_all,
)
from tsa_core.protocol.request import read_request
from tsa_core.testing import forge
from tsa_core.testing.http_tsa import Answer, HttpTsa

WINDOW = timedelta(minutes=5)
MARGIN = timedelta(seconds=90)
"""So that how long the test takes decides nothing, nor how genTime is rounded: 6.5 minutes are 6 for half a minute."""


def at(gen_time: Callable[[], datetime]) -> Callable[[bytes], Answer]:
    """Return an authority whose clock is `gen_time`."""

    def answer(request: bytes) -> Answer:
        parsed = read_request(request)
        content = forge.tst_info(digest=parsed.digest, nonce=parsed.nonce, gen_time=gen_time())
        return Answer(body=forge.reply(forge.token(CHAIN.signer, content, certificates=[CHAIN.signer.der])))

    return answer


def off_by(offset: timedelta) -> Callable[[bytes], Answer]:
    return at(lambda: datetime.now(UTC) + offset)


def too_early_or_late(url: str, *, nonce: bool, window: timedelta = WINDOW) -> str:
    with TimestampClient(url, clock_window=window) as client, pytest.raises(BadReply) as caught:
        client.stamp(artifact=b"hello", nonce=nonce)
    assert caught.value.cause.rule == "V6"
    return str(caught.value)


# --- V6: timeliness ---


@pytest.mark.parametrize("nonce", [True, False])
@pytest.mark.parametrize("offset", [timedelta(), WINDOW - MARGIN, MARGIN - WINDOW])
def test_v6_within_the_window_of_the_clients_clock(nonce: bool, offset: timedelta) -> None:
    with HttpTsa(off_by(offset)) as tsa, TimestampClient(tsa.url) as client:
        assert client.stamp(artifact=b"hello", nonce=nonce).warnings == ()


def test_v6_an_old_reply_sent_again_is_an_error_without_a_nonce() -> None:
    kept: list[Answer] = []
    honest = off_by(-WINDOW - MARGIN)

    def replay(request: bytes) -> Answer:
        kept.append(kept[0] if kept else honest(request))
        return kept[0]

    with HttpTsa(replay) as tsa:
        with TimestampClient(tsa.url, clock_window=2 * WINDOW) as client:
            first = client.stamp(artifact=b"hello", nonce=False)
        assert "may be an old one" in too_early_or_late(tsa.url, nonce=False)
    assert len(kept) == 2
    assert first.reply == kept[0].body


def test_v6_long_past_is_a_warning_in_the_result_with_a_nonce() -> None:
    with HttpTsa(off_by(-WINDOW - MARGIN)) as tsa, TimestampClient(tsa.url) as client:
        warnings = client.stamp(artifact=b"hello").warnings
    assert len(warnings) == 1
    assert "6 minutes behind this machine's clock" in warnings[0]


@pytest.mark.parametrize("nonce", [True, False])
@pytest.mark.parametrize("offset", [WINDOW + MARGIN, timedelta(days=365 * 13)])
def test_v6_the_future_is_an_error_with_a_nonce_too(nonce: bool, offset: timedelta) -> None:
    with HttpTsa(off_by(offset)) as tsa:
        assert "ahead of this machine's clock" in too_early_or_late(tsa.url, nonce=nonce)


def test_v6_the_window_is_a_setting() -> None:
    with HttpTsa(off_by(timedelta(minutes=-2))) as tsa:
        too_early_or_late(tsa.url, nonce=False, window=timedelta(seconds=30))
        with TimestampClient(tsa.url, clock_window=timedelta(minutes=3)) as client:
            client.stamp(artifact=b"hello", nonce=False)


@pytest.mark.parametrize("year", [1, 9999])
def test_v6_the_ends_of_the_calendar(year: int) -> None:
    with HttpTsa(at(lambda: datetime(year, 12, 31, tzinfo=UTC))) as tsa:
        too_early_or_late(tsa.url, nonce=False)


# --- V21: deadlines ---


@contextmanager
def dripping(beginning: bytes, drop: bytes) -> Iterator[str]:
    """Serve an answer that begins as given and then goes on for ever, a drop at a time; each drop is progress."""
    stopped = threading.Event()
    threads: list[threading.Thread] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(1 << 16)
                connection.sendall(beginning)
                while not stopped.wait(0.02):
                    connection.sendall(drop)
            except OSError:
                pass  # the client has ended it, as it should

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(connection,)))
            threads[-1].start()

    threads.append(threading.Thread(target=accept))
    threads[0].start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/tsa"
    finally:
        stopped.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in threads:
            thread.join()


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\nTransfer-Encoding: chunked\r\n\r\n"
DRIPS = {
    "status_line": (b"HTTP/1.1 200 ", b"O"),
    "header": (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
    "interim_answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "chunk_extension": (CHUNKED + b"5;slow=", b"x"),
    "chunks": (CHUNKED, b"1\r\n0\r\n"),
    "trailer": (CHUNKED + b"1\r\n0\r\n0\r\nX-Slow: ", b"x"),
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", b"0"),
}


@pytest.mark.parametrize("drip", DRIPS)
def test_v21_the_time_limit_is_a_deadline(drip: str) -> None:
    late = pytest.raises(RequestTimeout, match=r"no complete answer within 0\.5 seconds")
    with dripping(*DRIPS[drip]) as url, TimestampClient(url, timeout=0.5) as client, late:
        client.stamp(artifact=b"hello")


def test_v21_a_silent_authority_does_not_delay_a_threshold_that_others_meet() -> None:
    # With a deadline of ten minutes, the test ends in time only if nobody waits for it.
    with HttpTsa(off_by(timedelta())) as one, HttpTsa(off_by(timedelta())) as two, dripping(b"", b"H") as slow:
        result = stamp_all([slow, one.url, two.url], threshold=2, artifact=b"hello", timeout=600)
    assert [timestamp.url for timestamp in result.timestamps] == [one.url, two.url]
    assert [(type(failure), failure.url) for failure in result.failures] == [(NotAwaited, slow)]


def test_v21_one_deadline_for_all_authorities() -> None:
    unmet = pytest.raises(ThresholdNotMet)
    with dripping(b"", b"H") as slow, dripping(*DRIPS["header"]) as slower, unmet as caught:
        stamp_all([slow, slower], threshold=1, artifact=b"hello", timeout=0.5)
    assert [type(failure) for failure in caught.value.failures] == [RequestTimeout, RequestTimeout]
