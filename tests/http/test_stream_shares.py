"""What one HTTP/2 connection may have under way, whatever it cancels."""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Event
from typing import Literal

import pytest

from tests.conformance.plain_encoder import PlainRequest
from tests.http2_client import Http2Connection
from tests.serving import Parts, TestSigner, running_server
from tsa_core.config import ServerSettings
from tsa_core.http.streams import STREAMS, StreamShares, TooMuchAtOnce
from tsa_core.testing.programs import missing

BODY = PlainRequest(nonce=1, cert_req=True).encode()
CANCEL = 8


class WaitingSigner(TestSigner):
    """Signs when it may."""

    __test__ = False
    latency: Literal["local", "remote"] = "remote"

    def __init__(self) -> None:
        super().__init__()
        self.may_sign = Event()
        self.may_sign.set()

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        assert self.may_sign.wait(60)
        return super().sign(message, timeout=timeout)


def test_who_cancels_all_and_asks_again_is_thrown_out(caplog: pytest.LogCaptureFixture) -> None:
    """No signature is made meanwhile, so all that was asked for is under way, cancelled or not."""
    try:
        import granian  # noqa: F401
        import h2  # noqa: F401
    except ImportError as error:
        missing(f"{error.name} is not installed")
    signer = WaitingSigner()
    with running_server(Parts(signers={"p256": signer}), engine="granian", http2=True, threads=150) as server:
        signer.may_sign.clear()
        with Http2Connection(socket.create_connection(server.address, timeout=30)) as connection:
            for asked in (80, 160):
                streams = [connection.begin(body=BODY, flush=False) for _ in range(80)]
                assert connection.request("GET", "/ping").status == 200, f"{asked} are no reason to end anything"
                for number in streams:
                    connection.protocol.reset_stream(number, CANCEL)
                connection.flush()
            with suppress(ConnectionError):
                for _ in range(80):
                    connection.begin(body=BODY, flush=False)
                connection.flush()
            while not connection.closed:
                connection.receive()
        signer.may_sign.set()
        with Http2Connection(socket.create_connection(server.address, timeout=30)) as connection:
            assert connection.request(body=BODY).status == 200
    assert "cancels requests faster than they are answered" in caplog.text


class Ended(list[str]):
    """The clients whose connections were to be ended."""


def test_shares_are_forgotten_with_their_last_request() -> None:
    ended = Ended()
    shares = StreamShares(ServerSettings(), end=ended.append)
    for _ in range(1000):
        first, second = shares.enter("192.0.2.1:1000"), shares.enter("192.0.2.1:1000")
        assert first is second
        first.hold(10)
        shares.leave("192.0.2.1:1000", first, 10)
        shares.leave("192.0.2.1:1000", second, 0)
    assert shares.enter("192.0.2.1:1000").octets == 0
    assert ended == []


def test_one_client_is_ended_once_and_no_other() -> None:
    ended = Ended()
    shares = StreamShares(ServerSettings(), end=ended.append)
    share = shares.enter("192.0.2.1:1000")
    for _ in range(2 * STREAMS - 1):
        shares.enter("192.0.2.1:1000")
        shares.enter("[2001:db8::1]:1000")
    assert ended == []
    for _ in range(50):
        shares.enter("192.0.2.1:1000")
    assert ended == ["192.0.2.1:1000"]
    with pytest.raises(TooMuchAtOnce):
        share.hold(0)


def test_clients_of_a_unix_socket_have_no_address_and_are_not_told_apart() -> None:
    ended = Ended()
    shares = StreamShares(ServerSettings(), end=ended.append)
    for _ in range(10 * STREAMS):
        shares.enter("")
    assert ended == []


@pytest.mark.parametrize(("limit", "most"), [(1000, 1_048_576), (3_000_000, 3_000_000)])
def test_a_connection_holds_one_body_or_a_megabyte(limit: int, most: int) -> None:
    share = StreamShares(ServerSettings(max_request_body_size=limit), end=Ended().append).enter("192.0.2.1:1000")
    share.hold(most)
    with pytest.raises(TooMuchAtOnce):
        share.hold(1)


def test_without_a_limit_on_bodies_a_connection_has_none() -> None:
    share = StreamShares(ServerSettings(max_request_body_size=0), end=Ended().append).enter("192.0.2.1:1000")
    share.hold(10**10)
