"""A soak of the clock gate: a server under load whose time servers drift, lie, die and come back.

    python -m bench.clock_soak --minutes 10

The truth is the system's clock plus a shift that wanders to and fro, further than the accuracy that tokens state; the
time servers tell it, each with a small error, one of them a large one at times. The server's clock is the system's, so
that the error of a token is the shift at its genTime: exactly, whatever the machine is busy with. No token may be
further off than it says. Exit code 1 when one is.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from asn1crypto import core, tsp

from tsa_core.protocol.hashes import SHA256
from tsa_core.protocol.request import encode_request
from tsa_core.testing.ntp_responder import NtpResponder

SERVERS = 5
ACCURACY_SECONDS = 0.1
AMPLITUDE_SECONDS = 0.15
PERIOD_SECONDS = 0.5
HEADERS = {"Content-Type": "application/timestamp-query"}

CONFIGURATION = """\
[server]
port = 0
[profiles.default]
signer = "memory:"
accuracy = "{accuracy:g}s"
fraction_digits = 6
[clock]
monitors = ["ntp"]
drift_ppm = {drift_ppm}
max_holdover = "5s"
[clock.ntp]
servers = {servers}
period = "{period:g}s"
request_timeout = "400ms"
request_attempts = 1
max_time_delta = "1s"
"""


class Truth:
    """The shift of true time against the system's clock: a triangle of 150 ms up and down."""

    def __init__(self, slope: float) -> None:
        self._slope = slope
        self._started = time.time()

    def shift(self, moment: float) -> float:
        """Return true time minus the system's, both in seconds, at a POSIX time of the system's clock."""
        way = (moment - self._started) * self._slope + AMPLITUDE_SECONDS / 2
        place = way % (4 * AMPLITUDE_SECONDS)
        return (
            place
            if place <= AMPLITUDE_SECONDS
            else (2 * AMPLITUDE_SECONDS - place if place <= 3 * AMPLITUDE_SECONDS else place - 4 * AMPLITUDE_SECONDS)
        )


class Weather(threading.Thread):
    """Moves the time servers with the truth, kills and revives them, and lets one lie."""

    def __init__(self, truth: Truth, responders: list[NtpResponder], seed: int) -> None:
        super().__init__(daemon=True)
        self._truth = truth
        self._responders = responders
        self._random = random.Random(seed)
        self.stopping = threading.Event()
        self.changes = 0

    def run(self) -> None:
        chance = self._random
        errors = [chance.uniform(-0.002, 0.002) for _ in self._responders]
        next_change = time.monotonic() + 3
        while not self.stopping.wait(0.005):
            if time.monotonic() >= next_change:
                next_change = time.monotonic() + chance.uniform(2, 8)
                self.changes += 1
                dead = chance.choice([0, 0, 0, 1, 1, 2, 3, 5])
                for i, responder in enumerate(chance.sample(self._responders, len(self._responders))):
                    responder.silent = i < dead
                errors = [chance.uniform(-0.002, 0.002) for _ in self._responders]
                if chance.random() < 0.5:
                    errors[chance.randrange(len(errors))] = chance.choice([-30.0, 0.08, -0.08, 0.5, 30.0])
            shift = self._truth.shift(time.time())
            for responder, error in zip(self._responders, errors, strict=True):
                # What an honest server says of its own uncertainty covers its error.
                responder.root_dispersion = 0.003
                responder.offset = shift + error


