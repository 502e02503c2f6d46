"""Faults after which no token can be issued: what /readyz, the metrics and the landing page say.

No client asks before /readyz is red, nor before it is green again: both have to come by themselves.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from bench.faults.fault import Seen, fault
from bench.faults.scene import MEMORY, SECONDS, Scene, WatchedServer, took
from bench.faults.trail import AUDITED
from tests.rotation import Identity, TsaDirectory
from tsa_core.testing import Pki, wait_until

ARCHIVED = MEMORY + '[response]\nprocessors = ["archive"]\n[response.archive]\ndirectory = "{folder}"\n'

PARTS = """
from pathlib import Path
from typing import ClassVar
from cryptography.hazmat.primitives.serialization import Encoding
from tsa_core.api import (
    AuditSink, HealthStatus, LocalKeySigner, Provider, ResponseProcessor, SignerOptions, SignerUnavailable, hookimpl,
)
from time import sleep

FOLDER = Path({folder!r})

def told(what):
    return (FOLDER / what).exists()

class Signer(LocalKeySigner):
    latency: ClassVar = "remote"

    def __init__(self):
        from tsa_core.testing import Pki, new_key
        super().__init__(new_key())
        self._chain = [certificate.public_bytes(Encoding.DER) for certificate in Pki().chain(self.public_key)]

    def certificate_chain(self):
        return self._chain

    def sign(self, message, *, timeout):
        if told("down"):
            raise SignerUnavailable("192.0.2.7: connection refused")
        return super().sign(message, timeout=timeout)

class Sink(AuditSink):
    def write(self, record):
        if told("crash"):
            raise KeyError("a bug")

class HangingSink(Sink):
    def health(self):
        while told("hang"):
            sleep(0.05)
        return HealthStatus(healthy=True)

@hookimpl
def tsa_signers():
    yield Provider(name="parts", summary="Fails", options=SignerOptions, open=lambda options: Signer())

@hookimpl
def tsa_audit_sinks():
    yield Provider(name="parts", summary="Hangs", open=lambda options: HangingSink())
    yield Provider(name="plain", summary="Crashes", open=lambda options: Sink())
