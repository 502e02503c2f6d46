"""How long servers that lie can hold the client, and how much memory they cost it: `python -m bench.lying_servers`.

Prints one line for each server on the list of tests/client/lying_servers.py. The servers run in this process and the
client in another, so that its memory is its own. `over` is how much later than its deadline a client ended; both
limits, 0.5 s and 64 MiB, are what the client promises, and the exit code is 1 where it does not keep them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.report import machine
from tests.client.lying_server import CHAIN, Certificates, LyingServer
from tests.client.lying_server import Lie as _Lie
from tests.client.lying_servers import LIES
from tsa_core.client import Timestamps, stamp_all
from tsa_core.protocol.request import read_request
from tsa_core.testing import forge
from tsa_core.testing.http_tsa import Answer, HttpTsa

TIMEOUT = 1.0
MAX_OVER = 0.5
MAX_MIB = 64.0


def main() -> int:
    """Run the list, then a threshold beside a server that drips."""
    for name, value in machine().items():
        print(f"{name}: {value}")
    print(f"\n{'server':44} {'seconds':>8} {'over':>6} {'peak MiB':>9}  result")
    failed = 0
    with tempfile.TemporaryDirectory() as folder, _client() as ask:
        certificates = Certificates(Path(folder))
        base = ask({"url": "http://127.0.0.1:1/", "ca": str(certificates.ca), "environment": {}})
        print(f"{'(nobody there)':44} {base['seconds']:8.3f} {0:6.3f} {base['mib']:9.1f}  {base['result']}")
        for lie in LIES.values():
            with LyingServer(lie, certificates) as server:
                job = {"url": server.url, "ca": str(certificates.ca), "environment": server.environment}
                done = ask(job)
            over = max(0.0, done["seconds"] - TIMEOUT)
            kept = over <= MAX_OVER and done["mib"] < MAX_MIB
            failed += not kept
            result = done["result"] if kept else f"LIMIT BROKEN {done['result']}"
            print(f"{lie.name:44} {done['seconds']:8.3f} {over:6.3f} {done['mib']:9.1f}  {result[:110]}")
        print(f"\n{len(LIES)} servers, {failed} of them broke a limit")
        _threshold(certificates)
    return 1 if failed else 0


def _threshold(certificates: Certificates) -> None:
    """Measure `stamp_all` with two honest servers and one that drips."""

    def honest(request: bytes) -> Answer:
        parsed = read_request(request)
        content = forge.tst_info(digest=parsed.digest, nonce=parsed.nonce)
        return Answer(body=forge.reply(forge.token(CHAIN.signer, content, certificates=[CHAIN.signer.der])))

    dripping: _Lie = LIES["dripped_header_value"]
    with HttpTsa(honest) as one, HttpTsa(honest) as two, LyingServer(dripping, certificates) as slow:
        began = time.monotonic()
        result: Timestamps = stamp_all([slow.url, one.url, two.url], threshold=2, artifact=b"hello", timeout=30)
        seconds = time.monotonic() - began
    print(f"two of three, one of which drips: {len(result.timestamps)} timestamps after {seconds:.3f} s of 30 s")


class _client:  # noqa: N801 - used like a function
    """A process that stamps what it is told to, one job after another."""

    def __enter__(self) -> Callable[[dict[str, Any]], dict[str, Any]]:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.stamping_client", str(TIMEOUT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self._ask

    def _ask(self, job: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


if __name__ == "__main__":
    raise SystemExit(main())
