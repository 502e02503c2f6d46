"""CPU of one command from its start to its end, and how many modules it imports: `python -m bench.commands [--quick]`.

Commands of others that are on this machine (bench.peers) take turns with ours. The unit is `python -c 'import
cryptography.x509'`, without which no timestamp can be verified; it takes turns, too. `check` is of the memory signer.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench.issue import WITH_CERTIFICATES
from bench.measure import Server
from bench.peers import peer_commands
from bench.report import Row, print_rows, progress

UNIT = ("-c", "import cryptography.x509")
_SERVER, _CLIENT = ("-m", "tsa_core.cli.server"), ("-m", "tsa_core.cli.timestamp")


def commands(url: str) -> dict[str, tuple[str, ...]]:
    """Return what is measured: the arguments of Python, by name; files are those of the working directory."""
    verified = ("--artifact", "a.txt", "--timestamp", "r.tsr", "--certificate-chain", "ours.pem")
    return {
        "python -c pass": ("-c", "pass"),
        "import cryptography.x509": UNIT,
        "timestamp-cli --help": (*_CLIENT, "--help"),
        "timestamp-cli verify --help": (*_CLIENT, "verify", "--help"),
        "timestamp-cli verify": (*_CLIENT, "verify", *verified),
        "timestamp-cli inspect": (*_CLIENT, "inspect", "--timestamp", "r.tsr"),
        "timestamp-cli timestamp": (
            *(*_CLIENT, "timestamp", "--artifact", "a.txt", "--force", "--out", "new.tsr", "--timestamp_server", url),
        ),
        "timestamp-server --help": (*_SERVER, "--help"),
        "timestamp-server --version": (*_SERVER, "--version"),
        "timestamp-server serve --help": (*_SERVER, "serve", "--help"),
        "timestamp-server check": (*_SERVER, "check"),
    }


def run(*, quick: bool) -> list[Row]:
    """Measure and return the table's rows."""
    with tempfile.TemporaryDirectory(prefix="tsa-bench-") as directory:
        server = Server()
        try:
            folder = Path(directory)
            url = f"http://127.0.0.1:{server.port}"
            (folder / "a.txt").write_bytes(b"hello")
            (folder / "ours.pem").write_bytes(server.get("/api/v1/timestamp/certchain"))
            known = commands(url)
            first = (*known["timestamp-cli timestamp"][:-4], "--out", "r.tsr", "--timestamp_server", url)
            _cpu(_python(first), folder)
            (folder / "r.tsq").write_bytes(WITH_CERTIFICATES)
            lines = {name: _python(arguments) for name, arguments in known.items()}
            lines |= peer_commands(folder)
            samples: dict[str, list[float]] = {name: [] for name in lines}
            progress("commands")
            for _ in range(3 if quick else 15):
                for name, line in lines.items():
                    samples[name].append(_cpu(line, folder))
            medians = {name: median(each) for name, each in samples.items()}
            unit = medians["import cryptography.x509"]
            return [
                Row(
                    part="command",
                    name=name,
                    figures={
                        "cpu ms": medians[name] * 1000,
                        "of cryptography.x509": medians[name] / unit,
                        **({"modules": modules(known[name], folder)} if name in known else {}),
                    },
                )
                for name in lines
            ]
        finally:
            server.close()


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("TSA_", "TIMESTAMP_", "PYTHON"))}


def _python(arguments: Sequence[str]) -> tuple[str, ...]:
    return (sys.executable, "-P", *arguments)


def _cpu(command: Sequence[str], folder: Path) -> float:
    """Return the seconds of CPU, user and system, that a command takes to its end."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime


def modules(arguments: Sequence[str], folder: Path) -> int:
    """Return how many modules a Python with these arguments imports to its end."""
    done = subprocess.run(
        _python(("-X", "importtime", *arguments)),
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return len(imported(done.stderr))


def imported(importtime: str) -> list[str]:
    """Return the modules in what `-X importtime` prints."""
    lines = [line for line in importtime.splitlines() if line.startswith("import time:")]
    return [line.rpartition("|")[2].strip() for line in lines if "imported package" not in line]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three rounds")
    print_rows(run(quick=parser.parse_args().quick))


if __name__ == "__main__":
    main()
