"""Servers that are killed and reloaded while clients ask: `python -m bench.kill_drill [--stamps N] [--server NAME]`.

Eight clients stamp over and over, with an audit file that is synced for every token. Meanwhile, in turns, a worker and
the whole server are killed (kill -9, no warning), the server is started again, and it is reloaded with a new key. At
the end, every token that a client has received must be in the trail, no serial number twice, and the trail intact.
Exit code 1 when not.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from bench.faults import page
from bench.faults.scene import Scene
from bench.measure import free_port
from bench.report import machine
from tests.rotation import Identity, TsaDirectory
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.reply import read_reply
from tsa_core.protocol.tstinfo_reader import read_tst_info
from tsa_core.testing import ServerProcess, encode_request, wait_until

CLIENTS = 8
SECONDS = 120.0
_PAUSE_SECONDS = 0.005
"""Between two requests of a client: as many tokens as possible is not what is measured."""
AUDIT = '[audit]\nsinks = ["auditfile"]\n[audit.auditfile]\npath = "audit.jsonl"\nmax_size = 1000000\n'


@dataclass
class Client:
    """Asks on one connection after the other, whatever happens to them."""

    port: int
    number: int
    replies: list[bytes] = field(default_factory=list)
    broken: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Ask until told to stop."""
        nonce = self.number << 32
        while not self.stopping.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
            try:
                while not self.stopping.is_set():
                    nonce += 1
                    body = encode_request(nonce=nonce)
                    connection.request(
                        "POST", "/api/v1/timestamp", body, {"Content-Type": "application/timestamp-query"}
                    )
                    self.replies.append(connection.getresponse().read())
                    self.stopping.wait(_PAUSE_SECONDS)
            except (OSError, http.client.HTTPException):
                self.broken += 1
                self.stopping.wait(0.02)
            finally:
                connection.close()


class Drill:
    """A server with two workers in a folder, and what is done to it."""

    def __init__(self, folder: Path, chance: random.Random, engine: str) -> None:
        self.tsa = TsaDirectory(folder, tables=AUDIT)
        self.port = free_port()
        self._flags = ("--server", engine, "--port", str(self.port), "--workers", "2", "--metrics=false")
        self.server = self._start()
        self._chance = chance

    def _start(self) -> ServerProcess:
        return ServerProcess(self.tsa.config, *self._flags).__enter__()

    def kill_worker(self) -> None:
        """Kill one worker, and wait for its successor."""
        before = self.server.workers()
        os.kill(self._chance.choice(sorted(before)), signal.SIGKILL)
        wait_until(
            lambda: len(now := self.server.workers()) == len(before) and now != before,
            seconds=SECONDS,
            what="the worker is replaced",
        )

    def kill_server(self) -> None:
        """Kill all of its processes at once, and start it again."""
        workers = self.server.workers()
        os.kill(self.server.process.pid, signal.SIGKILL)
        for worker in workers:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        self.server.kill()
        self.server.__exit__(None, None, None)
        self.server = self._start()

    def reload(self) -> None:
        """Take a new key and chain into use."""
        self.tsa.write(Identity())
        report = self.tsa.reload()
        assert report.succeeded, report

    def stop(self) -> None:
        """Stop it in order."""
        self.server.__exit__(None, None, None)


@contextmanager
def clients(port: int) -> Iterator[list[Client]]:
    """Let clients ask until the block ends."""
    asking = [Client(port, number) for number in range(CLIENTS)]
    threads = [threading.Thread(target=client.run) for client in asking]
    for thread in threads:
        thread.start()
    try:
        yield asking
    finally:
        for client in asking:
            client.stopping.set()
        for thread in threads:
            thread.join(SECONDS)


def drill(folder: Path, *, engine: str, stamps: int, kills: int, reloads: int, seed: int) -> dict[str, object]:
    """Run it with `engine`, the HTTP server, and return the figures."""
    chance = random.Random(seed)
    acts = ["worker", "server"] * (kills // 2) + ["worker"] * (kills % 2) + ["reload"] * reloads
    chance.shuffle(acts)
    started = monotonic()
    scene = Drill(folder, chance, engine)
    with clients(scene.port) as asking:
        for done, act in enumerate(acts):
            # A little before, or a little after: never between two requests only.
            goal = (done + chance.random()) * stamps / len(acts)
            wait_until(
                lambda goal=goal: sum(len(each.replies) for each in asking) >= goal,  # type: ignore[misc] # a default binds it
                seconds=SECONDS,
                what="more stamps",
            )
            {"worker": scene.kill_worker, "server": scene.kill_server, "reload": scene.reload}[act]()
        wait_until(lambda: sum(len(each.replies) for each in asking) >= stamps, seconds=SECONDS, what="the last stamps")
    scene.stop()
    received = [serial for each in asking for reply in each.replies if (serial := _serial(reply)) is not None]
    trail = sorted(folder.glob("audit*.jsonl"))
    records = [json.loads(line) for path in trail for line in path.read_text().splitlines()]
    recorded = [record["serial"] for record in records if record["type"] == "token"]
    verified = Scene(folder).run("audit", "verify", *trail)
    return {
        "tokens received": len(received),
        "other replies": sum(len(each.replies) for each in asking) - len(received),
        "connections that broke": sum(each.broken for each in asking),
        "kill -9": kills,
        "reloads": reloads,
        "files of the trail": len(trail),
        "lines mended after a crash": sum(record.get("kind") == "audit.mended" for record in records),
        "received, but not in the trail": len(set(received) - set(recorded)),
        "in the trail, but not received": len(set(recorded) - set(received)),
        "serial numbers twice": sum(n > 1 for n in (*Counter(recorded).values(), *Counter(received).values())),
        "audit verify": "intact" if verified.code == 0 else verified.output,
        "seconds": round(monotonic() - started),
    }


def _serial(reply: bytes) -> str | None:
    """Return the serial number of a token as the trail has it; None for a refusal or half a reply."""
    try:
        token = read_reply(reply).token
    except EncodingError:
        return None
    return None if token is None else f"{read_tst_info(token.content).serial_number:x}"


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--reloads", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--server", choices=("waitress", "granian"), default="waitress", help="the HTTP server")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/operate/faults.md")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="tsa-drill-") as folder:
        figures = drill(
            Path(folder),
            engine=options.server,
            stamps=options.stamps,
            kills=options.kills,
            reloads=options.reloads,
            seed=options.seed,
        )
    text = "| figure | |\n|---|---|\n" + "".join(
        f"| {name} | {value:,} |\n" if isinstance(value, int) else f"| {name} | {value} |\n"
        for name, value in figures.items()
    )
    for name, value in machine().items():
        print(f"{name}: {value}")
    print(f"\n{text}")
    if options.write:
        page.put("kill-drill", text)
    bad = figures["received, but not in the trail"] or figures["serial numbers twice"]
    return 1 if bad or figures["audit verify"] != "intact" else 0


if __name__ == "__main__":
    raise SystemExit(main())
