"""timestamp-cli evidence: from files to records, renewed, verified, exported; exit codes for cron."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.timestamp_shell import CHAIN, Shell, honest
from tsa_core.cli.program_group import all_commands
from tsa_core.cli.timestamp.evidence.commands import EVIDENCE
from tsa_core.cli.timestamp.evidence.directory_flags import progress
from tsa_core.evidence import EvidenceRecord
from tsa_core.testing.forged_revocation import crl
from tsa_core.testing.http_tsa import Answer, HttpTsa

TRUST = ("--certificate-chain", "chain.pem")
STATE = ("--state", "proof")


@pytest.fixture(scope="module")
def tsa() -> Iterator[HttpTsa]:
    def answer(request: bytes) -> Answer:
        return honest(request, datetime.now(UTC).replace(microsecond=0))

    with HttpTsa(answer) as server:
        yield server


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("chain.pem").write_bytes(CHAIN.pem)
    Path("data").mkdir()
    for name in ("one", "two", "three"):
        Path("data", name).write_text(name)
    return tmp_path


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def server(tsa: HttpTsa) -> tuple[str, str]:
    return ("--timestamp_server", tsa.url)


def test_the_whole_way(shell: Shell, files: Path, tsa: HttpTsa) -> None:
    made = shell("evidence", "create", *STATE, *server(tsa), *TRUST, "data")
    assert made.code == 0, made.err
    assert made.out.startswith("3 files, timestamped at ")
    assert made.out.endswith("Wrote batch 000001 of proof\n")
    assert made.err == ""

    good = shell("evidence", "verify", *STATE, *TRUST)
    assert (good.code, good.out.splitlines()[0]) == (0, "3 files verified, 0 not")
    assert "Not checked: timestamp 1 of chain 1: whether the signer's certificate was revoked" in good.out

    today = datetime.now(UTC)
    Path("a.crl").write_bytes(
        crl(CHAIN.intermediate, this_update=today - timedelta(days=1), next_update=today + timedelta(days=1))
    )
    assert shell("evidence", "renew", *STATE, *server(tsa), *TRUST).out == "Nothing is due.\n"
    renewed = shell("evidence", "renew", *STATE, *server(tsa), *TRUST, "--all", "--crl", "a.crl")
    assert renewed.out.startswith("Renewed batch 000001: timestamp, ")
    assert renewed.err == ""
    rehashed = shell("evidence", "renew", *STATE, *server(tsa), *TRUST, "--all", "--hash", "sha3-256")
    assert rehashed.out.startswith("Renewed batch 000001: hash tree, ")
    assert "whether the certificate of the timestamp before was revoked is not in the record" in rehashed.err

    Path("data/one").rename("renamed")
    one = json.loads(shell("evidence", "verify", *STATE, *TRUST, "--format", "json", "renamed").out)
    assert one["Verified"] == 1
    (file,) = one["Files"]
    assert [layer["Kind"] for layer in file["Layers"]] == ["initial", "timestamp renewal", "hash tree renewal"]
    assert "no-revocation-data" in {note["Code"] for note in file["Unchecked"]}

    Path("records").mkdir()
    written = shell("evidence", "export", *STATE, "--out-dir", "records", "renamed", "data/two")
    assert written.out.startswith("Wrote records/renamed.ers, ")
    assert len(EvidenceRecord.from_der(Path("records/renamed.ers").read_bytes()).timestamps) == 3
    single = shell("evidence", "verify", "--record", "records/renamed.ers", *TRUST, "renamed")
    assert single.out.startswith("Successfully verified renamed\nExisted: ")
    wrong = shell("evidence", "verify", "--record", "records/renamed.ers", *TRUST, "data/two")
    assert (wrong.code, wrong.out) == (1, "")
    assert wrong.err.startswith("data/two: not verified: ")
    assert wrong.err.endswith("(rule E3)\n")

    shown = json.loads(shell("evidence", "inspect", "--format", "json", "records/renamed.ers").out)
    assert [each["Hash"] for each in shown[0]["Timestamps"]] == ["sha256", "sha256", "sha3-256"]
    assert "Batch: 000001\n" in shell("evidence", "inspect", *STATE).out

    Path("data/two").write_text("changed")
    bad = shell("evidence", "verify", *STATE, *TRUST)
    assert (bad.code, bad.out.splitlines()[0]) == (1, "1 files verified, 2 not")
    assert "data/two: not verified: it has changed since it was stamped\n" in bad.err


def test_a_renewal_fetches_what_is_asked_for_and_refuses_what_nothing_covers(
    shell: Shell, files: Path, tsa: HttpTsa
) -> None:
    shell("evidence", "create", *STATE, *server(tsa), "data")
    failed = shell("evidence", "renew", *STATE, *server(tsa), *TRUST, "--all", "--fetch-crls", "--fetch-ocsp")
    assert failed.code == 1
    assert "nothing at hand tells whether the certificate 'CN=Signer,O=tsa-core tests' was revoked" in failed.err
    shown = json.loads(shell("evidence", "inspect", *STATE, "--format", "json").out)
    assert len(shown[0]["Timestamps"]) == 1


def test_a_terminal_sees_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress("reading", 200) as show:
        assert show is not None
        show(100, 2_500_000)
    assert f"reading [{'#' * 15}{'.' * 15}]  50 % 100 files, 2.5 MB" in capsys.readouterr().err
    with progress("hashing") as show:
        assert show is not None
        show(100, 2_500_000)
    assert "hashing 100 files, 2.5 MB" in capsys.readouterr().err
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    with progress("hashing") as show:
        assert show is None


def test_a_directory_says_that_it_cannot_show_its_end(shell: Shell, files: Path, tsa: HttpTsa) -> None:
    assert shell("evidence", "create", *STATE, *server(tsa), *TRUST, "data").code == 0
    said = "whether batches after 000001 were removed: note their number and give it, --batches N"
    assert f"Not checked: {said}\n" in shell("evidence", "verify", *STATE, *TRUST).out
    assert json.loads(shell("evidence", "verify", *STATE, *TRUST, "--format", "json").out)["Unchecked"] == [said]
    assert said not in shell("evidence", "verify", *STATE, *TRUST, "--batches", "1").out
    fewer = shell("evidence", "verify", *STATE, *TRUST, "--batches", "2")
    assert (fewer.code, "it has 1 batches, and had 2" in fewer.err) == (1, True)
    named = shell("evidence", "verify", *STATE, *TRUST, "--batches", "1", "data/one")
    assert (named.code, "--batches has no effect" in named.err) == (2, True)


def test_an_authority_may_be_named(shell: Shell, files: Path, tsa: HttpTsa) -> None:
    lines = ("[authorities.acme]", f'url = "{tsa.url}"', 'trust = "acme"', "[trusts.acme]", 'roots = "chain.pem"')
    Path("own.toml").write_text("\n".join(lines))
    named = ("--config", "own.toml", "--tsa", "acme")
    made = shell("evidence", "create", *STATE, *named, "data")
    assert made.code == 0, made.err
    assert shell("evidence", "verify", *STATE, *TRUST).code == 0
    Path("own.toml").write_text("\n".join(lines[:2]))
    assert shell("evidence", "add", *STATE, *named, "data").code == 0


def test_due_is_for_cron(shell: Shell, files: Path, tsa: HttpTsa) -> None:
    assert shell("evidence", "create", *STATE, *server(tsa)).out.startswith("Made proof; ")
    assert shell("evidence", "due", *STATE).out == "There is no batch.\n"
    added = json.loads(shell("evidence", "add", *STATE, *server(tsa), "--format", "json", "data").out)
    assert (added["Batch"], added["Objects"], added["Skipped"]) == ("000001", 3, [])
    good = shell("evidence", "due", *STATE)
    assert good.code == 0
    assert good.out.startswith("000001\t3\tgood\t2035-12-31\ttimestamp\tecdsa ends in ")
    assert shell("evidence", "due", *STATE, "--quiet").out == ""
    late = shell("evidence", "due", *STATE, "--quiet", "--time", "2035-11-30T00:00:00Z")
    assert (late.code, late.out.split("\t")[2]) == (1, "due")
    over = shell("evidence", "due", *STATE, "--time", "2036-01-30T00:00:00Z", "--format", "json")
    assert over.code == 1
    (batch,) = json.loads(over.out)["Batches"]
    assert (batch["State"], batch["Before"]) == ("overdue", "2035-12-31T23:59:59Z")
    assert {reason["Why"] for reason in batch["Reasons"]} > {"the certificate of CN=Signer,O=tsa-core tests ends"}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("due", "--state", "nowhere"), "nowhere holds no evidence; `evidence create` makes it"),
        (("verify", *TRUST), "give --state or --record"),
        (("verify", "--record", "chain.pem", *TRUST), "name the file that the record is about"),
        (("verify", "--record", "chain.pem", "--base", "x", *TRUST, "data/one"), "--base goes with --state"),
        (("renew", "--state", "nowhere", "--drop-missing", *TRUST), "--drop-missing goes with --hash"),
        (("renew", "--state", "nowhere", "--all", "--batch", "1", *TRUST), "--all and --batch do not go together"),
        (("renew", "--state", "nowhere"), "--certificate-chain"),
        (("inspect",), "name records, or give --state"),
        (("add", "--state", "nowhere"), "name the files or folders to add"),
        (("export", "--state", "nowhere", "data/one"), "nowhere holds no evidence"),
        (("create", "--state", "data", "data/one"), "data is not empty; `evidence add` adds"),
    ],
    ids=["due", "verify", "no-file", "base", "drop", "both", "no-trust", "inspect", "add", "export", "create"],
)
def test_mistakes_are_one_line(shell: Shell, files: Path, arguments: tuple[str, ...], reason: str) -> None:
    outcome = shell("evidence", *arguments)
    assert outcome.code == 2, outcome
    assert outcome.err.startswith("timestamp-cli: ")
    assert outcome.err.count("\n") == 1
    assert reason in outcome.err


def test_a_directory_without_a_batch_verifies_nothing(shell: Shell, files: Path) -> None:
    assert shell("evidence", "create", *STATE).code == 0
    assert "proof holds no batch, so nothing was verified" in shell.fails(2, "evidence", "verify", *STATE, *TRUST)


def test_an_authority_that_is_away_leaves_nothing(shell: Shell, files: Path) -> None:
    with HttpTsa(lambda _: Answer(status=503)) as away:
        failed = shell("evidence", "create", *STATE, *server(away), "data")
    assert failed.code == 1
    assert list(Path("proof/batches").iterdir()) == []
    outcome = shell("evidence", "verify", "--record", "chain.pem", *TRUST, "data/one")
    assert (outcome.code, outcome.out) == (1, "")
    assert "is not an evidence record of RFC 4998" in outcome.err


def test_the_help_lists_what_each_command_says_of_itself() -> None:
    commands = all_commands(EVIDENCE)
    assert commands.keys() == EVIDENCE.lazy.keys()
    for name, lazy in EVIDENCE.lazy.items():
        assert commands[name].get_short_help_str(limit=500) == lazy.summary, name


def test_a_timestamp_that_nobody_verified_is_not_passed_off_as_verified(
    shell: Shell, files: Path, tsa: HttpTsa
) -> None:
    made = shell("evidence", "create", *STATE, *server(tsa), "data")
    assert made.code == 0, made.err
    assert made.err == (
        "timestamp-cli: not verified: no flag says whom to trust; timestamp-cli evidence verify does it later\n"
    )
