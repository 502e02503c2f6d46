"""timestamp-server keys: ceremonies and destructions of signing keys, beside a plugin's commands for API keys."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from tests.cli.ceremonies import CONFIG, PASSWORD, WHO, content, good, hold, needs_file, run
from tests.cli.timestamp_shell import CHAIN, honest
from tsa_core.api import AuditError, ConfigError
from tsa_core.cli import plugin_commands
from tsa_core.cli.audit.group import audit
from tsa_core.cli.keys.group import keys
from tsa_core.documents.ceremony.protocol import Protocol
from tsa_core.paths.chains import subject_text
from tsa_core.protocol.signatures import key_fingerprint
from tsa_core.testing.http_tsa import HttpTsa

pytestmark = pytest.mark.usefixtures("key_folder")


# -- ceremonies ---------------------------------------------------------------------------------------------------


@needs_file
def test_a_key_is_made_and_signs_the_protocol_of_it(tsa: HttpTsa) -> None:
    made = good(
        hold(
            *("--make", "ecdsa-p384", "--reason", "INC-4711", "--tsa", tsa.url, "--tsa-roots", "roots.pem"),
            *("--csr-out", "tsa.csr", "--org-name", "Example Ltd", "--country", "DE"),
        )
    )
    said = content()
    assert said["what"] == "made"
    assert said["attendees"][1] == {"name": "Grace Hopper", "role": "auditor"}
    assert said["reason"] == "INC-4711"
    assert said["key"]["kind"] == "EC secp384r1"
    assert said["request"]["subject"] == "CN=Timestamp Authority,O=Example Ltd,C=DE"
    assert [step["step"] for step in said["steps"]][:2] == ["make the key", "open the key and read its public half"]
    assert set(said["software"]) >= {"tsa-core", "Python", "cryptography", "tsa-signer-file"}
    assert any("m of n" in text for text in said["not_checked"])
    assert PASSWORD not in Path("c.json").read_text() + Path("c.md").read_text() + made.output
    checked = good(run("ceremony", "--verify", "c.json", "--tsa-roots", "roots.pem"))
    assert "signature: good, by the key itself" in checked.stdout
    assert f"timestamp: good, of {subject_text(CHAIN.signer.certificate)} at 2" in checked.stdout
    assert f"not checked: Whether the timestamp came from {tsa.url}" in checked.stderr
    assert "not checked: Of the timestamp: whether the signer's certificate was revoked" in checked.stderr
    protocol = Protocol.from_json(Path("c.json").read_bytes())
    assert f"key (SHA-256): {key_fingerprint(protocol.public_key())}" in checked.stdout
    assert "not checked: Whether the persons named were there" in checked.stderr


@needs_file
def test_the_trail_and_the_report_tell_of_it() -> None:
    good(hold("--make", "ecdsa-p256"))
    protocol = Protocol.from_json(Path("c.json").read_bytes())
    report = CliRunner().invoke(audit, ["report", "--from", "2020-01-01", "--config", "tsa.toml"])
    assert report.exit_code == 0, report.output
    assert "Ada Lovelace (security officer), Grace Hopper (auditor)" in report.stdout
    assert protocol.fingerprint in report.stdout
    assert content()["key"]["sha256"] in report.stdout


@needs_file
def test_a_key_that_was_there_is_taken_and_the_protocol_says_so() -> None:
    good(hold("--make", "ecdsa-p256"))
    taken = good(hold(output="taken.json"))
    assert taken.exit_code == 0
    assert content("taken.json")["what"] == "taken"
    assert "Where, when and how the key was made: it was there before." in content("taken.json")["not_checked"]
    assert content("taken.json")["key"]["sha256"] == content()["key"]["sha256"]


@needs_file
def test_nothing_is_made_when_the_protocol_could_not_be_written() -> None:
    Path("c.md").write_text("mine")
    result = hold("--make", "ecdsa-p256")
    assert "it exists already, and is not written over" in str(result.exception)
    assert not Path("tsa.key").exists()


@needs_file
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--csr-out", "nowhere/a.csr", "--org-name", "Example Ltd"), "there is no such directory"),
        (("--csr-out", "roots.pem", "--org-name", "Example Ltd"), "it exists already"),
        (("--csr-out", "a.csr", "--org-name", "Example Ltd", "--country", "Germany"), "a name in a certificate"),
        (("--csr-out", "a.csr", "--org-name", "Example Ltd", "--common-name", "x" * 65), "a name in a certificate"),
        (("--tsa", "http://127.0.0.1:1/", "--tsa-roots", "no.pem"), "roots of a TSA cannot be read"),
        (("--tsa", "http://127.0.0.1:1/", "--tsa-roots", "password"), "password"),
    ],
)
def test_nothing_is_made_when_what_follows_could_not_be_done(flags: tuple[str, ...], said: str) -> None:
    result = hold("--make", "ecdsa-p256", *flags)
    assert result.exit_code != 0
    assert said in f"{result.output} {result.exception}"
    assert not Path("tsa.key").exists()
    assert not Path("c.json").exists()


@needs_file
def test_a_key_that_was_made_is_told_before_anything_else_can_go_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise ConfigError("the file cannot be written: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("tsa_core.cli.keys.ceremony.write_protocol", full)
        result = hold("--make", "ecdsa-p256")
    assert "No space left" in str(result.exception)
    assert "file:tsa.key is made; should this end without a protocol, hold the ceremony without --make" in result.stderr
    good(hold())
    assert content()["what"] == "taken"


@needs_file
def test_a_protocol_of_another_process_is_not_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ceremonies that began at the same time, with the same --output."""
    from tsa_core.cli.keys.protocol_parts import stamped

    def slow(*arguments: Any) -> Any:
        Path("c.json").write_text("the other's")
        return stamped(*arguments)

    monkeypatch.setattr("tsa_core.cli.keys.ceremony.stamped", slow)
    result = hold("--make", "ecdsa-p256")
    assert "c.json: it exists already" in str(result.exception)
    assert Path("c.json").read_text() == "the other's"
    assert not Path("c.md").exists()


