"""timestamp-cli extract: the table, the files that it writes, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.timestamp_shell import Shell
from tests.extract import signed_files
from tests.extract.signed_files import signed_data, token

TRUST = ("--certificate-chain", "chain.pem")
NOT_CHECKED = "timestamp-cli: not checked: the signatures in a.asics, and whether the file is what they sign\n"


@pytest.fixture
def container(shell: Shell) -> str:
    files = {"a.txt": b"hello", "META-INF/a.tst": token(b"hello"), "META-INF/b.tst": token(b"hello")}
    Path("a.asics").write_bytes(signed_files.zipped(files))
    return "a.asics"


def test_the_table_and_the_files(shell: Shell, container: str) -> None:
    outcome = shell("extract", container, "--out-dir", "tokens", "--data", *TRUST)
    assert outcome.code == 0, outcome.err
    first, second = outcome.out.splitlines()
    assert first.split("\t") == [
        *("1", "ASiC time assertion", "META-INF/a.tst", "2025-06-01T12:00:00Z", "CN=Signer,O=tsa-core tests"),
        *("a.txt", "verified"),
    ]
    assert second.startswith("2\t")
    assert outcome.err == f"{NOT_CHECKED}Wrote 2 tokens to tokens\n"
    assert Path("tokens/2.data").read_bytes() == b"hello"
    assert shell("verify", "--timestamp", "tokens/1.tst", "--artifact", "tokens/1.data", *TRUST).code == 0
    assert "--force replaces it" in shell.fails(2, "extract", container, "--out-dir", "tokens")
    assert shell("extract", container, "--out-dir", "tokens", "--force").code == 0


def test_without_trust(shell: Shell, container: str) -> None:
    outcome = shell("extract", container)
    assert outcome.out.splitlines()[0].endswith("\tintact: nobody was trusted")
    assert "no effect without a trust flag" in shell.fails(2, "extract", container, "--allow", "sha1")


def test_refused(shell: Shell) -> None:
    Path("a.asics").write_bytes(signed_files.zipped({"a.txt": b"other", "META-INF/a.tst": token(b"hello")}))
    outcome = shell("extract", "a.asics", *TRUST, "--format", "json")
    assert outcome.code == 1
    assert outcome.err == "timestamp-cli: 1 of 1 timestamps in a.asics are refused\n"
    document = json.loads(outcome.out)
    assert document["NotChecked"] == "the signatures in a.asics, and whether the file is what they sign"
    (found,) = document["Timestamps"]
    assert (found["Verdict"], found["Rule"], found["Kind"]) == ("refused", "V2", "ASiC time assertion")
    Path("b.asics").write_bytes(signed_files.zipped({"a.txt": b"other"}))
    assert "b.asics (ASiC) holds no RFC 3161 timestamp" in shell.fails(1, "extract", "b.asics")


def test_the_data_of_what_is_refused_is_not_written(shell: Shell) -> None:
    """A manifest whose file was changed is no data, and the other verdicts are printed all the same."""
    files = {**signed_files.asic_e({"a.txt": b"hello"}), "META-INF/b.tst": token(b"other")}
    Path("a.asice").write_bytes(signed_files.zipped({**files, "a.txt": b"changed"}))
    outcome = shell("extract", "a.asice", "--out-dir", "tokens", "--data", *TRUST)
    assert (outcome.code, [line.split("\t")[-1].partition(":")[0] for line in outcome.out.splitlines()]) == (
        1, ["refused", "refused"],
    )  # fmt: skip
    assert sorted(each.name for each in Path("tokens").iterdir()) == ["1.tst", "2.tst"]


def test_a_detached_signature(shell: Shell, reply: str) -> None:
    assert shell("extract", reply).out.endswith("not checked: what it is over was not given\n")
    assert shell("extract", reply, "--detached", "a.txt", *TRUST).out.endswith("\tverified\n")
    outcome = shell("extract", reply, "--detached", "chain.pem")
    assert (outcome.code, "another one" in outcome.out) == (1, True)


def test_a_detached_file_that_no_timestamp_is_over_is_refused(shell: Shell, container: str) -> None:
    """Else somebody would read the verdict as one on that file."""
    Path("attached.p7s").write_bytes(signed_data(b"signed", b"signed"))
    for name in ("attached.p7s", container):
        assert "--detached has no effect" in shell.fails(2, "extract", name, "--detached", "chain.pem", *TRUST)


def test_with_trust_something_must_be_verified(shell: Shell, reply: str) -> None:
    """A script that says whom to trust goes by the exit code: 0 when nothing could be checked would be a verdict."""
    outcome = shell("extract", reply, *TRUST)
    assert (outcome.code, "\tnot checked: the token itself is good" in outcome.out) == (1, True)
    assert "no timestamp in " in outcome.err
    assert "is verified: the table says why" in outcome.err
    assert shell("extract", reply).code == 0


def test_mistakes(shell: Shell, container: str) -> None:
    assert "give one FILE" in shell.fails(2, "extract")
    assert "give one FILE" in shell.fails(2, "extract", container, container)
    assert "--data goes with --out-dir" in shell.fails(2, "extract", container, "--data")
    assert "none of what is read here" in shell.fails(1, "extract", "a.txt")
    assert "cannot be read" in shell.fails(2, "extract", "nothing")
    assert "--out-dir a.txt" in shell.fails(2, "extract", container, "--out-dir", "a.txt")
