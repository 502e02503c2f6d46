"""Faults of the audit trail: shorter, replaced, unlinked, rolled back, written by somebody else."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import sleep

from bench.faults.fault import Act, Seen, fault
from bench.faults.scene import MEMORY, Scene, WatchedServer
from bench.measure import free_port
from tsa_core.testing import wait_until

AUDIT = '[audit]\nsinks = ["auditfile"]\n[audit.auditfile]\npath = "audit.jsonl"\n'
AUDITED = MEMORY + AUDIT


def lines(path: Path) -> list[bytes]:
    """Return the lines of a trail."""
    return path.read_bytes().splitlines(keepends=True)


def all_grant(server: WatchedServer) -> bool:
    """Say whether clients get tokens of each worker."""
    return all(server.grants() for _ in range(8))


def tampering(tamper: Callable[[Path], None], *accept: str, workers: int = 1) -> Act:
    """Return a fault: the trail is tampered with, no token leaves, an operator accepts it."""

    def act(scene: Scene) -> Seen:
        path = scene.folder / "audit.jsonl"
        with scene.serve(AUDITED, "--workers", f"{workers}") as server:
            for _ in range(4 * workers):
                assert server.grants()
            tamper(path)
            # What leaves the last line where it was is looked for once a second.
            sleep(1.1)
            server.until(lambda: not any(server.grants() for _ in range(8)), what="no process issues tokens")
            client, log = server.ask().words, server.logged("critical.*No token leaves until")
            server.until(lambda: "nobody has accepted it" in server.readyz(), what="/readyz says why")
            readyz, metric = server.readyz(), server.metric("audit_healthy")
            accepted = scene.run("audit", "accept", "--reason", "a drill", *accept, path)
            assert accepted.code == 0, accepted.output
            healed = server.until(lambda: all_grant(server), what="all processes issue tokens")
            server.healed()
        verified = scene.run("audit", "verify", *sorted(scene.folder.glob("audit*.jsonl")))
        assert ("accepted by an operator" in verified.output) or accept, verified.output
        return Seen(client=client, log=log, readyz=readyz, metric=metric, healed=f"{healed} after `audit accept`")

    return act


def cut(path: Path) -> None:
    """Cut off the last line."""
    os.truncate(path, sum(map(len, lines(path)[:-1])))


def unlink(path: Path) -> None:
    """Remove the file."""
    path.unlink()


def roll_back(path: Path) -> None:
    """Put an older copy in place."""
    copy = path.with_name("backup")
    copy.write_bytes(b"".join(lines(path)[:-2]))
    copy.rename(path)


def forge(path: Path) -> None:
    """Write another last line of the same length."""
    *before, last = lines(path)
    path.write_bytes(b"".join([*before, last[:-10] + b"0000000" + last[-3:]]))


def replace(path: Path) -> None:
    """Put the trail of another server in place."""
    first, *more = lines(path)
    path.rename(path.with_name("moved"))
    path.write_bytes(first.replace(b'"hash":"', b'"hash":"00', 1)[: len(first) - 1] + b"\n" + b"".join(more))


_CUT = fault("trail-cut", "The last line of the audit file is cut off")(tampering(cut))
_UNLINKED = fault("trail-unlinked", "The audit file is removed")(tampering(unlink))
_ROLLED_BACK = fault("trail-rolled-back", "Two workers; an older copy of the audit file is put in its place")(
    tampering(roll_back, workers=2)
)
_FORGED = fault("trail-forged", "The last line is overwritten by another one of the same length")(
    tampering(forge, "--new-file")
)
_REPLACED = fault("trail-replaced", "The audit file is moved away, and another one is put in its place")(
    tampering(replace, "--new-file")
)


@fault("trail-note-removed", "The last line is cut off, and the note that a server made of it is removed")
def note_removed(scene: Scene) -> Seen:
    """The note opens nothing."""
    path = scene.folder / "audit.jsonl"
    with scene.serve(AUDITED) as server:
        assert server.grants()
        cut(path)
        client = server.refusal()
        path.with_name("audit.jsonl.tampered").unlink()
        server.until(lambda: server.grants() or path.with_name("audit.jsonl.tampered").exists(), what="it looks again")
        assert not server.grants()
        server.until(lambda: "nobody has accepted it" in server.readyz(), what="/readyz says why")
        log, readyz = server.logged("critical.*No token leaves until"), server.readyz()
        assert scene.run("audit", "accept", "--reason", "a drill", path).code == 0
        return Seen(client=client, log=log, readyz=readyz, healed=f"{server.healed()} after `audit accept`")


@fault("trail-rows-removed", "tsa-audit-sql with SQLite; the last rows and what tells of them are removed")
def rows_removed(scene: Scene) -> Seen:
    """The process remembers what the database no longer has; there is nothing that an operator could accept."""
    path = scene.folder / "audit.db"
    toml = f'{MEMORY}[audit]\nsinks = ["auditsql"]\n[audit.auditsql]\npath = "{path}"\n'
    with scene.serve(toml) as server:
        for _ in range(4):
            assert server.grants()
        with closing(sqlite3.connect(path, timeout=60)) as database, database:
            database.execute("DELETE FROM audit_record WHERE seq > 3")
            database.execute(
                "UPDATE audit_writer SET head_seq = 3, head_hash = (SELECT hash FROM audit_record WHERE seq = 3)"
            )
        client = server.refusal()
        server.until(lambda: "not as it was left" in server.readyz(), what="/readyz says why")
        log, readyz, metric = server.logged("critical.*rows"), server.readyz(), server.metric("audit_healthy")
        accepted = scene.run("audit", "accept", "--reason", "a drill", "--config", scene.folder / "tsa.toml")
        assert accepted.code != 0, accepted.output
        line = accepted.output.splitlines()[-1]
    with scene.serve(None) as server:
        healed = server.healed()
    return Seen(
        client=client,
        log=log,
        readyz=readyz,
        metric=metric,
        also=f"`audit accept` exits with {accepted.code}: {scene.plain(line)}",
        healed=f"{healed} after a restart, with a new chain",
    )


@fault(
    "trail-cut-while-stopped",
    "The last lines are cut off while no server runs; `audit verify --anchor` with the last head",
)
def cut_while_stopped(scene: Scene) -> Seen:
    """What no server can see, the head that was kept elsewhere tells."""
    path, state = scene.folder / "audit.jsonl", scene.folder / "state"
    toml = f'[server]\nstate_directory = "{state}"\n{AUDITED}'
    with scene.serve(toml) as server:
        assert server.grants()
        head = server.logged("audit trail auditfile: head")
    kept = scene.folder / "kept-elsewhere"
    shutil.copy(state / "audit" / "auditfile.head", kept)
    cut(path)
    cut(path)
    assert scene.run("audit", "verify", path).code == 0
    found = scene.run("audit", "verify", "--anchor", kept, path)
    assert found.code == 1, found.output
    line = found.output.splitlines()[-1]
    return Seen(
        client="nothing",
        log=head,
        also=f"`audit verify` finds nothing wrong, `audit verify --anchor` exits with 1: {scene.plain(line)}",
        healed="not: the lines are lost",
    )


@fault("trail-oldest-missing", "The oldest file of a trail is taken away; `audit verify`, then with `--from`")
def oldest_missing(scene: Scene) -> Seen:
    """Missing files are said."""
    with scene.serve(AUDITED + "max_size = 1000\n") as server:
        for _ in range(12):
            assert server.grants()
    oldest, *rest = sorted(scene.folder.glob("audit-*.jsonl"))
    rest.append(scene.folder / "audit.jsonl")
    last = json.loads(lines(oldest)[-1])
    missed = scene.run("audit", "verify", *rest)
    assert missed.code == 1, missed.output
    line = next(line for line in missed.output.splitlines() if "missing" in line)
    known = scene.run("audit", "verify", "--from", f"{last['seq']}:{last['hash']}", *rest)
    assert known.code == 0, known.output
    return Seen(
        client="nothing",
        also=f"`audit verify` exits with 1: {scene.plain(line)}; with 0 when `--from` has the last line before",
        healed="with `--from`",
    )


def answers(port: int) -> bool:
    """Say whether a server listens and answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=10) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@fault("trail-descriptors-closed", "The server is started with stdin, stdout and stderr closed")