@needs_file
def test_a_sink_that_does_not_take_the_event_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from tsa_audit_file.sink import FileAuditSink

    def fail(*_: object) -> None:
        raise AuditError("the disk is full")

    monkeypatch.setattr(FileAuditSink, "event", fail)
    result = hold("--make", "ecdsa-p256")
    assert result.exit_code == 1
    assert "the protocol is written, but not told to the trail: auditfile: the disk is full" in result.output
    assert Path("c.json").exists()


@needs_file
def test_a_sink_that_keeps_no_events_is_no_trail(monkeypatch: pytest.MonkeyPatch) -> None:
    from tsa_audit_file.sink import FileAuditSink

    monkeypatch.setattr(FileAuditSink, "keeps_events", False)
    assert "`audit report`, will not tell of this" in good(hold("--make", "ecdsa-p256")).stderr
    assert "key.ceremony" not in Path("trail.jsonl").read_text()


@needs_file
def test_settings_of_the_profile_that_names_the_key_count_for_making_too() -> None:
    profile = '[profiles.default]\nsigner = "file:tsa.key"\n[profiles.default.signer_options]\n'
    Path("tsa.toml").write_text(CONFIG.replace("[signer.file]\n", profile))
    good(hold("--make", "ecdsa-p256"))
    assert content()["what"] == "made"


@needs_file
def test_credentials_of_the_other_authority_are_in_no_file(tsa: HttpTsa) -> None:
    url = tsa.url.replace("://", "://operator:hunter2@")
    result = good(hold("--make", "ecdsa-p256", "--tsa", url, "--tsa-roots", "roots.pem"))
    texts = [path.read_text("utf-8") for path in Path().iterdir() if path.name not in {"tsa.key", "password"}]
    assert "hunter2" not in "".join([*texts, result.output])


@needs_file
def test_nothing_is_made_when_the_trail_could_not_tell_of_it() -> None:
    Path("tsa.toml").write_text(CONFIG.replace("trail.jsonl", "password/trail.jsonl"))
    result = hold("--make", "ecdsa-p256")
    assert "audit.auditfile.path" in str(result.exception)
    assert not Path("tsa.key").exists()
    assert not Path("c.json").exists()


@needs_file
def test_without_its_timestamp_the_protocol_is_written_and_the_exit_code_is_1() -> None:
    with HttpTsa(honest) as server:
        url = server.url
    result = hold("--make", "ecdsa-p256", "--tsa", url, "--tsa-roots", "roots.pem")
    assert result.exit_code == 1
    assert "the protocol is written, but was not timestamped" in result.output
    assert "signature: good" in good(run("ceremony", "--verify", "c.json")).stdout
    assert "it has no timestamp" in run("ceremony", "--verify", "c.json", "--tsa-roots", "roots.pem").output


@needs_file
def test_pins_in_a_key_uri_are_not_told() -> None:
    from tsa_core.secret_parts import without_secret_parts

    assert without_secret_parts("pkcs11:token=t;object=o?pin-value=1234&module-path=/m") == (
        "pkcs11:token=t;object=o?pin-value=(hidden)&module-path=/m"
    )


