"""What timestamp-cli verify says: all of the verdict, for people and as JSON, also when the timestamp does not hold."""

from __future__ import annotations

import io
import json
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tests.cli.timestamp_shell import CHAIN, Shell
from tsa_core.cli import timestamp as timestamp_cli
from tsa_core.protocol.hashes import SHA1
from tsa_core.protocol.tstinfo import Accuracy
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import issue, signer_extensions
from tsa_core.verify import ALLOWANCES

VERIFY = ("verify", "--artifact", "a.txt", "--timestamp", "t.tsr", "--certificate-chain", "chain.pem")


def write(content: bytes, name: str = "t.tsr") -> None:
    certificates = [CHAIN.signer.der, CHAIN.intermediate.der]
    Path(name).write_bytes(forge.reply(forge.token(CHAIN.signer, content, certificates=certificates)))


def test_lines_for_people(shell: Shell) -> None:
    write(forge.tst_info(accuracy=Accuracy(microseconds=1_000_000)))
    assert shell(*VERIFY).out.splitlines() == [
        "Successfully verified timestamp t.tsr",
        "Time: 2025-06-01T12:00:00Z",
        "Accuracy: 1 s, from 2025-06-01T11:59:59Z to 2025-06-01T12:00:01Z",
        "Signer: CN=Signer,O=tsa-core tests",
        f"Policy: {forge.POLICY}",
        "Trust anchor: CN=Root,O=tsa-core tests",
        "Not checked: whether the signer's certificate was revoked: no CRL and no OCSP response was given",
    ]


def test_a_table_on_a_terminal(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    write(forge.tst_info())
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    assert timestamp_cli.run(VERIFY) == 0
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("Trust anchor") and "CN=Root" in line for line in lines)


def test_json_of_a_timestamp_that_holds(shell: Shell) -> None:
    write(forge.tst_info())
    document = json.loads(shell(*VERIFY, "--format", "json", "--allow", "tsa-name").out)
    assert document["Verified"] is True
    assert document["ParsedTimestamp"]["Signer"] == "CN=Signer,O=tsa-core tests"
    verdict = document["Verdict"]
    assert verdict["TrustAnchor"]["Subject"] == "CN=Root,O=tsa-core tests"
    assert [note["Code"] for note in verdict["Notes"]] == ["allowance-unused"]
    assert [note["Code"] for note in verdict["Unchecked"]] == ["no-revocation-data", "no-accuracy"]


def test_json_of_one_that_does_not(shell: Shell) -> None:
    write(forge.tst_info(b"other"))
    outcome = shell(*VERIFY, "--format", "json")
    assert outcome.code == 1
    document = json.loads(outcome.out)
    assert document.keys() == {"TimestampPath", "Verified", "Rule", "Reason"}
    assert (document["Verified"], document["Rule"]) == (False, "V2")
    assert document["Reason"] in outcome.err
    Path("t.tsr").write_bytes(b"garbage")
    assert json.loads(shell(*VERIFY, "--format", "json").out)["Rule"] == "V14"


def test_a_signer_that_ended(shell: Shell) -> None:
    ended = issue(
        "Ended", issuer=CHAIN.intermediate, extensions=signer_extensions(), not_after=forge.GEN_TIME + timedelta(days=9)
    )
    Path("t.tsr").write_bytes(forge.reply(forge.token(ended, certificates=[ended.der])))
    assert (
        "Not checked: what became of the signer's key after its certificate ended on 2025-06-10" in shell(*VERIFY).out
    )
    assert "ended on" not in shell(*VERIFY, "--time", "2025-06-02T00:00:00Z").out
    assert "is before" in shell.fails(1, *VERIFY, "--time", "2025-07-01")
    assert "is not a time" in shell.fails(2, *VERIFY, "--time", "yesterday")


def test_allowances_and_proofs(shell: Shell) -> None:
    weak = forge.tst_info(hash_algorithm=SHA1)
    write(weak)
    assert "too weak" in shell.fails(1, *VERIFY)
    assert "Note: allowed: sha1 in the message imprint" in shell(*VERIFY, "--allow", "sha1").out
    assert "Note: md5 was allowed" in shell(*VERIFY, "--allow", "sha1", "--allow", "md5").out
    assert "nothing is called 'sha-1'" in shell.fails(2, *VERIFY, "--allow", "sha-1")
    help_text = " ".join(shell("verify", "--help").out.split())
    assert all(name in help_text for name in ALLOWANCES)
    assert "no later timestamp proves" in shell.fails(1, *VERIFY, "--algorithms", "by-date")
    write(forge.tst_info(Path("t.tsr").read_bytes()), "proof.tsr")
    assert "by-date" in shell.fails(2, *VERIFY, "--proof", "proof.tsr")
    assert "came after its end" in shell.fails(1, *VERIFY, "--algorithms", "by-date", "--proof", "proof.tsr")


@pytest.mark.parametrize("form", ["default", "json"])
@pytest.mark.parametrize(
    "content",
    [
        forge.tst_info(nonce=10**5000),
        forge.tst_info(serial_number=10**5000),
        forge.tst_info(gen_time=b"99991231235959Z", accuracy=Accuracy(microseconds=60_000_000)),
        forge.tst_info(gen_time=b"00010101000000Z", accuracy=Accuracy(microseconds=60_000_000)),
    ],
    ids=["nonce", "serial number", "year 9999", "year 1"],
)
def test_numbers_and_years_of_any_size_are_a_verdict(shell: Shell, content: bytes, form: str) -> None:
    write(content)
    inspected = shell("inspect", "--timestamp", "t.tsr", "--format", form)
    assert inspected.code == 0
    if form == "json":
        json.loads(inspected.out)
    outcome = shell(*VERIFY, "--format", form)
    assert outcome.code in {0, 1}


def test_a_nonce_of_any_size_can_be_asked_for(shell: Shell) -> None:
    write(forge.tst_info(nonce=10**5000))
    assert shell(*VERIFY, "--nonce", hex(10**5000)).code == 0
    assert "nonce" in shell.fails(1, *VERIFY, "--nonce", hex(10**5000 + 1))
    assert "is not a number" in shell.fails(2, *VERIFY, "--nonce", "12x")
