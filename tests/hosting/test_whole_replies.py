"""Replies that are sent past waitress's buffers: whole, in order, and after the end of who does not read them."""

from __future__ import annotations

import functools
import socket
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.http_replies import next_reply, only_reply, replies_on
from tsa_core.config import load_settings
from tsa_core.hosting.sockets import listen
from tsa_core.hosting.waitress.server import WaitressServer
from tsa_core.testing import wait_until

MIB = 1_048_576


asked = threading.Event()
"""Set when a server has asked the application."""


@functools.cache
def pattern(size: int) -> bytes:
    return array("I", range(size // 4)).tobytes()


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with as many octets as the path says."""
    asked.set()
    size = int(environ["PATH_INFO"].strip("/"))
    start_response("200 OK", [("content-length", str(size))])
    return [pattern(size)]


@contextmanager
def serving(**settings: Any) -> Iterator[tuple[WaitressServer, tuple[str, int]]]:
    loaded = load_settings(overrides={"server": {"port": 0, **settings}}, environ={}).server
    sockets = listen(loaded)
    server = WaitressServer(app, loaded, sockets=sockets)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server, sockets[0].getsockname()[:2]
    finally:
        server.stop()
        thread.join(60)
    assert not thread.is_alive()


def get(size: int, *lines: str) -> bytes:
    return "\r\n".join((f"GET /{size} HTTP/1.1", "Host: x", *lines, "", "")).encode()


@pytest.mark.parametrize("size", [4, 4096, 8 * MIB])
@pytest.mark.parametrize("ends", [False, True])
def test_a_reply_arrives_whole_however_long_it_is(size: int, ends: bool) -> None:
    """Eight MiB are more than the kernel takes at once from a socket whose client does not read yet."""
    with serving() as (_, address), socket.create_connection(address, timeout=60) as connection:
        for _ in range(1 if ends else 3):
            connection.sendall(get(size, "Connection: close") if ends else get(size))
            stream = replies_on(connection)
            assert next_reply(stream).body == pattern(size)
        if ends:
            assert stream.read() == b""


def test_replies_of_all_sizes_come_in_the_order_of_their_requests() -> None:
    sizes = [4, 2 * MIB, 8, 0, 4096, 3 * MIB, 12, 16]
    with serving() as (_, address), socket.create_connection(address, timeout=60) as connection:
        connection.sendall(b"".join(map(get, sizes)) + get(4, "Connection: close"))
        stream = replies_on(connection)
        for size in [*sizes, 4]:
            assert next_reply(stream).body == pattern(size)
        assert stream.read() == b""


def test_the_body_is_asked_for_behind_the_reply_before() -> None:
    """Two requests come together; the second one waits for 100 Continue before it sends its body."""
    with serving() as (_, address), socket.create_connection(address, timeout=60) as connection:
        waiting = b"POST /4 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        connection.sendall(get(8) + waiting)
        stream = replies_on(connection)
        assert next_reply(stream).body == pattern(8)
        assert stream.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert stream.readline() == b"\r\n"
        connection.sendall(b"abc")
        assert next_reply(stream).body == pattern(4)


def test_who_does_not_read_is_cut_off_and_forgotten() -> None:
    asked.clear()
    with serving(write_timeout="1s") as (server, address), socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        connection.connect(address)
        connection.sendall(get(8 * MIB))
        assert asked.wait(60)
        wait_until(lambda: not server._channels(), seconds=60, what="it is cut off")


def test_who_has_gone_before_its_reply_is_forgotten() -> None:
    with serving() as (server, address):
        for _ in range(20):
            with socket.create_connection(address, timeout=60) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                connection.sendall(get(4096))
        wait_until(lambda: not server._channels(), seconds=60, what="all are forgotten")
        with socket.create_connection(address, timeout=60) as connection:
            connection.sendall(get(4))
            assert only_reply(connection).body == pattern(4)
