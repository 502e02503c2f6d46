"""Keeps evidence for thirty years in minutes: real servers and real commands, whose clocks libfaketime moves.

    python -m bench.thirty_years

Files are stamped in 2008 with SHA-256 by an authority of RSA, covered anew with SHA-512 in 2012 and with SHA3-256 in
2033, and renewed by authorities of ECDSA and of ML-DSA in between. In 2038 everything is verified, and so is the
directory as each step left it: as if nobody had renewed any more. The command does not begin with SHA-1; the drill of
the library, in tests/evidence, does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.wall_clock import WallClock
from tsa_core.testing import ServerProcess

_FILES = 20


@dataclass(frozen=True)
class Step:
    """What is done in a year: the authority's key, and the command with its hash."""

    date: datetime
    key: str
    command: tuple[str, ...]


STEPS = (
    Step(datetime(2008, 3, 1, tzinfo=UTC), "rsa-2048", ("create", "--hash", "sha256")),
    Step(datetime(2012, 3, 1, tzinfo=UTC), "rsa-3072", ("renew", "--all", "--hash", "sha512")),
    Step(datetime(2020, 3, 1, tzinfo=UTC), "ecdsa-p256", ("renew", "--all")),
    Step(datetime(2028, 3, 1, tzinfo=UTC), "ml-dsa-65", ("renew", "--all")),
    Step(datetime(2033, 3, 1, tzinfo=UTC), "ml-dsa-87", ("renew", "--all", "--hash", "sha3-256")),
)
END = datetime(2038, 3, 1, tzinfo=UTC)


def seconds_to(date: datetime) -> int:
    """Return by how many seconds a clock must be moved to show this moment."""
    return int((date - datetime.now(UTC)).total_seconds())


def evidence(clock: WallClock, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `timestamp-cli evidence` at the clock's date."""
    command = [sys.executable, "-m", "tsa_core.cli.timestamp", "evidence", *map(str, arguments)]
    environment = {**os.environ, **clock.environ, "NO_COLOR": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def perform(step: Step, clock: WallClock, folder: Path, state: Path) -> str:
    """Do what is done in a year, and return the command's last line."""
    clock.set_by(seconds_to(step.date))
    config = folder / "tsa.toml"
    config.write_text(f'[profiles.default]\nsigner = "memory:"\n[signer.memory]\nalgorithm = "{step.key}"\n')
    roots = folder / "roots.pem"
    with ServerProcess(config, environ=clock.environ) as server:
        chain = server.get("/api/v1/timestamp/certchain").body
        root = chain[chain.rindex(b"-----BEGIN") :]
        roots.write_bytes((roots.read_bytes() if roots.exists() else b"") + root)
        files = [folder / "files"] if step.command[0] == "create" else []
        done = evidence(
            clock,
            *step.command,
            "--state",
            state,
            "--root-certificates",
            roots,
            "--timestamp_server",
            server.url,
            *files,
        )
        # libfaketime lets clock_nanosleep fail while the wall clock is moved; a stop that sleeps would crash.
        clock.set_by(0)
    if done.returncode:
        raise SystemExit(f"{step.date:%Y}: {done.stderr or done.stdout}")
    return (done.stdout or done.stderr).strip().splitlines()[-1]


def main() -> None:
    """Run the drill."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "files").mkdir()
        for number in range(_FILES):
            (folder / "files" / f"{number}.txt").write_text(f"file {number}\n")
        clock, state = WallClock(folder), folder / "evidence"
        kept: list[Path] = []
        for step in STEPS:
            print(f"{step.date:%Y}  {step.key:10}  {' '.join(step.command):28}  {perform(step, clock, folder, state)}")
            kept.append(Path(shutil.copytree(state, folder / f"after-{step.date:%Y}")))
        clock.set_by(seconds_to(END))
        trust = ("--root-certificates", folder / "roots.pem")
        whole = evidence(clock, "verify", "--state", state, *trust)
        print(f"{END:%Y}  verify: exit code {whole.returncode}, {whole.stdout.strip().splitlines()[0]}")
        for step, copy in zip(STEPS[:-1], kept[:-1], strict=True):
            refused = evidence(clock, "verify", "--state", copy, *trust)
            said = (refused.stdout + refused.stderr).strip().splitlines()
            print(f"{END:%Y}  verify what stopped in {step.date:%Y}: exit code {refused.returncode}, {said[-1]}")
        raise SystemExit(whole.returncode)


if __name__ == "__main__":
    main()
