"""A server on a read-only root without /tmp, as in a container: requests need no disk, and the metrics end nobody."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tsa_core.testing import ServerProcess, encode_request

pytestmark = [
    pytest.mark.plugin("memory"),
    pytest.mark.needs(find_spec("bench") is not None, "imports a benchmark, which `make test` can"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """Two workers, because these also want to share files."""
    from bench.read_only_root import read_only_root

    flags = ("--port", "0", "--metrics-port", "0", "--workers", "2", "--timestamp-signer", "memory")
    with read_only_root() as wrapper:
        server = ServerProcess(None, *flags)
        server.command[:0] = wrapper
        with server:
            yield server


def test_tokens_are_issued(server: ServerProcess) -> None:
    reply = server.stamp(encode_request())
    assert reply.status == 200
    assert bytes.fromhex("3003020100") in reply.body[:16]


@pytest.mark.parametrize("size", [60_000, 70_000])
def test_large_bodies_are_read_without_a_disk(server: ServerProcess, size: int) -> None:
    assert server.stamp(encode_request() + bytes(size)).status == (200 if size < 65_536 else 413)


def test_it_says_that_the_metrics_have_no_room(server: ServerProcess) -> None:
    server.wait_for_log("there is no room for the metrics of a process in /.*: (No such file|Read-only file system)")
    assert "Traceback" not in server.log