def descriptors_closed(scene: Scene) -> Seen:
    """The log must not go where the audit file was opened."""
    path, port = scene.folder / "audit.jsonl", free_port()
    command = [sys.executable, "-m", "tsa_core.cli.server", "serve", "--port", f"{port}"]
    command += ["--config", str(scene.configure(AUDITED))]
    server = subprocess.Popen(["/bin/sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh", *command], start_new_session=True)
    try:
        wait_until(lambda: answers(port), seconds=60, what="the server answers")
    finally:
        server.terminate()
        code = server.wait(60)
    assert code == 0, code
    verified = scene.run("audit", "verify", path)
    assert verified.code == 0, verified.output
    return Seen(
        client="tokens", also="no log, and a trail without a foreign line: `audit verify` exits with 0", healed="-"
    )


@fault("trail-memory", "The memory of a worker that runs is asked for: a core dump, /proc/PID/mem of the same user")
def memory(scene: Scene) -> Seen:
    """Neither is to be had."""
    with scene.serve(AUDITED, "--workers", "2") as server:
        for pid in (server.process.pid, *server.workers()):
            [limit] = [line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if "core file" in line]
            assert limit.split()[4:6] == ["0", "0"], limit
            assert Path(f"/proc/{pid}/mem").stat().st_uid == 0
    return Seen(
        client="tokens", also="core file size 0, /proc/PID/mem belongs to root (`PR_SET_DUMPABLE` 0)", healed="-"
    )
