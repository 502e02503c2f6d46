"""Faults of files: pid files, chains, keys."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.faults.fault import Seen, fault
from bench.faults.scene import Scene, WatchedServer
from bench.hung_mount import hung_mount
from tests.rotation import Identity, TsaDirectory
from tsa_core.config import load_settings


@contextmanager
def serving(scene: Scene, chain: Path) -> Iterator[tuple[TsaDirectory, WatchedServer]]:
    """A server whose chain is in a file of its own place."""
    tsa = TsaDirectory(scene.folder)
    chain.parent.mkdir(exist_ok=True)
    chain.write_bytes(tsa.identity.pem)
    scene.configure(
        f'[server]\npid_file = "tsa.pid"\n[profiles.default]\nsigner = "file:key.pem"\ncertificate_chain = "{chain}"\n'
    )
    with scene.serve(None) as server:
        assert server.grants()
        yield tsa, server


def reloads(scene: Scene, tsa: TsaDirectory, server: WatchedServer, chain: Path, *, hangs: bool) -> Seen:
    """Reload while the chain cannot be read, then when it can."""
    reloaded = scene.run("reload", "--config", scene.folder / "tsa.toml")
    assert reloaded.code == 1, reloaded.output
    assert server.grants()
    seen = {
        "client": "tokens under the former chain",
        "log": server.logged("reload refused, nothing has changed"),
        "also": f"`timestamp-server reload` exits with 1{' after 10 s' if hangs else ''}",
    }
    tsa.write(Identity())
    chain.unlink(missing_ok=True)
    chain.write_bytes(tsa.identity.pem)
    done = scene.run("reload", "--config", scene.folder / "tsa.toml")
    assert done.code == 0, done.output
    return Seen(**seen, healed="with the next reload, when the file was one again")


@fault("file-fifo", "The chain's file is replaced by a FIFO that nobody writes to; reload")
def fifo(scene: Scene) -> Seen:
    """Refused at once."""
    chain = scene.folder / "chains" / "chain.pem"
    with serving(scene, chain) as (tsa, server):
        chain.unlink()
        os.mkfifo(chain)
        return reloads(scene, tsa, server, chain, hangs=False)


@fault("file-silent-fifo", "The chain's file is replaced by a FIFO whose writer says nothing; reload")
def silent_fifo(scene: Scene) -> Seen:
    """Given up after a while."""
    chain = scene.folder / "chains" / "chain.pem"
    with serving(scene, chain) as (tsa, server):
        chain.unlink()
        os.mkfifo(chain)
        writer = os.open(chain, os.O_RDWR)
        try:
            return reloads(scene, tsa, server, chain, hangs=True)
        finally:
            os.close(writer)


@fault("file-hung-mount", "A file system that hangs is mounted over the chain's folder; reload, then it is unmounted")
def hung(scene: Scene) -> Seen:
    """Given up after a while."""
    chain = scene.folder / "chains" / "chain.pem"
    with serving(scene, chain) as (tsa, server):
        mounted = hung_mount(chain.parent)
        mounted.__enter__()
        try:
            reloaded = scene.run("reload", "--config", scene.folder / "tsa.toml")
            assert reloaded.code == 1, reloaded.output
            assert server.grants()
            log = server.logged("reload refused, nothing has changed")
        finally:
            mounted.__exit__(None, None, None)
        tsa.write(Identity())
        chain.write_bytes(tsa.identity.pem)
        assert scene.run("reload", "--config", scene.folder / "tsa.toml").code == 0
    return Seen(
        client="tokens under the former chain",
        log=log,
        also="`timestamp-server reload` exits with 1",
        healed="with the next reload, when the file system answered again",
    )


@fault("file-pid-link", "The pid file is a symbolic link to a file of somebody else; `serve`")
def pid_link(scene: Scene) -> Seen:
    """Never followed."""
    target = scene.folder / "precious"
    target.touch()
    (scene.folder / "tsa.pid").symlink_to(target)
    config = scene.configure('[server]\npid_file = "tsa.pid"\nport = 0\n[profiles.default]\nsigner = "memory:"\n')
    ran = scene.run("serve", "--config", config)
    assert ran.code == 2, ran.output
    assert target.read_bytes() == b""
    line = next(line for line in ran.output.splitlines() if "symbolic link" in line)
    return Seen(client="no server", also=f"exit code 2, {scene.plain(line)}", healed="without the link")


@fault("file-open-key", "The key's file may be read by everybody (mode 0644); `serve`")
def open_key(scene: Scene) -> Seen:
    """Warned of."""
    tsa = TsaDirectory(scene.folder)
    (tsa.folder / "key.pem").chmod(0o644)
    scene.configure(tsa.config.read_text())
    with scene.serve(None) as server:
        client, log = server.ask().words, server.logged("open to other users")
    return Seen(client=client, log=log, healed="with mode 0600, or 0440 when the file is another user's")


@fault(
    "file-broken-plugin", "A plugin that fails when it is imported is installed, and not selected; `--help`, `serve`"
)
def broken_plugin(scene: Scene) -> Seen:
    """Nobody imports it."""
    site = scene.folder / "site"
    metadata = site / "tsa_signer_bomb-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "bomb_plugin.py").write_text('raise RuntimeError("this module was imported")\n')
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tsa-signer-bomb\nVersion: 1.0\nSummary: A bomb\n")
    (metadata / "entry_points.txt").write_text(
        "[tsa_core.plugins]\nbomb = bomb_plugin\n[tsa_core.commands]\nbomb = bomb_plugin\n"
    )
    environ = {"PYTHONPATH": str(site)}
    ran = scene.run("--help", environ=environ)
    assert ran.code == 0, ran.output
    assert "this module was imported" not in ran.output
    line = next(line for line in ran.output.splitlines() if "A bomb" in line)
    with scene.serve(environ=environ) as server:
        client = server.ask().words
        assert "this module was imported" not in server.log
    return Seen(client=client, also=f"`--help` lists it by its metadata: {scene.plain(line)}", healed="-")


@fault("file-settings-shown", "A program prints the settings, a password in the table of a plugin among them")
def settings_shown(scene: Scene) -> Seen:
    """What a plugin's table holds is left out."""
    settings = load_settings(
        overrides={
            "signer": {"file": {"password": "hunter2"}},
            "audit": {"sinks": ["auditfile"], "auditfile": {"path": str(scene.folder / "a"), "key": "hunter2"}},
            "profiles": {"default": {"signer": "file:key.pem", "signer_options": {"password": "hunter2"}}},
        },
        environ={},
    )
    shown = repr(settings)
    assert "hunter2" not in shown
    assert "auditfile='...'" in shown
    return Seen(client="nothing", also="`auditfile='...'` in place of the table", healed="-")