"""


def red(server: WatchedServer) -> str:
    """Wait until /readyz is red, asking for no token, and return how long it took."""
    started = monotonic()
    wait_until(lambda: server.get("/readyz").status == 503, seconds=SECONDS, what=f"/readyz is red: {server.log}")
    return took(monotonic() - started)


def green(server: WatchedServer) -> str:
    """Wait until /readyz is green, asking for no token; then a client must get one. Return how long it took."""
    started = monotonic()
    wait_until(
        lambda: server.get("/readyz").status == 200, seconds=SECONDS, what=f"/readyz is green: {server.readyz()}"
    )
    text = took(monotonic() - started)
    assert server.grants()
    assert "It issues timestamps." in page(server)
    return text


def page(server: WatchedServer) -> str:
    """Return what the landing page says of the state."""
    found = re.search(r'<span class="state \w+">(.*?)</span>', server.get("/").body.decode())
    assert found is not None
    return found[1]


def told(server: WatchedServer, log: str, check: str, *, after: str) -> dict[str, str]:
    """Return what is seen while nothing can be issued, the client last."""
    readyz = server.readyz()
    wait_until(lambda: metric(server, check) == "1.0", seconds=SECONDS, what="the metrics say so")
    seen = {
        "log": server.logged(log),
        "readyz": f"{readyz}, {after}",
        "metric": f'`not_ready{{check="{check}"}} 1.0`',
        "also": f"`/`: {page(server)}",
    }
    assert page(server).startswith("It cannot issue timestamps now.")
    return {**seen, "client": server.refusal()}


def metric(server: WatchedServer, check: str) -> str:
    """Return the value of a check's `not_ready`."""
    found = re.search(rf'not_ready{{check="{check}"}} (\S+?)`', server.metric("not_ready"))
    assert found is not None
    return found[1]


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[bool], None]]:
    """Mount a file system of 256 KiB, and yield a function that fills it or makes room; skipped where forbidden."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system is not allowed here")

    def fill(full: bool) -> None:
        ballast = folder / "ballast"
        if not full:
            ballast.unlink()
            return
        with ballast.open("wb", buffering=0) as stream:
            try:
                while True:
                    stream.write(bytes(4096))
            except OSError:
                pass

    try:
        yield fill
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def disk_fills(scene: Scene, toml: str, check: str, log: str) -> Seen:
    """Fill the disk under a server that nobody asks, and make room again."""
    with small_disk(scene.folder / "disk") as fill, scene.serve(toml) as server:
        assert server.grants()
        fill(True)
        after = red(server)
        seen = told(server, log, check, after=f"{after} after the disk was full")
        fill(False)
        healed = green(server)
    return Seen(**seen, healed=f"{healed} after there was room, without a client")


@fault("full-disk-trail", "The disk with the audit trail becomes full; no client asks meanwhile")
def full_trail(scene: Scene) -> Seen:
    """The sink stores a record of its own."""
    toml = AUDITED.replace('"audit.jsonl"', f'"{scene.folder}/disk/audit.jsonl"')
    return disk_fills(scene, toml, "audit:auditfile", "not ready: audit:auditfile")


@fault("full-disk-archive", "The disk with the archive becomes full; no client asks meanwhile")
def full_archive(scene: Scene) -> Seen:
    """The archive makes a file and removes it."""
    return disk_fills(
        scene, ARCHIVED.format(folder=scene.folder / "disk" / "archive"), "response:archive", "not ready: response"
    )


@fault("full-disk-flood", "The same disk is full, and clients ask 300 times")
def full_flood(scene: Scene) -> Seen:
    """One line for the first, and one for the others."""
    toml = AUDITED.replace('"audit.jsonl"', f'"{scene.folder}/disk/audit.jsonl"')
    with small_disk(scene.folder / "disk") as fill, scene.serve(toml) as server:
        fill(True)
        red(server)
        server.refusal()  # before, some fit into the last block of the file
        clients = {server.ask().words for _ in range(300)}
        log = server.logged("more requests failed in the last seconds")
        lines = [line for line in server.log.splitlines() if "[error" in line]
        assert len(lines) <= 10, lines
        readyz = server.readyz()
        fill(False)
        healed = green(server)
    assert len(clients) == 1
    also = f"{len(lines)} lines of level error in all"
    return Seen(client=clients.pop(), log=log, readyz=readyz, also=also, healed=f"{healed} after there was room")


@contextmanager
def with_parts(scene: Scene, toml: str) -> Iterator[WatchedServer]:
    """Serve with the plugins of PARTS."""
    site = scene.folder / "site"
    metadata = site / "tsa_parts-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "tsa_parts_plugin.py").write_text(PARTS.format(folder=str(scene.folder)))
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tsa-parts\nVersion: 1.0\nRequires-Dist: tsa-core>=0.1,<0.2\n"
    )
    (metadata / "entry_points.txt").write_text(
        "[tsa_core.plugins]\nparts = tsa_parts_plugin\nplain = tsa_parts_plugin\n"
    )
    with scene.serve(toml, environ={"PYTHONPATH": str(site)}) as server:
        assert server.grants()
        yield server


@fault("signer-unused", 'A signer goes down while no client asks; `trial_interval = "2s"` instead of a minute')
def signer_down(scene: Scene) -> Seen:
    """A trial signature shows it."""
    toml = '[profiles.default]\nsigner = "parts:"\n[health]\ntrial_interval = "2s"\n'
    with with_parts(scene, toml) as server:
        (scene.folder / "down").touch()
        after = red(server)
        seen = told(server, "not ready: signer:default", "signer:default", after=f"{after} after it went down")
        (scene.folder / "down").unlink()
        healed = green(server)
    return Seen(**seen, healed=f"{healed} after it was up, without a client")


@fault("sink-crash", "An audit sink without a `health()` of its own raises KeyError for every record")
def sink_crash(scene: Scene) -> Seen:
    """Red for ten seconds after each failure, because the sink itself says that it is well."""
    with with_parts(scene, MEMORY + '[audit]\nsinks = ["plain"]\n') as server:
        (scene.folder / "crash").touch()
        client = server.ask().words
        readyz = server.readyz()
        log = server.logged("the audit sink 'plain' crashed")
        also = f"`/`: {page(server)}"
        (scene.folder / "crash").unlink()
        healed = green(server)
    return Seen(
        client=client, log=log, readyz=readyz, also=also, healed=f"{healed} after the failure, without a client"
    )


@fault("health-hangs", "An audit sink's `health()` does not return")
def health_hangs(scene: Scene) -> Seen:
    """It is a cause after 5 s; /readyz and /ping answer as before."""
    with with_parts(scene, MEMORY + '[audit]\nsinks = ["parts"]\n') as server:
        (scene.folder / "hang").touch()
        after = red(server)
        started = monotonic()
        assert server.get("/readyz").status == 503
        assert server.get("/ping").status == 200
        answered = took(monotonic() - started)
        readyz = f"{server.readyz()}, {after} after it hung, answered {answered}"
        client, log = server.ask().words, server.logged("not ready: audit:parts")
        (scene.folder / "hang").unlink()
        healed = green(server)
    return Seen(client=client, log=log, readyz=readyz, healed=f"{healed} after it returned")


def short_lived(seconds: float, *, period: bool) -> Identity:
    """Return an identity that ends soon: its certificate, or with `period` the key's usage period."""
    identity, end = Identity(), datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
    pki = Pki()
    leaf = pki.issue(identity.key.public_key(), not_after=None if period else end)
    if period:
        builder = x509.CertificateBuilder(
            issuer_name=leaf.issuer,
            subject_name=leaf.subject,
            public_key=leaf.public_key(),
            serial_number=leaf.serial_number,
            not_valid_before=leaf.not_valid_before_utc,
            not_valid_after=leaf.not_valid_after_utc,
        )
        for value, critical in (
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), True),
            (x509.PrivateKeyUsagePeriod(not_before=None, not_after=end), False),
        ):
            builder = builder.add_extension(value, critical=critical)
        leaf = builder.sign(pki._issuer_key, hashes.SHA256())
    identity.chain = pki.chain(leaf)
    return identity


def ends(scene: Scene, *, period: bool) -> Seen:
    """Serve until the certificate or the key's usage period ends, then reload with new ones."""
    tsa = TsaDirectory(scene.folder)
    tsa.write(short_lived(25, period=period))
    scene.configure(tsa.config.read_text())
    with scene.serve(None) as server:
        assert server.grants()
        red(server)
        seen = told(server, "not ready: certificate", "certificate:default", after="without a client")
        tsa.write(Identity())
        assert scene.run("reload", "--config", tsa.config).code == 0
        healed = green(server)
    return Seen(**seen, healed=f"{healed} after a reload with a new certificate")


@fault("certificate-ends", "The TSA's certificate ends while the server runs")
def certificate_ends(scene: Scene) -> Seen:
    """No token after its last second."""
    return ends(scene, period=False)


@fault("key-period-ends", "The key's usage period ends while the server runs")
def period_ends(scene: Scene) -> Seen:
    """No token after its last second."""
    return ends(scene, period=True)
