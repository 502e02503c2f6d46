"""timestamp-cli verify FILE...: a verdict on each file, in every form."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.timestamp_shell import CHAIN as CHAIN_OF_TSA
from tests.cli.timestamp_shell import Outcome, Shell
from tsa_core.cli.timestamp.many import verifying
from tsa_core.cli.timestamp.many.checking import Checker
from tsa_core.protocol import oids
from tsa_core.testing import forge
from tsa_core.testing.http_tsa import HttpTsa

CHAIN = ("--certificate-chain", "chain.pem")


@pytest.fixture
def many(shell: Shell, tsa: HttpTsa) -> Shell:
    """Nine files: one changed since, one without a timestamp, one whose timestamp is damaged, one with an odd name."""
    Path("d").mkdir()
    for number in range(8):
        Path(f"d/f{number}").write_text(f"{number}")
    Path(os.fsdecode(b"d/\x01<&\xff")).touch()
    assert shell("timestamp", "--each", "d", "--timestamp_server", tsa.url).code == 0
    Path("d/f2").write_text("changed")
    Path("d/f4.tsr").unlink()
    damaged = bytearray(Path("d/f6.tsr").read_bytes())
    damaged[-10] ^= 0x40
    Path("d/f6.tsr").write_bytes(damaged)
    Path("d/broken").symlink_to("nowhere")
    return shell


def test_each_verdict_has_its_line(many: Shell) -> None:
    outcome = many("verify", "d", *CHAIN)
    assert outcome.code == 1
    lines = [line.split("\t") for line in outcome.out.splitlines()]
    assert {name: verdict for name, verdict, _, _ in lines} == {
        "d/\\x01<&\\xff": "holds",
        "d/broken": "cannot be read",
        **{f"d/f{number}": "holds" for number in (0, 1, 3, 5, 7)},
        "d/f2": "does not hold",
        "d/f4": "no timestamp",
        "d/f6": "does not hold",
    }
    assert {line[0]: line[3] for line in lines}["d/f2"].startswith("V2 ")
    assert "not checked, of 6: whether the signer's certificate was revoked" in outcome.err
    assert "files: 10; holds: 6, does not hold: 2, no timestamp: 1, cannot be read: 1" in outcome.err


def test_quiet_and_fail_fast(many: Shell) -> None:
    assert len(many("verify", "d", *CHAIN, "--quiet").out.splitlines()) == 4
    outcome = many("verify", "d/f0", "d/f2", "d/f4", "d/f6", *CHAIN, "--fail-fast")
    assert (outcome.code, len(outcome.out.splitlines())) == (1, 2)
    assert "not verified: 2" in outcome.err
    good = many("verify", "d/f0", "d/f1", *CHAIN, "--quiet")
    assert (good.code, good.out, good.err) == (0, "", "")


def test_a_terminal_gets_a_table_and_a_bar(many: Shell, tsa: HttpTsa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    Path("d/[bold]").touch()
    outcome = many("timestamp", "--each", "d", "--timestamp_server", tsa.url)
    assert "timestamps" in outcome.err
    outcome = many("verify", "d", *CHAIN)
    assert "Verdict" in outcome.out.splitlines()[0]
    assert "d/[bold]" in outcome.out, "a name is no markup"
    assert "verified" in outcome.err


def test_one_timestamp_quietly(many: Shell) -> None:
    arguments = ("verify", *CHAIN, "--quiet", "--artifact")
    assert many(*arguments, "d/f0", "--timestamp", "d/f0.tsr") == Outcome(code=0, out="", err="")
    many.fails(1, *arguments, "d/f2", "--timestamp", "d/f2.tsr")


def test_json_and_json_lines(many: Shell) -> None:
    document = json.loads(many("verify", "d", *CHAIN, "--format", "json").out)
    lines = [json.loads(line) for line in many("verify", "d", *CHAIN, "--report", "jsonl").out.splitlines()]
    assert document == {"Verified": False, "Files": lines}
    by_name = {line["File"]: line for line in lines}
    assert by_name["d/\\x01<&\\xff"]["FileBase64"] == "ZC8BPCb/"
    assert by_name["d/f0"]["Unchecked"][0]["Code"] == "no-revocation-data"
    assert by_name["d/f2"]["Rule"] == "V2"
    assert by_name["d/f4"]["Reason"].startswith("none of d/f4.tsr, d/f4.tst")
    assert many.fails(2, "verify", "d", *CHAIN, "--format", "json", "--report", "jsonl")


def test_junit(many: Shell) -> None:
    outcome = many("verify", "d", *CHAIN, "--report", "junit")
    suites = ElementTree.fromstring(outcome.out)
    assert (suites.get("tests"), suites.get("failures"), suites.get("errors")) == ("10", "3", "1")
    cases = {case.get("name"): [child.tag for child in case] for case in suites.iter("testcase")}
    assert cases["d/f0"] == ["system-out"]
    assert cases["d/f2"] == cases["d/f4"] == ["failure"]
    assert cases["d/broken"] == ["error"]
    assert cases["d/\\x01<&\\xff"] == ["system-out"]


def test_sarif(many: Shell) -> None:
    document = json.loads(many("verify", "d", *CHAIN, "--report", "sarif").out)
    assert document["version"] == "2.1.0"
    [run] = document["runs"]
    found = {
        result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]: result["ruleId"]
        for result in run["results"]
    }
    assert found.pop("d/f6").startswith("timestamp-v")
    assert found == {"d/broken": "file-unreadable", "d/f2": "timestamp-v2", "d/f4": "timestamp-missing"}
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} >= set(found.values())
    assert run["properties"]["held"] == 6


def test_several_processes_find_the_same(many: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    one = many("verify", "d", *CHAIN, "--jobs", "1")
    monkeypatch.setattr(verifying, "_WORTH_PROCESSES", 2)
    monkeypatch.setattr(verifying, "_CHUNK", 2)
    assert many("verify", "d", *CHAIN, "--jobs", "2") == one
    assert many("verify", "d", *CHAIN, "--jobs", "2", "--fail-fast").code == 1


def test_an_early_end_says_nothing_of_threads(many: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool's thread fails, with a traceback on the terminal, when it gives results to what was cancelled."""
    failures: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    monkeypatch.setattr(verifying, "_WORTH_PROCESSES", 2)
    monkeypatch.setattr(verifying, "_CHUNK", 1)
    for number in range(40):
        Path("d", f"x{number}").write_bytes(b"x")
    for _ in range(8):  # a race, which was lost in a third of the runs
        before = set(threading.enumerate())
        assert many("verify", "d", *CHAIN, "--jobs", "2", "--fail-fast").code == 1
        for thread in set(threading.enumerate()) - before:
            thread.join(10)
    assert not failures


