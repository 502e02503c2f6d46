"""A program is ended at its time limit with all that it has started, and never fills the memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tsa_core.testing import ends_within
from tsa_core.testing.waiting import wait_until
from tsa_signer_cliplugin.program import (
    MAX_MESSAGES_OCTETS,
    CannotStart,
    Finished,
    PrintedTooMuch,
    TookTooLong,
    run_program,
)


def run(script: str, *, data: bytes = b"", timeout: float = 60.0) -> Finished:
    return run_program(["/bin/sh", "-c", script], data=data, environment=dict(os.environ), timeout=timeout)


def alive(process: int) -> bool:
    try:
        # A zombie has been killed; its parent, whoever that is now, has not looked yet.
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False


def test_output_messages_and_code() -> None:
    done = run("cat; echo trouble >&2; exit 7", data=b"in")
    assert done == Finished(output=b"in", messages=b"trouble\n", code=7)


def test_much_data_goes_through_both_ways() -> None:
    data = os.urandom(200_000)
    assert run("cat", data=data).output == data


def test_a_program_that_reads_nothing_may_end() -> None:
    assert run("exec 0<&-; echo done", data=bytes(1_000_000)).output == b"done\n"


@pytest.mark.needs(Path("/proc/self/status").exists(), "reads /proc")
@pytest.mark.parametrize("script", ["sleep 600 & echo $! > {0}; wait", "exec >&- 2>&- <&-; echo $$ > {0}; sleep 600"])
def test_at_the_limit_all_its_processes_are_killed(tmp_path: Path, script: str) -> None:
    path = tmp_path / "pid"
    with ends_within(2), pytest.raises(TookTooLong):
        run(script.format(path), timeout=2.0)
    process = int(path.read_text())
    wait_until(lambda: not alive(process), seconds=60, what="the process is gone")


def test_a_child_that_holds_the_output_does_not_outlive_the_limit(tmp_path: Path) -> None:
    with pytest.raises(TookTooLong):
        run("sleep 600 & exit 0", timeout=0.5)


def test_output_without_end_is_stopped() -> None:
    with pytest.raises(PrintedTooMuch):
        run("yes")


def test_messages_without_end_are_cut_off() -> None:
    assert len(run("head -c 1000000 /dev/zero >&2").messages) == MAX_MESSAGES_OCTETS


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(CannotStart, match="No such file or directory"):
        run_program(["/nix/program"], data=b"", environment={}, timeout=1.0)
