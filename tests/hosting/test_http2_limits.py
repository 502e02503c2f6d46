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
from tsa_core.hosting.granian.http2_limits import STREAMS, Http2Limits, LimitExceeded

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


def counted(**settings: int) -> tuple[Http2Limits, Ended]:
    ended = Ended()
    return Http2Limits(ServerSettings.model_validate(settings), end=ended.append), ended


def test_counts_are_forgotten_with_their_last_request() -> None:
    limits, ended = counted()
    for _ in range(20_000):
        first, second = limits.add(CLIENT), limits.add(CLIENT)
        assert first is second
        assert limits.admits(first)
        limits.reserve(first, 1000)
        limits.remove(first, 1000)
        limits.remove(second, 0)
    assert limits.add(CLIENT) is not first
    assert ended == []


def test_one_client_is_ended_once_and_no_other() -> None:
    limits, ended = counted()
    for _ in range(2 * STREAMS):
        load = limits.add(CLIENT)
        limits.add("[2001:db8::1]:1000")
    assert ended == []
    assert limits.admits(load)
    for _ in range(50):
        limits.add(CLIENT)
    assert ended == [CLIENT]
    assert not limits.admits(load), "what has arrived already is not worked on"
    with pytest.raises(LimitExceeded):
        limits.reserve(load, 0)


def test_clients_of_a_unix_socket_have_no_address_and_are_not_told_apart() -> None:
    limits, ended = counted()
    for _ in range(10 * STREAMS):
        load = limits.add("")
        assert limits.admits(load)
        limits.reserve(load, 100_000)
    limits.remove(load, 100_000)
    assert ended == []


def test_in_a_crowd_those_are_served_that_ask_for_little() -> None:
    limits, _ = counted()
    crowd = 0
    while limits.admits(limits.add(f"192.0.2.{crowd // 100}:{crowd // 100}")):
        crowd += 1
        assert crowd < 20_000
    assert crowd > 1_000
    alone = limits.add(CLIENT)
    assert limits.admits(alone)
    limits.remove(alone, 0)
    for number in range(crowd):
        limits.add(f"[2001:db8::1]:{number}")
    assert not limits.admits(limits.add(CLIENT)), "there is an end to that, too"


@pytest.mark.parametrize(("limit", "most"), [(1000, 1_048_576), (3_000_000, 3_000_000)])
def test_a_connection_holds_one_body_or_a_megabyte(limit: int, most: int) -> None:
    limits, _ = counted(max_request_body_size=limit)
    load = limits.add(CLIENT)
    limits.reserve(load, most)
    with pytest.raises(LimitExceeded):
        limits.reserve(load, 1)


def test_all_connections_hold_what_as_many_bodies_may_as_there_may_be_connections() -> None:
    limits, _ = counted(connection_limit=3)
    for number in range(3):
        limits.reserve(limits.add(f"{CLIENT}{number}"), 1_048_576)
    with pytest.raises(LimitExceeded):
        limits.reserve(limits.add(CLIENT), 1)


def test_without_a_limit_on_bodies_a_connection_has_none() -> None:
    limits, _ = counted(max_request_body_size=0)
    limits.reserve(limits.add(CLIENT), 10**10)