def test_a_process_that_is_killed_ends_the_run(many: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that waits for what it was doing would wait for ever."""
    parent = os.getpid()

    def killed(*_: object) -> None:
        assert os.getpid() != parent
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(verifying, "_WORTH_PROCESSES", 2)
    monkeypatch.setattr(Checker, "check", killed)
    assert "a process that verifies was killed" in many.fails(1, "verify", "d", *CHAIN, "--jobs", "2")


def test_standard_input_and_lists(shell: Shell, tsa: HttpTsa, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("list").write_text("a.txt\n")
    with Path("a.txt").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert shell("timestamp", "--each", "-", "--from-file", "list", "--timestamp_server", tsa.url).code == 0
    with Path("a.txt").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        outcome = shell("verify", "-", "--from-file", "list", *CHAIN)
    assert [line.split("\t")[:2] for line in outcome.out.splitlines()] == [["-", "holds"], ["a.txt", "holds"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a.txt", "--timestamp", "r.tsr"), "--timestamp is for one timestamp"),
        (("a.txt", "--digest", "00"), "--digest is for one timestamp"),
        (("a.txt", "--witness", "k"), "--witness is for one timestamp"),
        (("a.txt", "--witness-threshold", "0"), "--witness-threshold is for one timestamp"),
        (("a.txt", "--log-delay", "1s"), "--log-delay is for one timestamp"),
        (("--artifact", "a.txt", "--timestamp", "r.tsr", "--report", "junit"), "--report goes with FILEs"),
        (("--artifact", "a.txt", "--timestamp", "r.tsr", "--fail-fast"), "--fail-fast goes with FILEs"),
    ],
)
def test_flags_without_effect_are_refused(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    assert said in shell.fails(2, "verify", *CHAIN, *arguments)


@pytest.mark.parametrize("each", [(), ("--each",)], ids=["records", "replies"])
def test_a_signature_beside_a_file_is_a_file_and_not_its_timestamp(
    shell: Shell, tsa: HttpTsa, each: tuple[str, ...]
) -> None:
    Path("d").mkdir()
    Path("d/contract.pdf").write_text("I pay.")
    Path("d/contract.pdf.p7s").write_bytes(forge.token(CHAIN_OF_TSA.signer, b"I pay.", content_type=oids.ID_DATA))
    outcome = shell("timestamp", *each, "d", "--timestamp_server", tsa.url)
    assert outcome.out == "files: 2; timestamped: 2\n"
    outcome = shell("verify", "d", *CHAIN)
    assert (outcome.code, outcome.out.count("\tholds\t")) == (0, 2), outcome


@pytest.mark.parametrize("name", ["f.tsr", "f.p7s", ".timestamp-cli-0123456789abcdef"])
def test_a_file_without_a_timestamp_is_not_overlooked_for_its_name(shell: Shell, tsa: HttpTsa, name: str) -> None:
    Path("d").mkdir()
    Path("d/f").write_text("f")
    assert shell("timestamp", "d", "--out-dir", "proofs", "--timestamp_server", tsa.url).code == 0
    Path("d", name).write_text("#!/bin/sh")
    outcome = shell("verify", "d", "--out-dir", "proofs", *CHAIN)
    assert outcome.code == 1
    assert f"d/{name}\tno timestamp\t" in outcome.out
