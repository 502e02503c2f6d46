"""The profiling listener: on loopback, on request, for nobody's web page."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator
from http.server import HTTPServer

import pytest

from tsa_core.api import ConfigError
from tsa_core.hosting.profiling import listen_for_profiling, serve_profiling


@pytest.fixture(scope="module")
def profiler() -> Iterator[HTTPServer]:
    server = serve_profiling(listen_for_profiling(0))
    yield server
    server.shutdown()
    server.server_close()


def get(profiler: HTTPServer, path: str, **headers: str) -> tuple[int, str]:
    host, port = profiler.socket.getsockname()
    assert host == "127.0.0.1"
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_a_profile_shows_where_the_time_goes(profiler: HTTPServer) -> None:
    stop = threading.Event()

    def spin_for_the_profile() -> None:
        while not stop.is_set():
            sum(range(1000))

    busy = threading.Thread(target=spin_for_the_profile, name="busy bee")
    busy.start()
    try:
        status, text = get(profiler, "/debug/pprof/profile?seconds=0.3")
    finally:
        stop.set()
        busy.join()
    assert status == 200
    lines = text.splitlines()
    assert all(re.fullmatch(r"[^ ]+ [0-9]+", line) for line in lines), "the format of flame graph tools"
    assert any(line.startswith("busy_bee;") and "spin_for_the_profile" in line for line in lines)
    assert not any("_Handler" in line for line in lines), "it does not watch itself"


def test_what_each_thread_does(profiler: HTTPServer) -> None:
    status, text = get(profiler, "/debug/pprof/threads")
    assert status == 200
    assert "thread MainThread" in text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/debug/pprof/", 200),
        ("/debug/pprof/profile?seconds=x", 400),
        ("/debug/pprof/profile?seconds=0", 400),
        ("/debug/pprof/profile?seconds=1e9", 400),
        ("/debug/pprof/profile?seconds=nan", 400),
        ("/", 404),
    ],
)
def test_other_paths(profiler: HTTPServer, path: str, status: int) -> None:
    assert get(profiler, path)[0] == status


def test_a_web_page_that_renamed_itself_reads_nothing(profiler: HTTPServer) -> None:
    assert get(profiler, "/debug/pprof/threads", Host="evil.example:6060")[0] == 403
    assert get(profiler, "/debug/pprof/threads", Host="localhost:6060")[0] == 200


def test_a_port_in_use_is_one_line(profiler: HTTPServer) -> None:
    with pytest.raises(ConfigError, match="choose another profiling_port"):
        listen_for_profiling(profiler.socket.getsockname()[1])
