"""Keys, chains and settings change while requests are answered: none fails, none is lost, nothing is mixed."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

from tests.rotation import ENGINES, Clients, Identity, TsaDirectory
from tsa_core.config import load_settings
from tsa_core.hosting.reloading import keep_start_settings
from tsa_core.protocol.hashes import SHA256
from tsa_core.protocol.request import encode_request
from tsa_core.testing import encode_request as sample
from tsa_core.testing import wait_until

pytestmark = pytest.mark.plugin("file")

REQUEST = encode_request(algorithm=SHA256, digest=bytes(32), nonce=7, cert_req=True)
each_engine = pytest.mark.parametrize("engine", ENGINES)


@each_engine
def test_rotation_under_load(engine: str, tmp_path: Path) -> None:
    """Eight clients, five rotations, the third of them broken: every reply is of the chain that was current."""
    tsa = TsaDirectory(tmp_path)
    periods: list[tuple[Identity, float, float]] = []
    with tsa.served(engine) as server, Clients(server.port) as clients:
        clients.wait_for(40)
        current, since = tsa.identity, 0.0
        for rotation in range(5):
            asked = monotonic()
            if rotation == 2:
                tsa.write_broken()
                report = tsa.reload()
                assert not report.succeeded
                assert "is not the one that the certificate" in report.message
            else:
                tsa.write(Identity())
                assert tsa.reload().succeeded, tsa.report()
                periods.append((current, since, monotonic()))
                current, since = tsa.identity, asked
            clients.wait_for(40)
        clients.stop()
        periods.append((current, since, monotonic()))
    assert clients.failures == []
    assert {answer.status for answer in clients.answers} == {200}
    assert len(clients.answers) >= 240
    used = set()
    for answer in clients.answers:
        possible = [
            number for number, (_, begin, end) in enumerate(periods) if begin <= answer.received and answer.sent <= end
        ]
        objections = {number: periods[number][0].objection(answer.reply, answer.request) for number in possible}
        signers = [number for number, objection in objections.items() if not objection]
        assert len(signers) == 1, f"sent {answer.sent}, received {answer.received}: {objections}"
        used.update(signers)
    assert used == set(range(5))


@each_engine
def test_after_a_reload_every_worker_has_the_new_chain(engine: str, tmp_path: Path) -> None:
    tsa = TsaDirectory(tmp_path)
    with tsa.served(engine) as server:
        tsa.write(Identity())
        assert tsa.reload().succeeded
        chains = {server.get("/api/v1/timestamp/certchain").body for _ in range(20)}
        assert chains == {tsa.identity.pem}


@pytest.mark.needs(Path("/proc/self/task").exists(), "finds workers through /proc")
@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine.endswith("-2")])
def test_a_worker_that_is_replaced_after_a_reload_has_the_current_configuration(engine: str, tmp_path: Path) -> None:
    """Also when the files have changed again since: what was not asked for is not taken into use."""
    tsa = TsaDirectory(tmp_path)
    with tsa.served(engine) as server:
        tsa.write(Identity())
        assert tsa.reload().succeeded
        current = tsa.identity
        tsa.write_broken()
        pid = tsa.report().pid
        before = children(pid)
        assert len(before) == 2
        for worker in before:
            os.kill(worker, 9)
            wait_until(
                lambda dead=worker: len(children(pid) - {dead}) == 2,  # type: ignore[misc] # a default binds the loop's
                seconds=60,
                what="the worker is replaced",
            )
        replies = [server.stamp(sample(nonce=number)) for number in range(20)]
        assert all(current.signed(reply.body, sample(nonce=number)) for number, reply in enumerate(replies))


def children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def test_a_bad_configuration_file_changes_nothing_and_is_one_line(tmp_path: Path) -> None:
    tsa = TsaDirectory(tmp_path)
    with tsa.served("waitress") as server:
        tsa.configure(profile='policys = ["1.2.3"]')
        report = tsa.reload()
        assert not report.succeeded
        assert "profiles.default.policys; did you mean 'policies'?" in report.message
        assert "\n" not in report.message
        server.wait_for_log(r"(?i)\berror\b.*reload refused, nothing has changed: .*policys")
        assert "Traceback" not in server.log
        assert tsa.identity.signed(server.stamp(REQUEST).body, REQUEST)


@pytest.mark.parametrize("engine", ["waitress", "waitress-2"])
def test_a_fifo_in_place_of_the_chain_refuses_the_reload_and_no_later_one(engine: str, tmp_path: Path) -> None:
    tsa = TsaDirectory(tmp_path)
    chain = tmp_path / "chain.pem"
    with tsa.served(engine) as server:
        chain.unlink()
        os.mkfifo(chain)
        report = tsa.reload()
        assert not report.succeeded
        assert "chain.pem: the certificate chain cannot be read: it is a FIFO that nobody writes to" in report.message
        assert tsa.identity.signed(server.stamp(REQUEST).body, REQUEST)
        tsa.write(Identity())
        assert tsa.reload().succeeded
        assert {tsa.identity.signed(server.stamp(REQUEST).body, REQUEST) for _ in range(10)} == {True}


def test_what_a_reload_cannot_change_is_said(tmp_path: Path) -> None:
    tsa = TsaDirectory(tmp_path)
    with tsa.served("waitress") as server:
        tsa.configure(server='connection_limit = 7\nrejections = "sigstore"')
        report = tsa.reload()
        assert report.succeeded
        assert "server.connection_limit has changed, which takes effect at the next start only" in report.message
        assert "rejections" not in report.message
        assert server.stamp(b"garbage").status == 400
        tsa.configure(tables='[log]\ntype = "prod"')
        assert "; log has changed, which takes effect at the next start only" in tsa.reload().message


def test_policies_and_profiles_change(tmp_path: Path) -> None:
    tsa = TsaDirectory(tmp_path)
    with tsa.served("waitress") as server:
        assert server.get("/tsa/second/certchain").status == 404
        tsa.configure(
            tables='[profiles.second]\nsigner = "file:key.pem"\ncertificate_chain = "chain.pem"\npolicies = ["1.2.3"]'
        )
        report = tsa.reload()
        assert "profile second: new profile" in report.message
        assert server.get("/tsa/second/certchain").status == 200
        tsa.configure()
        assert "profile second: gone" in tsa.reload().message
        assert server.get("/tsa/second/certchain").status == 404
        tsa.configure(profile='conformance = "sigstore"')
        assert ", conformance sigstore, before none" in tsa.reload().message
        assert "conformance" not in tsa.reload().message
        tsa.configure()
        assert ", conformance none, before sigstore" in tsa.reload().message


@pytest.mark.plugin("memory")
@pytest.mark.parametrize("engine", ENGINES)
def test_a_memory_signer_keeps_its_key(engine: str, tmp_path: Path) -> None:
    tsa = TsaDirectory(tmp_path)
    memory = '[server]\npid_file = "tsa.pid"\n[profiles.default]\nsigner = "memory:"\n'
    tsa.config.write_text(memory)
    with tsa.served(engine) as server:
        before = server.get("/api/v1/timestamp/certchain").body
        tsa.config.write_text(memory + 'policies = ["1.2.3.4"]\n')
        assert tsa.reload().succeeded
        assert {server.get("/api/v1/timestamp/certchain").body for _ in range(10)} == {before}
        tsa.config.write_text(memory + '[signer.memory]\nalgorithm = "ecdsa-p384"\n')
        report = tsa.reload()
        if engine == "waitress":
            assert "new certificate" in report.message
            assert server.get("/api/v1/timestamp/certchain").body != before
        else:
            assert not report.succeeded
            assert "cannot be given to workers that run already" in report.message
            assert {server.get("/api/v1/timestamp/certchain").body for _ in range(10)} == {before}


@each_engine
def test_watch_reloads_by_itself_when_links_are_swapped(engine: str, tmp_path: Path) -> None:
    """As Kubernetes does it: the files are links into a directory that is itself a link, which is swapped."""
    first, second = tmp_path / "..one", tmp_path / "..two"
    first.mkdir()
    second.mkdir()
    tsa = TsaDirectory(first)
    served = tsa.identity
    (tmp_path / "..data").symlink_to("..one")
    for name in ("key.pem", "chain.pem"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    config = tmp_path / "tsa.toml"
    config.write_text(tsa.config.read_text().replace("[server]", "[server]\nwatch = true"))
    tsa.config, tsa.pid_file = config, tmp_path / "tsa.pid"
    with tsa.served(engine) as server:
        assert served.signed(server.stamp(REQUEST).body, REQUEST)
        new = Identity()
        TsaDirectory(second).write(new)
        (tmp_path / "..new").symlink_to("..two")
        (tmp_path / "..new").replace(tmp_path / "..data")
        assert tsa.wait_for_report(0).succeeded
        server.wait_for_log("changed: ")
        assert {new.signed(server.stamp(REQUEST).body, REQUEST) for _ in range(10)} == {True}


def test_a_second_server_does_not_take_the_pid_file(tmp_path: Path) -> None:
    tsa = TsaDirectory(tmp_path)
    refused = pytest.raises(AssertionError, match="another server that runs uses the pid file")
    with tsa.served("waitress"), refused, tsa.served("waitress"):
        pass
    assert not tsa.pid_file.exists()


IN_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_ends_with_its_terminal(workers: str, tmp_path: Path) -> None:
    """SIGHUP then means what its name says, and a reload would leave a server behind that nobody sees."""
    tsa = TsaDirectory(tmp_path)
    master, slave = pty.openpty()
    serve = ["-m", "tsa_core.cli.server", "serve", "--config", str(tsa.config), "--port", "0", "--workers", workers]
    with subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, *serve], stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    ) as process:
        os.close(slave)
        try:
            printed = b""
            while b"listening on" not in printed:
                printed += os.read(master, 4096)
            assert tsa.reload().succeeded, "with its terminal, it reloads"
        finally:
            os.close(master)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
    assert not tsa.pid_file.exists(), "it ended in order"


def test_guards_that_come_with_a_reload_do_not_learn_certificates_and_the_log_says_so() -> None:
    """granian has the TLS sockets until the next start, and says nothing of clients."""
    tls = {"schemes": ["https"], "tls_certificate": "a.pem", "tls_key": "a.key", "tls_ca": "ca.pem"}
    without, guarded = (
        load_settings(overrides={"server": tls, "middleware": {"guards": guards}}, environ={})
        for guards in ([], ["guard"])
    )
    assert keep_start_settings(without, guarded)[1] == [
        "middleware.guards learn the certificates that clients show over TLS from the next start on only"
    ]
    assert keep_start_settings(guarded, guarded)[1] == keep_start_settings(guarded, without)[1] == []
