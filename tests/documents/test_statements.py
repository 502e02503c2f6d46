"""timestamp-server policy-document: the practice statement and the disclosure statement of a configuration."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.cli.timestamp_shell import CHAIN
from tsa_core.cli.policy_document import policy_document
from tsa_core.config import Settings
from tsa_core.documents.blocks import GAP
from tsa_core.documents.statements import STATEMENTS, Statement, template_text
from tsa_core.documents.statements.promises import promises

pytestmark = pytest.mark.plugin("file", "auditfile", "ntp")

CONFIG = """\
[clock]
monitors = ["ntp"]
max_holdover = "30m"
[clock.ntp]
servers = ["time.example.org"]
[audit]
sinks = ["auditfile"]
anchor_urls = ["https://stamps.example.net/"]
anchor_roots = "chain.pem"
[audit.auditfile]
path = "audit.jsonl"
key = "hunter2-and-more-of-it"
[profiles.default]
signer = "file:tsa.key"
certificate_chain = "chain.pem"
policies = ["1.3.6.1.4.1.99999.1"]
accuracy = "250ms"
hashes = ["sha512"]
[signer.file]
password = "hunter2"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("TSA_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tsa.toml").write_text(CONFIG)
    (tmp_path / "chain.pem").write_bytes(CHAIN.pem)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(policy_document, ["--config", "tsa.toml", *arguments])


@pytest.mark.parametrize("kind", STATEMENTS)
@pytest.mark.parametrize("form", ["markdown", "html"])
def test_the_configuration_fills_what_it_knows_and_no_secret_is_told(folder: Path, kind: str, form: str) -> None:
    result = run("--kind", kind, "--format", form)
    assert result.exit_code == 0, result.output
    for fact in ("1.3.6.1.4.1.99999.1", "250 ms", "2.16.840.1.101.3.4.2.3", "timeNotAvailable"):
        assert fact in result.stdout, fact
    assert "2.16.840.1.101.3.4.2.1)" not in result.stdout, "SHA-256 is not accepted"
    assert "hunter2" not in result.output
    assert "{{" not in result.stdout


def test_the_practice_statement_tells_clock_records_and_anchors(folder: Path) -> None:
    said = run().stdout
    assert "time.example.org" in said
    assert "relied upon for 30 minutes" in said
    assert "https://stamps.example.net/" in said
    assert "`file:tsa.key`" in said
    assert "| not qualified | none |" in said


def test_a_conformance_that_is_enforced_is_told(folder: Path) -> None:
    Path("tsa.toml").write_text(CONFIG.replace('accuracy = "250ms"', 'conformance = ["sigstore"]'))
    assert "| not qualified | sigstore |" in run().stdout


def test_gaps_are_marked_counted_and_listed(folder: Path) -> None:
    result = run()
    marked = result.stdout.count(f"> **{GAP}**")
    listed = re.findall(r"^to be completed: (\w+): ", result.stderr, re.MULTILINE)
    assert marked == len(listed) == len(set(listed)) > 20
    assert f"{marked} of {marked} gaps are to be completed" in result.stderr
    assert run("--complete").exit_code == 1


@pytest.mark.parametrize("kind", STATEMENTS)
def test_answers_complete_a_statement(folder: Path, kind: Statement) -> None:
    asked = run("--questions").stdout
    keys = re.findall(r"^# (\w+) = ", asked, re.MULTILINE)
    Path("answers.toml").write_text("".join(f'{key} = "Answer to {key}.\\n\\nSecond *part*."\n' for key in keys))
    result = run("--kind", kind, "--answers", "answers.toml", "--complete")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert GAP not in result.stdout
    assert "Answer to liability." in result.stdout
    assert "\n\nSecond \\*part\\*." in result.stdout


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ('liabilty = "none"', "nothing asks for 'liabilty'; did you mean liability?"),
        ("liability = 3", "an answer is a text that is not empty"),
        ('liability = " "', "an answer is a text that is not empty"),
        ("liability = ", "it is no TOML"),
    ],
)
def test_wrong_answers_are_errors(folder: Path, answers: str, said: str) -> None:
    Path("answers.toml").write_text(answers)
    result = run("--answers", "answers.toml")
    assert result.exit_code != 0
    assert said in str(result.exception)
    assert result.stdout == ""


def test_what_is_no_file_is_not_replaced_by_the_document(folder: Path) -> None:
    """--output /dev/null by root would leave the machine without it."""
    os.mkfifo("pipe")
    result = run("--output", "pipe")
    assert "pipe: this is a pipe, a device or a folder" in str(result.exception)
    assert Path("pipe").is_fifo()
    assert "/dev/no-such-device: this is a pipe, a device" in str(run("--output", "/dev/no-such-device").exception)
    assert run("--output", "statement.md").exit_code == 0
    assert run("--output", "statement.md", "--kind", "disclosure").exit_code == 0, "a file is"
    assert "TSA disclosure statement" in Path("statement.md").read_text()


