"""A port for a program that a test starts is one that the system gives to nobody by itself."""

from __future__ import annotations

import socket

from tsa_backends.server_process import free_port


def test_whoever_asks_for_any_port_gets_another_one() -> None:
    chosen = {free_port() for _ in range(50)}
    given = set()
    sockets = [socket.socket() for _ in range(200)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
        given.add(each.getsockname()[1])
    for each in sockets:
        each.close()
    assert len(given) > 100
    assert max(chosen) < min(given)


def test_adjacent_ports_are_free() -> None:
    first = free_port(3)
    for port in range(first, first + 3):
        with socket.socket() as held:
            held.bind(("127.0.0.1", port))
