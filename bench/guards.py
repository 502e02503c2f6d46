"""What a guard costs: none, API keys, 100,000 of them, API keys with a limit that is counted in memory, and in Redis.

    python -m bench.guards [--quick]

All servers run at once and take turns under load; figures are medians over the rounds. With a guard that asks Redis,
requests run in threads, and are not answered in batches. The memory is what a server has before the first request.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from bench.issue import WITH_CERTIFICATES
from bench.measure import Load, Server, bare_signature_us, free_port, have_wrk, resident_mib
from bench.report import Row, print_rows, progress

KIND = "ecdsa-p256"
_NO_LIMIT = "1000000000/day"
_MANY = 100_000
_PREFIX = "TSA_MIDDLEWARE__"


def installed() -> bool:
    """Say whether the guard that is measured is installed."""
    return find_spec("tsa_guard") is not None


@contextmanager
def _redis(folder: Path) -> Iterator[str | None]:
    """Yield the address of a Redis, None where there is none."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    port = free_port()
    options = ("--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no", "--dir", str(folder))
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(30)


def _environments(keys: Path, many: Path, redis: str | None) -> dict[str, dict[str, str]]:
    guarded = {f"{_PREFIX}GUARDS": "guard", f"{_PREFIX}GUARD__KEYS": str(keys)}
    limited = {**guarded, f"{_PREFIX}GUARD__CLIENT_LIMITS": _NO_LIMIT}
    found = {
        "no guard": {},
        "keys": guarded,
        f"{_MANY:,} keys": {**guarded, f"{_PREFIX}GUARD__KEYS": str(many)},
        "keys, limit in memory": limited,
    }
    if redis is not None:
        found["keys, limit in Redis"] = {**limited, f"{_PREFIX}GUARD__STORAGE": redis}
    return found


def run(*, quick: bool) -> list[Row]:
    """Measure and return the table's rows."""
    from tsa_guard.key_file import changed_keys, new_key

    rounds, seconds = (2, 1.0) if quick else (5, 3.0)
    text, key = new_key(name="bench")
    loads: dict[tuple[str, int], list[Load]] = {}
    bare: list[float] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with changed_keys(folder / "keys.jsonl") as known:
            known[key.id] = key
        with changed_keys(folder / "many.jsonl") as known:
            known[key.id] = key
            known.update((other.id, other) for _, other in (new_key(name=f"client {n}") for n in range(_MANY - 1)))
        redis = stack.enter_context(_redis(folder))
        servers = {}
        for name, environment in _environments(folder / "keys.jsonl", folder / "many.jsonl", redis).items():
            servers[name] = Server(environment={**environment, "TSA_SIGNER__MEMORY__ALGORITHM": KIND})
            stack.callback(servers[name].close)
        memory = {name: resident_mib(server.process.pid) for name, server in servers.items()}
        for number in range(rounds):
            progress(f"guards, round {number + 1} of {rounds}")
            bare.append(bare_signature_us(KIND))
            for connections in (16,) if quick else (1, 16, 64):
                for name, server in servers.items():
                    load = server.load(
                        WITH_CERTIFICATES, connections=connections, seconds=seconds, headers={"X-API-Key": text}
                    )
                    loads.setdefault((name, connections), []).append(load)
    started = [
        Row(
            part="guards",
            name=f"start, {name}",
            figures={"start s": server.start_seconds, "MiB": memory[name]},
        )
        for name, server in servers.items()
    ]
    return started + [
        Row(
            part="guards",
            name=f"{name}, {connections} connections",
            figures={
                "cpu us": (cpu := median(load.cpu_us for load in each)),
                "bare signatures": cpu / median(bare),
                "requests/s": median(load.per_second for load in each),
                "p99 ms": median(load.p99_ms for load in each),
                "errors": sum(load.errors for load in each),
            },
        )
        for (name, connections), each in loads.items()
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see that it works")
    arguments = parser.parse_args()
    if not have_wrk():
        raise SystemExit("wrk is not installed (Debian: apt-get install wrk)")
    if not installed():
        raise SystemExit("tsa-guard is not installed")
    print_rows(run(quick=arguments.quick))


if __name__ == "__main__":
    main()