class Client(threading.Thread):
    """Asks for timestamps and holds each against the truth."""

    def __init__(self, port: int, truth: Truth, pause: float) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._truth = truth
        self._pause = pause
        self.stopping = threading.Event()
        self.refusals: Counter[str] = Counter()
        self.granted = 0
        self.outside = 0
        self.largest_error = 0.0
        self.longest_refusal = 0.0
        self.failure: str | None = None

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        refused_since: float | None = None
        number = 0
        try:
            while not self.stopping.wait(self._pause):
                number += 1
                request = encode_request(algorithm=SHA256, digest=bytes(32), nonce=number, cert_req=False)
                connection.request("POST", "/api/v1/timestamp", request, HEADERS)
                reply = core.Sequence.load(connection.getresponse().read())
                info = tsp.PKIStatusInfo.load(reply[0].dump())
                if info["status"].native == "granted":
                    refused_since = None
                    self._judge(reply.dump())
                else:
                    self.refusals[info["status_string"].native[0]] += 1
                    refused_since = refused_since or time.monotonic()
                    self.longest_refusal = max(self.longest_refusal, time.monotonic() - refused_since)
        except Exception as error:  # noqa: BLE001 - whatever ended the client is a figure of the report
            self.failure = f"{type(error).__name__}: {error}"
        finally:
            connection.close()

    def _judge(self, reply: bytes) -> None:
        token = tsp.TimeStampResp.load(reply)["time_stamp_token"]
        info = token["content"]["encap_content_info"]["content"].parsed
        accuracy = info["accuracy"].native
        stated = (accuracy["seconds"] or 0) + (accuracy["millis"] or 0) / 1e3 + (accuracy["micros"] or 0) / 1e6
        moment: datetime = info["gen_time"].native
        error = abs(self._truth.shift(moment.timestamp()))
        self.granted += 1
        self.largest_error = max(self.largest_error, error)
        self.outside += error > stated


def soak(seconds: float, *, clients: int, rate: float, slope: float, seed: int) -> dict[str, object]:
    """Run it and return the figures; `rate` counts requests a second of each client, `slope` seconds a second."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        responders = [stack.enter_context(NtpResponder()) for _ in range(SERVERS)]
        truth = Truth(slope)
        weather = Weather(truth, responders, seed)
        weather.start()
        configuration = CONFIGURATION.format(
            accuracy=ACCURACY_SECONDS,
            drift_ppm=slope * 1e6 * 1.1,
            servers=json.dumps([responder.server for responder in responders]),
            period=PERIOD_SECONDS,
        )
        (folder / "tsa.toml").write_text(configuration)
        log = folder / "log"
        command = [sys.executable, "-m", "tsa_core.cli.server", "serve", "--config", str(folder / "tsa.toml")]
        with log.open("w") as stream:
            process = subprocess.Popen(command, stdout=stream, stderr=stream)
        workers: list[Client] = []
        try:
            port = _port(log, process)
            workers = [Client(port, truth, 1 / rate) for _ in range(clients)]
            for worker in workers:
                worker.start()
            time.sleep(seconds)
        finally:
            process_cpu = _cpu_seconds(process.pid)
            for worker in workers:
                worker.stopping.set()
                worker.join(15)
            process.terminate()
            process.wait(20)
            weather.stopping.set()
            weather.join(5)
        states = Counter(re.findall(r"clock state=(\w+)", log.read_text()))
    refusals: Counter[str] = sum((worker.refusals for worker in workers), Counter())
    return {
        "seconds": seconds,
        "granted": sum(worker.granted for worker in workers),
        "outside_the_stated_accuracy": sum(worker.outside for worker in workers),
        "stated_accuracy_seconds": ACCURACY_SECONDS,
        "largest_error_of_a_token_seconds": round(max(worker.largest_error for worker in workers), 6),
        "refused": refusals.total(),
        "refused_by_text": dict(refusals.most_common()),
        "longest_refusal_seconds": round(max(worker.longest_refusal for worker in workers), 1),
        "changes_of_weather": weather.changes,
        "changes_of_state": dict(states),
        "server_cpu_seconds": process_cpu,
        "client_failures": [worker.failure for worker in workers if worker.failure],
    }


def _port(log: Path, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"listening on http://127\.0\.0\.1:(\d+)", log.read_text()):
            return int(found[1])
        time.sleep(0.05)
    raise SystemExit(f"the server did not start:\n{log.read_text()}")


def _cpu_seconds(pid: int) -> float | None:
    """Return the CPU time of a process where /proc tells it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / 100


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--rate", type=float, default=25.0, help="requests a second of each client")
    parser.add_argument("--slope", type=float, default=0.002, help="how fast the truth wanders, seconds a second")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    figures = soak(
        options.minutes * 60, clients=options.clients, rate=options.rate, slope=options.slope, seed=options.seed
    )
    print(json.dumps(figures, indent=2))
    bad = figures["outside_the_stated_accuracy"] or figures["client_failures"] or not figures["granted"]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