@needs_file
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ceremony", "--output", "c.json"], "--key URI is missing"),
        (["ceremony", "--key", "file:k"], "--output FILE.json is missing"),
        (["ceremony", "--key", "file:k", "--output", "c.json"], "who is there?"),
        (["ceremony", "--key", "file:k", "--output", "c.json", "--attendee", "Ada"], "--attendee is 'NAME=ROLE'"),
        (["ceremony", "--key", "file:k", "--output", "c.json", "--tsa", "http://x"], "go together"),
        (["ceremony", "--key", "file:k", "--output", "c.md"], "--output names the JSON"),
        (["ceremony", "--key", "file:k", "--csr-out", "a.csr"], "--csr-out and --org-name go together"),
        (["ceremony", "--key", "file:k", "--country", "DE"], "--country and --common-name are for the request"),
        (["ceremony", "--key", "file:k", "--output", "c.json", "--attendee", "Ada\nBob=x"], "on one line"),
        (
            ["ceremony", "--key", "file:k", "--output", "c.json", "--csr-out", "./c.md", "--org-name", "x"],
            "--csr-out names the file of the protocol",
        ),
        (["ceremony", "--verify", "c.json", "--key", "file:k"], "--verify goes with --tsa-roots alone"),
        (["ceremony", "--verify", "c.json", "--common-name", "x"], "--verify goes with --tsa-roots alone"),
        (["destroyed", "--how", "x", "--output", "d.json", *WHO], "which key?"),
    ],
)
def test_flags_that_need_each_other_are_told(arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.plugin("memory")
def test_a_plugin_that_makes_no_keys_says_so() -> None:
    result = run("ceremony", "--key", "memory:", "--make", "ecdsa-p256", "--output", "c.json", *WHO)
    assert "the signer 'memory' makes no keys" in str(result.exception)
    assert not Path("c.json").exists()


# -- destruction --------------------------------------------------------------------------------------------------


def destroy(*arguments: str) -> Result:
    flags = ("--config", "tsa.toml", "--ceremony", "c.json", "--how", "shredded", "--output", "d.json")
    return run("destroyed", *flags, *WHO, *arguments)


@needs_file
def test_a_key_that_is_gone_has_a_protocol_and_an_event() -> None:
    good(hold("--make", "ecdsa-p256"))
    Path("tsa.key").unlink()
    good(destroy("--key", "file:tsa.key"))
    said = content("d.json")
    assert said["what"] == "destroyed"
    assert said["key"]["sha256"] == content()["key"]["sha256"]
    assert said["steps"][1]["outcome"].startswith("it cannot be opened: ")
    assert '"kind":"key.destroyed"' in Path("trail.jsonl").read_text()
    assert any("a missing permission" in text for text in said["not_checked"])
    checked = good(run("ceremony", "--verify", "d.json"))
    assert "signature: none: a key that is destroyed signs nothing" in checked.stdout
    assert "not checked: Who wrote it: nothing signs it." in checked.stderr
    assert "not checked: When it was written" in checked.stderr


@needs_file
def test_a_password_that_is_wrong_says_nothing_of_the_key() -> None:
    good(hold("--make", "ecdsa-p256"))
    Path("password").write_text("another one")
    result = destroy("--key", "file:tsa.key")
    assert result.exit_code == 1
    assert "whether the key is gone cannot be said" in result.output
    assert not Path("d.json").exists()


@needs_file
def test_a_module_that_cannot_be_asked_says_nothing_of_the_key() -> None:
    good(hold("--make", "ecdsa-p256"))
    result = destroy("--key", "sundial:tsa")
    assert result.exit_code == 1
    assert "whether the key is gone cannot be said" in result.output
    assert not Path("d.json").exists()


@needs_file
def test_a_key_that_can_be_opened_is_not_destroyed() -> None:
    good(hold("--make", "ecdsa-p256"))
    result = destroy("--key", "file:tsa.key")
    assert result.exit_code == 1
    assert "the key is still there and can be opened" in result.output
    assert not Path("d.json").exists()


@needs_file
def test_without_a_look_the_protocol_says_that_nobody_looked() -> None:
    good(hold("--make", "ecdsa-p256"))
    good(destroy())
    assert "Whether the key is gone: nothing was opened (--key URI)." in content("d.json")["not_checked"]


# -- with and without a plugin of the same name -------------------------------------------------------------------


@pytest.fixture
def plugin_group(monkeypatch: pytest.MonkeyPatch) -> click.Group:
    @click.group()
    def added() -> None:
        """A plugin's."""

    @added.command("new")
    def new() -> None:
        """Make an API key."""
        click.echo("an API key")

    @added.command("ceremony")
    def ceremony() -> None:
        """Never reached."""

    monkeypatch.setattr("tsa_core.cli.keys.group.load_plugin_command", lambda *_: added)
    return added


def test_a_plugins_commands_are_taken_in_and_hide_none(plugin_group: click.Group) -> None:
    assert run("new").stdout == "an API key\n"
    text = run("--help").stdout
    assert text.index("ceremony") < text.index("Clients' API keys:") < text.index("Make an API key.")
    assert text.count("ceremony") == 1
    assert "--attendee" in run("ceremony", "--help").stdout


def test_without_the_plugin_its_commands_are_told_how_to_get(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsa_core.cli.keys.group.load_plugin_command", lambda *_: None)
    result = run("new")
    assert result.exit_code == 2
    assert "tsa-guard" in result.output
    assert "--attendee" in run("ceremony", "--help").stdout
    assert "API keys:" not in run("--help").stdout


@pytest.mark.plugin("keys")
def test_the_plugin_of_this_repository_is_taken_in() -> None:
    assert {"new", "list", "revoke", "ceremony", "destroyed"} <= set(keys.list_commands(click.Context(keys)))
    assert "--tenant" in run("new", "--help").stdout
    assert plugin_commands.__name__ in sys.modules
