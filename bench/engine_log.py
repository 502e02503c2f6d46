"""How fast entries get into a log that Tessera keeps, and what one costs this side.

    python -m bench.engine_log [--entries 4000] [--connections 64 256]

A personality of Tessera's Go module keeps the log in files, in batches of 50 ms. An entry counts when the copy has it
and a checkpoint proves it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, process_time

from tests.interop import builds
from tsa_core.api.transparency import NoteSigner, SignatureType, TimestampEntry
from tsa_log.engine_sequencer import open_engine
from tsa_log.journal import Journal
from tsa_log.options import LogOptions, TesseraOptions
from tsa_log.storage import LocalStorage

ORIGIN = "log.example/bench"
KEY = NoteSigner(ORIGIN, SignatureType.ED25519, bytes(32))
START = datetime(2026, 6, 1, 12, tzinfo=UTC)


def measure(folder: Path, url: str, entries: int, connections: int) -> None:
    """Bring entries into the log, and print how long that took."""
    tessera = TesseraOptions(url=url, log_key=str(KEY.key), connections=connections)
    options = LogOptions(origin=ORIGIN, directory=folder, backend="tessera", tessera=tessera)
    private = folder / "private"
    (private / "pending").mkdir(parents=True)
    journal = Journal(private / "pending")
    hashes = [number.to_bytes(32, "big") for number in range(entries)]
    times = [START + timedelta(milliseconds=number) for number in range(entries)]
    journal.store([TimestampEntry(each, each, time, each).encode() for each, time in zip(hashes, times, strict=True)])
    sequencer = open_engine(options, tessera, private, LocalStorage(folder / "public", private))
    began, cpu = monotonic(), process_time()
    while sequencer.state.size < entries:
        sequencer.step()
    seconds, cpu = monotonic() - began, process_time() - cpu
    print(
        f"{connections} connections: {entries / seconds:,.0f} entries/s, {cpu / entries * 1e6:.0f} us of CPU an entry"
    )
    sequencer.close()
    journal.close()


def main() -> None:
    """Measure each number of connections with a log of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--entries", type=int, default=4000)
    parser.add_argument("--connections", type=int, nargs="+", default=[64, 256])
    arguments = parser.parse_args()
    try:
        program = builds.built("tlog") / "tlog"
    except builds.NoToolchain as error:
        sys.exit(str(error))
    for connections in arguments.connections:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            command = [str(program), "personality", str(folder / "engine"), KEY.text(), "0"]
            with subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as log:
                assert log.stdin is not None
                assert log.stdout is not None
                measure(folder / "log", json.loads(log.stdout.readline())["url"], arguments.entries, connections)
                log.stdin.close()


if __name__ == "__main__":
    main()
