"""tsa_core.wsgi under gunicorn and uWSGI: in workers that load it themselves, and in those forked from one that did."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tsa_backends.server_process import end_in_order, free_port
from tsa_core.testing import (
    HttpReply,
    Pki,
    encode_request,
    new_key,
    on_threads,
    require_package,
    wait_until,
    write_pem,
)
from tsa_core.testing.ntp_responder import NtpResponder
from tsa_core.verify import TrustStore, verify_response

pytestmark = pytest.mark.plugin("memory")

SECONDS = 60.0
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("TSA_")}
MEMORY = '[profiles.default]\nsigner = "memory:"\n'
MODULE = "tsa_core.wsgi:create_app()"

GUNICORN = ("gunicorn", "--no-control-socket", "--workers", "2")
UWSGI = (
    *("pyuwsgi", "--master", "--processes", "2", "--enable-threads", "--need-app", "--die-on-term", "--strict"),
    *("--worker-reload-mercy", "15"),
)
SERVERS = {
    "gunicorn-sync": (*GUNICORN,),
    "gunicorn-threads": (*GUNICORN, "--threads", "4"),
    "gunicorn-preload": (*GUNICORN, "--preload", "--threads", "4"),
    "uwsgi-lazy": (*UWSGI, "--lazy-apps", "--threads", "4"),
    "uwsgi-forked": (*UWSGI, "--threads", "4"),
}
LOADED_BEFORE_THE_FORK = ("gunicorn-preload", "uwsgi-forked")


class WsgiServer:
    """A server that runs the application."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def ask(self, method: str, path: str, body: bytes | None = None) -> HttpReply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            headers = {"Content-Type": "application/timestamp-query"} if body else {}
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return HttpReply(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()


def command_line(name: str, port: int) -> list[str]:
    program, *flags = SERVERS[name]
    require_package(program)
    found = str(Path(sys.executable).with_name(program))
    if program == "gunicorn":
        return [found, *flags, "--bind", f"127.0.0.1:{port}", MODULE]
    return [found, *flags, "--http-socket", f"127.0.0.1:{port}", "--module", MODULE]


@contextmanager
def serving(
    name: str, folder: Path, config: str = MEMORY, environ: Mapping[str, str] | None = None
) -> Iterator[WsgiServer]:
    """Run a server until the block ends; it has to answer by then, and to end in order."""
    (folder / "tsa.toml").write_text(config)
    port, log = free_port(), folder / f"{name}.log"
    variables = {**ENVIRONMENT, "TSA_CONFIG": str(folder / "tsa.toml"), "HOME": str(folder), **(environ or {})}
    with (
        log.open("wb") as output,
        subprocess.Popen(command_line(name, port), env=variables, stdout=output, stderr=output, cwd=folder) as process,
    ):
        server = WsgiServer(process, port, log)

        def answers() -> bool:
            assert process.poll() is None, server.log
            if name == "uwsgi-lazy" and server.log.count("WSGI app 0 (mountpoint='') ready") < 2:
                return False  # stopped while a worker loads, uWSGI says that the application failed
            try:
                return server.ask("GET", "/ping").body == b"."
            except OSError:
                return False

        try:
            wait_until(answers, seconds=SECONDS, what=f"{name} answers")
            yield server
        finally:
            end_in_order(process, seconds=SECONDS)


@pytest.fixture
def with_file_signer(tmp_path: Path) -> str:
    """A configuration with a key and a chain on disk."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = new_key()
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    write_pem(tmp_path / "chain.pem", Pki().chain(key.public_key()))
    return '[profiles.default]\nsigner = "file:key.pem"\ncertificate_chain = "chain.pem"\n'


def opened(trail: Path) -> set[bytes]:
    """The lines that processes wrote when they opened the audit trail."""
    return {line for line in trail.read_bytes().splitlines() if b'"type":"open"' in line}


@pytest.mark.plugin("file", "auditfile")
@pytest.mark.parametrize("name", SERVERS)
def test_every_worker_issues_tokens_that_verify_and_are_recorded(
    name: str, tmp_path: Path, with_file_signer: str
) -> None:
    audit = '[audit]\nsinks = ["auditfile"]\n[audit.auditfile]\npath = "audit.jsonl"\n'
    with serving(name, tmp_path, with_file_signer + audit) as server:
        request = encode_request(b"what is stamped")
        replies = on_threads(lambda _: server.ask("POST", "/api/v1/timestamp", request), range(64))
        trail = tmp_path / "audit.jsonl"
        wait_until(lambda: len(opened(trail)) >= 2, seconds=SECONDS, what="two processes have opened the trail")
        log = server.log  # a worker that is stopped while it loads may say so afterwards
    assert {reply.status for reply in replies} == {200}
    trust = TrustStore.from_chain((tmp_path / "chain.pem").read_bytes())
    verified = [verify_response(reply.body, trust=trust, artifact=b"what is stamped") for reply in replies]
    serials = {each.tst_info.serial_number for each in verified}
    assert len(serials) == 64
    assert "Traceback" not in log
    assert server.process.returncode == 0
    lines = [json.loads(line) for line in trail.read_text().splitlines()]
    assert {int(line["serial"], 16) for line in lines if line["type"] == "token"} == serials
    # One chain, although several processes wrote it.
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))


@pytest.mark.parametrize("name", ["gunicorn-threads", "gunicorn-preload", "uwsgi-lazy", "uwsgi-forked"])
def test_key_made_at_start_is_one_only_when_it_was_made_before_the_fork(name: str, tmp_path: Path) -> None:
    """What docs/operate/wsgi-servers.md says about the memory signer."""
    with serving(name, tmp_path) as server:
        chains: set[bytes] = set()

        def ask_again() -> bool:
            replies = on_threads(lambda _: server.ask("GET", "/api/v1/timestamp/certchain"), range(16))
            chains.update(reply.body for reply in replies)
            return len(chains) > 1

        if name in LOADED_BEFORE_THE_FORK:
            for _ in range(8):
                ask_again()
            assert len(chains) == 1
        else:
            wait_until(ask_again, seconds=SECONDS, what="both workers have shown their chains")
            assert len(chains) == 2


@pytest.mark.plugin("ntp")
@pytest.mark.parametrize("name", LOADED_BEFORE_THE_FORK)
def test_workers_that_were_forked_have_clock_monitors_of_their_own(name: str, tmp_path: Path) -> None:
    """A thread does not survive a fork: a monitor that was inherited would say for ever what it said last."""
    responder = NtpResponder().start()
    clock = (
        f'{MEMORY}[clock]\nmonitors = ["ntp"]\nmax_holdover = "1s"\n[clock.ntp]\nservers = ["{responder.server}"]\n'
        'num_servers = 1\nserver_threshold = 1\nperiod = "200ms"\nrequest_attempts = 1\nrequest_timeout = "500ms"\n'
        'max_time_delta = "1s"\n'
    )

    def all_say(server: WsgiServer, status: int) -> bool:
        return {server.ask("GET", "/readyz").status for _ in range(20)} == {status}

    try:
        with serving(name, tmp_path, clock) as server:
            wait_until(lambda: all_say(server, 200), seconds=SECONDS, what="the clock is trusted")
            responder.offset = 10.0
            wait_until(lambda: all_say(server, 503), seconds=SECONDS, what="every worker sees that the clock is wrong")
            responder.offset = 0.0
            wait_until(lambda: all_say(server, 200), seconds=SECONDS, what="the clock is trusted again")
    finally:
        responder.stop()


FLAKY_SIGNER = """
import os, pathlib
from tsa_core.api import ConfigError, LocalKeySigner, Provider, SignerOptions, hookimpl
from tsa_core.testing import Pki, new_key

class Flaky(LocalKeySigner):
    def certificate_chain(self):
        from cryptography.hazmat.primitives.serialization import Encoding
        return [c.public_bytes(Encoding.DER) for c in Pki().chain(self.public_key)]

def open_it(options):
    if pathlib.Path(os.environ["BROKEN"]).exists():
        raise ConfigError("the backend is away", path="signer.flaky")
    return Flaky(new_key())

@hookimpl
def tsa_signers():
    yield Provider(name="flaky", summary="Fails to open when told", options=SignerOptions, open=open_it)
"""


def test_worker_that_cannot_open_says_so_and_tries_again(tmp_path: Path, fake_plugin) -> None:  # type: ignore[no-untyped-def] # a fixture of conftest.py
    site = fake_plugin("flaky", FLAKY_SIGNER)
    broken = tmp_path / "broken"
    environ = {"PYTHONPATH": str(site), "BROKEN": str(broken)}
    (tmp_path / "tsa.toml").write_text('[profiles.default]\nsigner = "flaky:"\n')
    script = """
import os, pathlib, sys, time, wsgiref.util
from tsa_core.wsgi import create_app
app = create_app()
broken = pathlib.Path(os.environ["BROKEN"])
def ask():
    environ = {"PATH_INFO": "/ping", "REQUEST_METHOD": "GET"}
    wsgiref.util.setup_testing_defaults(environ)
    seen = []
    body = b"".join(app(environ, lambda status, headers: seen.append(status)))
    return seen[0], body
assert ask() == ("200 OK", b"."), ask()
broken.touch()
assert ask() == ("200 OK", b"."), "what is open stays open"
pid = os.fork()
if pid == 0:
    code = 1
    try:
        status, body = ask()
        assert status == "503 Service Unavailable", status
        assert b"cannot issue timestamps now" in body, body
        broken.unlink()
        assert ask()[0] == "503 Service Unavailable", "not at every request"
        while ask()[0] != "200 OK":
            time.sleep(0.02)
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    result = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script],
        env={**ENVIRONMENT, "TSA_CONFIG": str(tmp_path / "tsa.toml"), **environ},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "cannot issue timestamps: signer.flaky: the backend is away" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", ["gunicorn-preload", "uwsgi-forked"])
def test_configuration_that_is_wrong_ends_the_server_with_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "tsa.toml").write_text("[server]\nprot = 1\n")
    result = subprocess.run(
        command_line(name, free_port()),
        env={**ENVIRONMENT, "TSA_CONFIG": str(tmp_path / "tsa.toml"), "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert result.returncode != 0
    [line] = [line for line in result.stdout.splitlines() if line.startswith("tsa-core: error: ")]
    assert line.endswith("unknown setting server.prot; did you mean 'port'?")
