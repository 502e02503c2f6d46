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
from tsa_core.hosting.granian.http2_limits import STREAMS, StreamShares, TooMuchAtOnce

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


@pytest.mark.package("granian")
@pytest.mark.package("h2")
def test_who_cancels_all_and_asks_again_is_thrown_out(caplog: pytest.LogCaptureFixture) -> None:
    """No signature is made meanwhile, so all that was asked for is under way, cancelled or not."""
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


CLIENT = "192.0.2.1:1000"


class Ended(list[str]):
    """The clients whose connections were to be ended."""


def counted(**settings: int) -> tuple[StreamShares, Ended]:
    ended = Ended()
    return StreamShares(ServerSettings.model_validate(settings), end=ended.append), ended


def test_shares_are_forgotten_with_their_last_request() -> None:
    shares, ended = counted()
    for _ in range(20_000):
        first, second = shares.enter(CLIENT), shares.enter(CLIENT)
        assert first is second
        assert shares.admits(first)
        shares.hold(first, 1000)
        shares.leave(first, 1000)
        shares.leave(second, 0)
    assert shares.enter(CLIENT) is not first
    assert ended == []


def test_one_client_is_ended_once_and_no_other() -> None:
    shares, ended = counted()
    for _ in range(2 * STREAMS):
        share = shares.enter(CLIENT)
        shares.enter("[2001:db8::1]:1000")
    assert ended == []
    assert shares.admits(share)
    for _ in range(50):
        shares.enter(CLIENT)
    assert ended == [CLIENT]
    assert not shares.admits(share), "what has arrived already is not worked on"
    with pytest.raises(TooMuchAtOnce):
        shares.hold(share, 0)


def test_clients_of_a_unix_socket_have_no_address_and_are_not_told_apart() -> None:
    shares, ended = counted()
    for _ in range(10 * STREAMS):
        share = shares.enter("")
        assert shares.admits(share)
        shares.hold(share, 100_000)
    shares.leave(share, 100_000)
    assert ended == []


def test_in_a_crowd_those_are_served_that_ask_for_little() -> None:
    shares, _ = counted()
    crowd = 0
    while shares.admits(shares.enter(f"192.0.2.{crowd // 100}:{crowd // 100}")):
        crowd += 1
        assert crowd < 20_000
    assert crowd > 1_000
    alone = shares.enter(CLIENT)
    assert shares.admits(alone)
    shares.leave(alone, 0)
    for number in range(crowd):
        shares.enter(f"[2001:db8::1]:{number}")
    assert not shares.admits(shares.enter(CLIENT)), "there is an end to that, too"


@pytest.mark.parametrize(("limit", "most"), [(1000, 1_048_576), (3_000_000, 3_000_000)])
def test_a_connection_holds_one_body_or_a_megabyte(limit: int, most: int) -> None:
    shares, _ = counted(max_request_body_size=limit)
    share = shares.enter(CLIENT)
    shares.hold(share, most)
    with pytest.raises(TooMuchAtOnce):
        shares.hold(share, 1)


def test_all_connections_hold_what_as_many_bodies_may_as_there_may_be_connections() -> None:
    shares, _ = counted(connection_limit=3)
    for number in range(3):
        shares.hold(shares.enter(f"{CLIENT}{number}"), 1_048_576)
    with pytest.raises(TooMuchAtOnce):
        shares.hold(shares.enter(CLIENT), 1)


def test_without_a_limit_on_bodies_a_connection_has_none() -> None:
    shares, _ = counted(max_request_body_size=0)
    shares.hold(shares.enter(CLIENT), 10**10)
