"""What cannot be had now, but may be later, ends with 75 (EX_TEMPFAIL), and with one line; a mistake ends with 2."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tsa_backends.commands import run_command
from tsa_core.hosting.pid_file import PidFile

memory = pytest.mark.plugin("memory")
MEMORY = ("--timestamp-signer", "memory", "--metrics=false")
NOT_HERE = "192.0.2.1"
"""An address for documentation (RFC 5737), which no machine has."""
ENGINES = (
    pytest.param((), id="waitress"),
    pytest.param(("--workers", "2"), id="workers"),
    pytest.param(("--server", "granian"), id="granian"),
)
DOWN = """
from tsa_core.api import Provider, SignerOptions, SignerUnavailable, hookimpl

def open_signer(options):
    raise SignerUnavailable("hsm.example: connection refused")

@hookimpl
def tsa_signers():
    yield Provider(name="down", summary="Is down", options=SignerOptions, open=open_signer)
"""


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def complaint(*arguments: str | Path, code: int, **environ: str) -> str:
    result = run_command(*arguments, environ=environ)
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    (line,) = (line for line in result.stderr.splitlines() if ": error: " in line)
    return line


@memory
@pytest.mark.parametrize("flags", ENGINES)
def test_port_that_is_held(flags: tuple[str, ...], taken: int) -> None:
    line = complaint("serve", *MEMORY, *flags, "--port", str(taken), code=75)
    assert f"cannot listen on 127.0.0.1:{taken}: Address already in use" in line


@memory
def test_address_that_is_not_there_yet() -> None:
    line = complaint("serve", *MEMORY, "--host", NOT_HERE, code=75)
    assert f"cannot listen on {NOT_HERE}:3000: Cannot assign requested address" in line


@memory
def test_address_that_will_never_be_allowed_is_a_mistake(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere" / "socket"
    line = complaint("serve", *MEMORY, "--scheme", "unix", "--socket-path", missing, code=2)
    assert "No such file or directory" in line


@memory
def test_unix_socket_on_which_a_server_listens(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        line = complaint("serve", *MEMORY, "--scheme", "unix", "--socket-path", path, code=75)
    assert "a server listens there already" in line


@memory
def test_pid_file_of_a_server_that_has_not_ended_yet(tmp_path: Path) -> None:
    held = PidFile(tmp_path / "tsa.pid")
    try:
        line = complaint("serve", *MEMORY, "--pid-file", tmp_path / "tsa.pid", "--port", "0", code=75)
    finally:
        held.close()
    assert "another server that runs uses the pid file" in line


@pytest.mark.parametrize("flags", ENGINES)
def test_backend_that_is_down(flags: tuple[str, ...], fake_plugin: Callable[..., Path], tmp_path: Path) -> None:
    site = fake_plugin("down", DOWN)
    config = tmp_path / "tsa.toml"
    config.write_text('[profiles.default]\nsigner = "down:"\n[metrics]\nenabled = false\n')
    line = complaint("serve", "--config", config, "--port", "0", *flags, code=75, PYTHONPATH=str(site))
    assert line == "timestamp-server: error: profiles.default.signer: hsm.example: connection refused"


def test_check_with_the_backend_down_ends_as_the_server_would(fake_plugin: Callable[..., Path], tmp_path: Path) -> None:
    site = fake_plugin("down", DOWN)
    config = tmp_path / "tsa.toml"
    config.write_text('[profiles.default]\nsigner = "down:"\n')
    assert "connection refused" in complaint("check", "--config", config, code=75, PYTHONPATH=str(site))
