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

from bench.measure import Server, free_port, have_wrk, resident_mib
from bench.report import Row, print_rows
from bench.turns import KEY_OF_SERVERS, take_turns

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

    text, key = new_key(name="bench")
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
            servers[name] = Server(environment={**environment, **KEY_OF_SERVERS})
            stack.callback(servers[name].close)
        memory = {name: resident_mib(server.process.pid) for name, server in servers.items()}
        rows = take_turns("guards", servers, quick=quick, headers={"X-API-Key": text})
    started = [
        Row(
            part="guards",
            name=f"start, {name}",
            figures={"start s": server.start_seconds, "MiB": memory[name]},
        )
        for name, server in servers.items()
    ]
    return started + rows


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
