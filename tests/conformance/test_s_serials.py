"""Rule S2: serial numbers are unique per TSA name, after a crash, across processes and across profiles."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conformance.plain_encoder import PlainRequest
from tests.conformance.replies import granted
from tests.serving import Parts, TestSigner, open_service
from tsa_core.api import RequestContext

ROOT = Path(__file__).resolve().parent.parent.parent
PROCESSES = 4
COUNT = 5_000


def start() -> subprocess.Popen[str]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("stamping_process.py")), str(COUNT)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def whole_lines(text: str) -> list[str]:
    """Return the complete lines: the last one of a killed process may be cut off."""
    return [line.rstrip("\n") for line in text.splitlines(keepends=True) if line.endswith("\n")]


def test_s02_serial_numbers_are_unique_across_processes_and_crashes() -> None:
    """Four processes stamp 5,000 times each, one of them is killed in the middle and started again."""
    processes = [start() for _ in range(PROCESSES)]
    victim = processes[0]
    try:
        assert victim.stdout is not None
        serials = [victim.stdout.readline().rstrip("\n") for _ in range(COUNT // 3)]
        victim.kill()
        rest = whole_lines(victim.communicate(timeout=60)[0])
        assert victim.returncode == -9, "it had ended before it could be killed"
        serials += rest
        assert len(serials) < COUNT
        processes.append(start())
        with ThreadPoolExecutor() as pool:
            outputs = list(pool.map(lambda process: process.communicate(timeout=120)[0], processes[1:]))
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.communicate(timeout=30)
    assert [process.returncode for process in processes[1:]] == [0] * PROCESSES
    for output in outputs:
        lines = whole_lines(output)
        assert len(lines) == COUNT
        serials += lines
    assert {len(serial) for serial in serials} == {40}
    assert len(set(serials)) == len(serials)
    assert len(serials) > PROCESSES * COUNT


def test_s02_c12_serial_numbers_are_positive_160_bit_numbers_of_one_width() -> None:
    body = PlainRequest().encode()
    with open_service(Parts(signers={"p256": TestSigner("ed25519")})) as service:
        serials = [
            granted(service.authority.respond(body, RequestContext()).der).tst_info["serial_number"] for _ in range(500)
        ]
    numbers = [serial.native for serial in serials]
    assert {len(serial.contents) for serial in serials} == {20}
    assert all(2**158 <= number < 2**159 for number in numbers)
    assert len(set(numbers)) == 500
    # Every one of the 158 random bits takes both values: 500 draws miss one with a chance of 158 * 2 ** -499.
    assert all({number >> bit & 1 for number in numbers} == {0, 1} for bit in range(158))


def test_s02_profiles_that_share_a_name_never_share_a_serial_number() -> None:
    body = PlainRequest().encode()
    with open_service(profiles={"second": {}}) as service:
        numbers = [
            granted(service.authority.respond(body, RequestContext(profile=name)).der).tst_info["serial_number"].native
            for name in ("default", "second") * 200
        ]
    assert len(set(numbers)) == 400
