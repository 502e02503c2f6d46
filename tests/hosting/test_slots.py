"""Connection slots: no address holds more than its share, and a full server closes what does not ask."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.serving import Server, running_server
from tsa_core.config import ServerSettings
from tsa_core.hosting.slots import AddressShares, Candidate, in_closing_order
from tsa_core.protocol.hashes import SHA256
from tsa_core.protocol.request import encode_request
from tsa_core.testing import wait_until

REQUEST = encode_request(algorithm=SHA256, digest=bytes(32), nonce=1, cert_req=True)
HEAD = (
    "POST /api/v1/timestamp HTTP/1.1\r\nHost: x\r\nContent-Type: application/timestamp-query\r\n"
    f"Content-Length: {len(REQUEST)}\r\n\r\n"
).encode()
PARTS = {"idle": b"", "head": HEAD[:40], "body": HEAD + REQUEST[:10]}
OTHER = "127.0.0.2"
"""Another address of this machine."""

needs_linux = pytest.mark.needs(sys.platform.startswith("linux"), "has 127.0.0.2, and TCP_INFO for granian")
each_engine = pytest.mark.parametrize(
    "engine", ["waitress", pytest.param("granian", marks=pytest.mark.package("granian"))]
)


def shares(**settings: Any) -> AddressShares:
    return AddressShares(ServerSettings(connection_limit=100, **settings))


def test_an_address_has_its_share_and_a_network_of_ipv6_has_one() -> None:
    found = shares()
    assert found.limit == 50
    assert found.holder("192.0.2.1") == found.holder("::ffff:192.0.2.1") != found.holder("192.0.2.2")
    assert found.holder("2001:db8::1") == found.holder("2001:db8::2:3:4:5") != found.holder("2001:db8:0:1::1")
    assert found.holder("fe80::1%eth0").name == "fe80::/64"


def test_trusted_proxies_and_unix_sockets_have_no_share() -> None:
    found = shares(trusted_proxies="10.0.0.0/8, 2001:db8::1")
    assert found.holder("10.1.2.3") == found.holder("::ffff:10.1.2.3") == found.holder("2001:db8::1") == ("", True)
    assert found.holder("2001:db8::2").name
    assert found.holder("localhost") == ("", False)
    assert shares(connection_share=1).holder("192.0.2.1") == ("", False)


@pytest.mark.parametrize(
    "wrong", [{"connection_share": 0}, {"connection_share": 1.1}, {"trusted_proxies": "10.0.0.1/8"}]
)
def test_a_share_is_a_part_and_a_proxy_a_network(wrong: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ServerSettings(**wrong)


def test_what_is_idle_is_closed_first_then_what_is_unfinished_then_what_is_new() -> None:
    made = [
        Candidate("new", 0.5, unfinished=False, served=False),
        Candidate("new head", 0.6, unfinished=True, served=False),
        Candidate("head", 2.0, unfinished=True, served=True),
        Candidate("idle", 3.0, unfinished=False, served=True),
        Candidate("longer idle", 4.0, unfinished=False, served=False),
        Candidate("older head", 50.0, unfinished=True, served=False),
        Candidate("proxy", 600.0, unfinished=False, served=True, trusted=True),
        Candidate("just served", 0.9, unfinished=False, served=True),
        Candidate("too new", 0.05, unfinished=True, served=False),
    ]
    order = [each.connection for each in in_closing_order(made, min_seconds=0.1)]
    assert order == ["longer idle", "idle", "older head", "head", "new head", "new", "proxy"]


@contextmanager
def opened(server: Server, count: int, data: bytes = b"", *, source: str = OTHER) -> Iterator[list[socket.socket]]:
    """Hold connections from an address, each of which has sent `data`."""
    with ExitStack() as stack:
        held = []
        for _ in range(count):
            connection = socket.create_connection(server.address, timeout=60, source_address=(source, 0))
            held.append(stack.enter_context(connection))
            connection.sendall(data)
        yield held


def is_open(connection: socket.socket) -> bool:
    """Say whether the server has left a connection open."""
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def count_open(connections: list[socket.socket]) -> int:
    return sum(map(is_open, connections))


@needs_linux
@each_engine
@pytest.mark.parametrize("kind", PARTS)
def test_a_full_server_closes_the_oldest_that_do_not_ask(engine: str, kind: str) -> None:
    limits: dict[str, Any] = {"connection_limit": 40, "connection_share": 1, "read_timeout": "10m"}
    with running_server(engine=engine, **limits) as server, opened(server, 70, PARTS[kind]) as held:
        assert server.post(REQUEST).status == 200
        wait_until(lambda: count_open(held) <= 40, seconds=60, what="the oldest are closed")
        if engine == "waitress":  # to the kernel, all of these have the same age
            assert not is_open(held[0])
            assert is_open(held[-1])
        assert server.post(REQUEST).status == 200


@needs_linux
@each_engine
@pytest.mark.parametrize("kind", PARTS)
def test_an_address_beyond_its_share_loses_its_oldest_and_no_other_does(engine: str, kind: str) -> None:
    limits: dict[str, Any] = {"connection_limit": 100, "connection_share": 0.2, "read_timeout": "10m"}
    with (
        running_server(engine=engine, **limits) as server,
        opened(server, 10, source="127.0.0.1") as others,
        opened(server, 40, PARTS[kind]) as held,
    ):
        wait_until(lambda: count_open(held) <= 20, seconds=60, what="its oldest are closed")
        assert count_open(held) >= 18
        if engine == "waitress":
            assert not is_open(held[0])
            assert is_open(held[-1])
        assert count_open(others) == 10
        assert server.post(REQUEST).status == 200


@needs_linux
@each_engine
def test_a_trusted_proxy_may_hold_more(engine: str, wait: Callable[[], None]) -> None:
    limits: dict[str, Any] = {"connection_limit": 100, "connection_share": 0.2, "trusted_proxies": OTHER}
    with running_server(engine=engine, **limits) as server, opened(server, 40) as held:
        wait()
        assert server.post(REQUEST).status == 200
        assert count_open(held) == 40


@pytest.fixture
def wait() -> Callable[[], None]:
    """Let granian's connections be looked at, which happens twice a second, by a server of the test that does so."""

    def wait() -> None:
        with (
            running_server(engine="granian", connection_limit=100, connection_share=0.2) as server,
            opened(server, 40) as held,
        ):
            wait_until(lambda: count_open(held) <= 20, seconds=60, what="another server has looked")

    return wait
