"""Timestamps for many files by one command: `python -m bench.many [--files 10000]`.

Makes so many files of a few bytes, in folders of 100, and stamps and verifies them over the loopback interface: by one
request with evidence records, by a request for each file, and into a bundle. The server is of the memory signer, on the
same machine, and its CPU is not in the figures.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.measure import Server
from bench.report import Row, print_rows, progress

_CLIENT = (sys.executable, "-P", "-m", "tsa_core.cli.timestamp")
_PAGE = 100


def make_files(folder: Path, number: int) -> None:
    for index in range(number):
        place = folder / f"{index // _PAGE:04}"
        if index % _PAGE == 0:
            place.mkdir(parents=True)
        (place / f"{index:06}.txt").write_text(f"file {index}\n")


def octets(path: Path) -> int:
    """Return the length of a file, or of all files below a folder."""
    return path.stat().st_size if path.is_file() else sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def measured(name: str, folder: Path, *arguments: str, output: str | None = None, files: int) -> Row:
    """Run a command and return its seconds, its CPU with that of its processes, and its largest memory."""
    progress(name)
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("TSA_", "TIMESTAMP_", "PYTHON"))}
    started = time.monotonic()
    with (folder / "output").open("wb") as sink:
        process = subprocess.Popen([*_CLIENT, *arguments], cwd=folder, env=environ, stdout=sink, stderr=sink)
        _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{name} ended with {process.returncode}: {(folder / 'output').read_text()[-2000:]}")
    figures = {"s": seconds, "cpu s": used.ru_utime + used.ru_stime, "MB": used.ru_maxrss / 1024}
    if output is not None:
        figures["bytes a file"] = octets(folder / output) / files
    return Row(part="many", name=name, figures=figures)


def run(files: int) -> list[Row]:
    """Measure and return the table's rows."""
    with tempfile.TemporaryDirectory(prefix="tsa-bench-") as directory:
        folder = Path(directory)
        make_files(folder / "d", files)
        server = Server()
        try:
            (folder / "chain.pem").write_bytes(server.get("/api/v1/timestamp/certchain"))
            ask = ("--timestamp_server", f"http://127.0.0.1:{server.port}")
            trust = ("--certificate-chain", "chain.pem")

            def stamp(name: str, output: str, *more: str) -> Row:
                return measured(name, folder, "timestamp", "d", *ask, *more, output=output, files=files)

            def check(name: str, *more: str) -> Row:
                return measured(name, folder, "verify", *more, *trust, "--report", "jsonl", files=files)

            return [
                stamp("create, one request", "tree", "--out-dir", "tree"),
                check("verify the records", "d", "--out-dir", "tree"),
                check("verify the records, one process", "d", "--out-dir", "tree", "--jobs", "1"),
                stamp("create again, nothing to do", "tree", "--out-dir", "tree"),
                stamp("create, --each", "each", "--each", "--out-dir", "each"),
                check("verify the timestamps", "d", "--out-dir", "each"),
                check("verify the timestamps, one process", "d", "--out-dir", "each", "--jobs", "1"),
                stamp("create again, --each, nothing to do", "each", "--each", "--out-dir", "each"),
                stamp("create a bundle, one request", "tree.bundle", "--bundle", "tree.bundle"),
                check("verify the bundle", "--bundle", "tree.bundle"),
            ]
        finally:
            server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    print_rows(run(parser.parse_args().files))


if __name__ == "__main__":
    main()
