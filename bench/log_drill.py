"""Kills a server that logs, over and over, and looks whether its log is still whole.

    python -m bench.log_drill [--batches 3600] [--seconds-between-kills 1]

The server integrates a batch every 10 ms, so that an hour's worth of batches takes minutes. Clients note every token
that they receive. In the end every token is in the log, every checkpoint that was ever published continues the one
before it, and the entries lead to the last one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from itertools import pairwise
from pathlib import Path
from time import monotonic, sleep, time

import tomli_w

from tsa_core.api.transparency import (
    NoteSigner,
    SignatureType,
    SignedCheckpoint,
    TileHashes,
    consistency_path,
    entry_of,
    is_consistent,
    parse_signed_checkpoint,
    read_bundle,
    read_minute,
    tiles_between,
    tree_root,
)
from tsa_core.testing import ServerProcess, encode_request
from tsa_log.storage import LocalStorage

ORIGIN = "log.example/drill"
KEY = NoteSigner(ORIGIN, SignatureType.ED25519, bytes(32))
_CLIENTS = 4
_QUIET_SECONDS = 30.0


def write_config(folder: Path) -> Path:
    """Write the configuration of a server that logs with a short interval."""
    table = {"origin": ORIGIN, "directory": str(folder / "log"), "key": KEY.text(), "interval": "10ms"}
    document = {
        "profiles": {"default": {"signer": "memory:"}},
        "audit": {"sinks": ["tokenlog"], "tokenlog": table},
    }
    path = folder / "tsa.toml"
    path.write_text(tomli_w.dumps(document))
    return path


class Clients:
    """Ask for tokens until the server goes away, and note those that they receive."""

    def __init__(self) -> None:
        self.entries: set[bytes] = set()
        self._lock = threading.Lock()

    def run(self, server: ServerProcess, until: float) -> None:
        """Ask from several threads until the moment has come."""
        threads = [threading.Thread(target=self._ask, args=(server, until)) for _ in range(_CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _ask(self, server: ServerProcess, until: float) -> None:
        while monotonic() < until:
            try:
                entry = entry_of(server.stamp(encode_request()).body).encode()
            except (OSError, ValueError, AssertionError):
                return
            with self._lock:
                self.entries.add(entry)


def history(public: Path) -> list[SignedCheckpoint]:
    """Return every checkpoint that was published, in its order."""
    minutes = sorted((public / "checkpoints").glob("*/*"))
    return [each for minute in minutes for each in read_minute(minute.read_bytes())]


def look(folder: Path, received: set[bytes]) -> list[str]:
    """Return what is wrong with the log, a line for each."""
    public = folder / "log" / "public"
    storage = LocalStorage(public)
    last = parse_signed_checkpoint((public / "checkpoint").read_bytes()).checkpoint
    hashes = TileHashes(last.size, lambda tile: storage.read(tile.path), keep=1 << 16)
    wrong = []
    if tree_root(last.size, hashes) != last.root:
        wrong.append("the tiles do not lead to the last checkpoint")
    bundles = [tile for tile in tiles_between(0, last.size) if tile.level < 0]
    entries = [each for tile in bundles for each in read_bundle(storage.read(tile.path), tile.width)]
    if lost := received - set(entries):
        wrong.append(f"{len(lost)} tokens that clients received are not in the log")
    if twice := len(entries) - len(set(entries)):
        wrong.append(f"{twice} entries are there twice")
    for before, after in pairwise([each.checkpoint for each in history(public)]):
        path = consistency_path(before.size, after.size, hashes)
        if not is_consistent(before.size, before.root, after.size, after.root, path):
            wrong.append(f"the checkpoint of {after.size} entries does not continue that of {before.size}")
    return wrong


def main() -> None:
    """Run the drill and print its row."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batches", type=int, default=3600, help="checkpoints to publish, at least (3600)")
    parser.add_argument("--seconds-between-kills", type=float, default=1.0, help="how long each server lives (1)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        config = write_config(folder)
        clients, kills, batches, began = Clients(), 0, 0, monotonic()
        while batches < arguments.batches:
            with ServerProcess(config) as server:
                asking = threading.Thread(target=clients.run, args=(server, monotonic() + _QUIET_SECONDS))
                asking.start()
                sleep(arguments.seconds_between_kills)
                server.kill()
                asking.join()
            kills += 1
            batches = (
                len(history(folder / "log" / "public")) if (folder / "log" / "public" / "checkpoints").exists() else 0
            )
            sys.stderr.write(f"\r{kills} kills, {batches} batches, {len(clients.entries)} tokens")
        with ServerProcess(config):  # integrates what the last one left
            sleep(1)
        wrong = look(folder, clients.entries)
        limit = time() - 120  # what a kill left in the last minutes is removed by a later start
        wrong += [f"{path} was left" for path in folder.rglob(".new-*") if path.stat().st_mtime < limit]
        seconds = monotonic() - began
    sys.stderr.write("\n")
    print(
        f"{kills} kills, {batches} batches, {len(clients.entries)} tokens received in {seconds:.0f} s: "
        f"{wrong or 'whole'}"
    )
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
