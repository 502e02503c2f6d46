"""Wrong plugins as an operator meets them: `timestamp-server serve` and `check` with an installed distribution."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tsa_backends.commands import run_command
from tsa_core.testing import ServerProcess, encode_request

SYSTEM_FAILURE = bytes.fromhex("03050600000040")
GRANTED = bytes.fromhex("3003020100")
HEAD = "from tsa_core.api import *\n"

SIGNER_WITHOUT_CLASS = """
@hookimpl
def tsa_signers():
    yield Provider(name="wrong", summary="", options=SignerOptions, open=lambda options: {"key": options.uri})
"""
SINK_OF_ANOTHER_CLASS = """
class Sink:
    def write_all(self, records): pass

@hookimpl
def tsa_audit_sinks():
    yield Provider(name="wrong", summary="", open=lambda options: Sink())
"""
SINK_THAT_HANGS = """
import time

@hookimpl
def tsa_audit_sinks():
    yield Provider(name="wrong", summary="", open=lambda options: time.sleep(3600))
"""
PROCESSOR_THAT_RETURNS_NOTHING = """
class Processor(ResponseProcessor):
    def process(self, response, draft):
        if draft.request.nonce == 2:
            return None
        return response

@hookimpl
def tsa_response_processors():
    yield Provider(name="wrong", summary="", open=lambda options: Processor())
"""
MEMORY = '[profiles.default]\nsigner = "memory:"\n[metrics]\nenabled = false\n'


def configure(folder: Path, text: str) -> Path:
    config = folder / "tsa.toml"
    config.write_text(text)
    return config


@pytest.mark.plugin("memory")
@pytest.mark.parametrize(
    ("command", "source", "settings", "said"),
    [
        (
            "serve",
            SIGNER_WITHOUT_CLASS,
            '[profiles.default]\nsigner = "wrong:"\n',
            "open returned a dict, not a Signer",
        ),
        (
            "check",
            SINK_OF_ANOTHER_CLASS,
            MEMORY + '[audit]\nsinks = ["wrong"]\n',
            "open returned a Sink, not an AuditSink",
        ),
        (
            "serve",
            SINK_THAT_HANGS,
            MEMORY + '[audit]\nsinks = ["wrong"]\n[server]\nopen_timeout = "200ms"\n',
            "was not opened within 0.2 s ([server] open_timeout): it hangs",
        ),
        (
            "check",
            "from tsa_core.api import RemoteSigner\n",
            '[profiles.default]\nsigner = "wrong:"\n',
            "upgrade the core",
        ),
    ],
    ids=["signer", "sink", "hang", "newer"],
)
def test_one_line_and_exit_code_2(
    fake_plugin: Callable[..., Path], tmp_path: Path, command: str, source: str, settings: str, said: str
) -> None:
    site = fake_plugin("wrong", HEAD + source, distribution="acme-timestamps")
    port = ("--port", "0") if command == "serve" else ()
    config = configure(tmp_path, settings)
    result = run_command(command, "--config", config, *port, environ={"PYTHONPATH": str(site)})
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("timestamp-server: error: ")
    assert said in line
    assert "acme-timestamps 1.0" in line


def test_plugin_for_a_newer_core_says_what_to_upgrade(fake_plugin: Callable[..., Path], tmp_path: Path) -> None:
    site = fake_plugin("wrong", HEAD, distribution="acme-timestamps", requires="tsa-core>=0.2,<0.3")
    config = configure(tmp_path, '[profiles.default]\nsigner = "wrong:"\n')
    result = run_command("serve", "--config", config, environ={"PYTHONPATH": str(site)})
    assert result.returncode == 2
    assert "upgrade the core, not the plugin: get tsa-core<0.3,>=0.2 " in result.stderr


@pytest.mark.plugin("memory")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_wrong_reply_is_refused_and_the_server_goes_on(
    fake_plugin: Callable[..., Path], tmp_path: Path, workers: str
) -> None:
    site = fake_plugin("wrong", HEAD + PROCESSOR_THAT_RETURNS_NOTHING, distribution="acme-timestamps")
    config = configure(tmp_path, MEMORY + '[response]\nprocessors = ["wrong"]\n')
    with ServerProcess(config, "--workers", workers, environ={"PYTHONPATH": str(site)}) as server:
        assert GRANTED in server.stamp(encode_request(nonce=1)).body[:16]
        assert SYSTEM_FAILURE in server.stamp(encode_request(nonce=2)).body
        server.wait_for_log("the response processor 'wrong' is wrong: process returned None, not bytes")
        assert GRANTED in server.stamp(encode_request(nonce=3)).body[:16]
    assert "[plugin wrong, acme-timestamps 1.0]" in server.log
    assert "Traceback" not in server.log


MONITOR_THAT_IS_CANCELLED = """
import asyncio, os
from datetime import timedelta
from pathlib import Path

VERDICT = ClockVerdict(trusted=True, reason="fine", offset=timedelta(0), uncertainty=timedelta(0), checked_at=0.1)

class Monitor(ClockMonitor):
    def start(self, clock): pass
    def verdict(self):
        if Path(os.environ["CANCELLED"]).exists():
            raise asyncio.CancelledError
        return VERDICT

@hookimpl
def tsa_clock_monitors():
    yield Provider(name="wrong", summary="", open=lambda options: Monitor())
"""


@pytest.mark.plugin("memory")
def test_a_monitor_that_fails_in_the_process_of_all_workers_is_named(
    fake_plugin: Callable[..., Path], tmp_path: Path
) -> None:
    site = fake_plugin("wrong", HEAD + MONITOR_THAT_IS_CANCELLED, distribution="acme-timestamps")
    config = configure(tmp_path, MEMORY + '[clock]\nmonitors = ["wrong"]\n')
    environ = {"PYTHONPATH": str(site), "CANCELLED": str(tmp_path / "cancelled")}
    with ServerProcess(config, "--workers", "2", environ=environ) as server:
        (tmp_path / "cancelled").touch()
        server.wait_for_log(r"cannot go on: the clock monitor 'wrong' \(acme-timestamps 1.0\) failed: CancelledError")
        (tmp_path / "cancelled").unlink()
    assert "Traceback" not in server.log
