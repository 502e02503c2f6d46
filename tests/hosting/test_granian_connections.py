"""How granian's connections are watched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tsa_core.config import ServerSettings
from tsa_core.hosting.granian.connection_watch import ConnectionWatch
from tsa_core.hosting.granian.peers import Peers
from tsa_core.hosting.pid_file import PidFile
from tsa_core.hosting.sockets import listen

HOLDER = (
    "import pathlib, sys; from tsa_core.hosting.pid_file import *; print(running_server(pathlib.Path(sys.argv[1])))"
)


@pytest.mark.needs(Path("/proc/self/fd").is_dir(), "watches connections through /proc")
def test_a_look_at_the_connections_ends_no_lock_on_a_file(tmp_path: Path) -> None:
    """To close any descriptor of a file ends all locks that the process has on it."""
    pid_file = PidFile(tmp_path / "tsa.pid")
    settings = ServerSettings(port=0)
    listening = listen(settings)
    try:
        ConnectionWatch(settings, listening).sweep()
        found = subprocess.run([sys.executable, "-c", HOLDER, tmp_path / "tsa.pid"], check=False, capture_output=True)
        assert found.returncode == 0, found.stderr
    finally:
        pid_file.close()
        for each in listening:
            each.close()


def test_a_client_that_asks_while_the_connections_are_looked_at_is_not_forgotten() -> None:
    peers = Peers(tls=True)
    client = ("192.0.2.1", "4711")
    assert not peers.has_asked(client)
    peers.note_request(*client)
    nobody: set[tuple[str, str]] = set()
    for seen in (nobody, {client}, nobody):
        peers.forget_all_but(seen)
        assert peers.has_asked(client)
    peers.forget_all_but(nobody)
    assert not peers.has_asked(client)


def test_without_tls_the_kernel_tells_who_has_asked() -> None:
    assert Peers().has_asked(("192.0.2.1", "4711"))