def test_without_certificates_the_authority_is_a_question(folder: Path) -> None:
    result = CliRunner().invoke(policy_document, ["--kind", "disclosure"])
    assert result.exit_code == 0, result.output
    assert "No profile has a certificate chain" in result.stdout
    assert "to be completed: authority: The authority's name" in result.stderr


def test_a_plugin_that_is_not_installed_is_named(folder: Path) -> None:
    Path("tsa.toml").write_text(CONFIG.replace('monitors = ["ntp"]', 'monitors = ["ntp", "sundial"]'))
    result = run()
    assert result.exit_code == 0, result.output
    assert "sundial: not installed here" in result.stdout


@pytest.mark.parametrize("kind", STATEMENTS)
def test_every_directive_of_the_templates_is_understood(folder: Path, kind: Statement) -> None:
    text = template_text(kind)
    assert text.count("{{") == len(re.findall(r"\{\{(?:[a-z_]+|table [a-z_]+|gap [a-z_]+: [^{}]+)\}\}", text))


def settings(**clock: object) -> Settings:
    return Settings.model_validate({"profiles": {"default": {"signer": "file:k"}}, "clock": clock})


@pytest.mark.parametrize(
    ("clock", "said"),
    [
        ({"monitors": ["ntp"], "on_failure": "warn"}, "the stated accuracy is not guaranteed"),
        ({"unmonitored_step": "warn"}, "the stated accuracy is not guaranteed"),
        ({"on_failure": "warn"}, "the stated accuracy is not guaranteed"),
        ({"monitors": ["ntp"], "unmonitored_step": "warn"}, "no time-stamp is given: requests are refused"),
        ({"monitors": ["ntp"], "widen_accuracy": True}, "the wider accuracy stands in the time-stamp"),
        ({"monitors": ["ntp"]}, "no time-stamp is given: requests are refused"),
        ({}, "Whether the clock is right, the service cannot tell"),
    ],
)
def test_the_sentence_about_the_gate_follows_the_settings(clock: dict[str, object], said: str) -> None:
    texts, _ = promises(settings(**clock), revocable=False, chained=())
    assert said in texts["clock_gate"]
    assert "no address" in texts["revocation_promise"]


def test_nothing_is_said_of_records_that_only_a_plugin_knows() -> None:
    found = Settings.model_validate(
        {"profiles": {"default": {"signer": "file:k"}}, "audit": {"sinks": ["auditfile", "other"]}}
    )
    texts, unknown = promises(found, revocable=True, chained={"auditfile"})
    assert texts["audit_chain"].startswith("The records of auditfile are chained by hashes")
    assert "What the records of other hold of those who ask is not known" in texts["privacy"]
    assert "audit_chain" not in unknown
    texts, unknown = promises(found, revocable=True, chained=())
    assert "What the records of auditfile, other hold" in unknown["audit_chain"]
    assert "Network addresses" not in texts["privacy"]
    assert "Whether auditfile, other publish" in texts["transparency"]


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ({}, "a line for each request, with the network address."),
        ({"digest": True}, "with the network address and the digest."),
        ({"access": False}, ""),
        ({"level": "warning"}, ""),
    ],
)
def test_what_the_log_holds_of_those_who_ask_is_told(log: dict[str, object], said: str) -> None:
    found = Settings.model_validate({"profiles": {"default": {"signer": "file:k"}}, "log": log})
    texts, _ = promises(found, revocable=True, chained=())
    assert "selects no audit sink that would record who asked" in texts["privacy"]
    assert said in texts["privacy"]
    assert ("network address" in texts["privacy"]) == bool(said)


def test_a_clock_that_is_not_trusted_stops_nothing_where_the_settings_say_so(folder: Path) -> None:
    Path("tsa.toml").write_text(CONFIG.replace("max_holdover", 'on_failure = "warn"\nmax_holdover'))
    for kind in STATEMENTS:
        said = run("--kind", kind).stdout
        assert "time-stamps are given all the same" in said
        assert "o time-stamp is given while" not in said


def test_a_measured_accuracy_is_told_with_its_ceiling(folder: Path) -> None:
    measured = 'accuracy = "measured"\naccuracy_ceiling = "300ms"\nfraction_digits = 3'
    Path("tsa.toml").write_text(CONFIG.replace('accuracy = "250ms"', measured))
    assert "measured for each time-stamp, 300 ms at most" in run().stdout


def test_lengths_of_time_are_told_in_words() -> None:
    texts, _ = promises(settings(monitors=["ntp"], max_holdover=timedelta(hours=1)), revocable=True, chained=())
    assert "relied upon for 1 hour," in texts["clock_promise"]
