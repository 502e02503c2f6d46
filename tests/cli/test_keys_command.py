"""timestamp-server keys: ceremonies and destructions of signing keys, beside a plugin's commands for API keys."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from tests.cli.timestamp_shell import CHAIN, honest
from tsa_core.api import AuditError, ConfigError, LocalKeySigner
from tsa_core.cli import plugin_commands
from tsa_core.cli.audit.group import audit
from tsa_core.cli.keys.group import keys
from tsa_core.documents.ceremony.protocol import Protocol, key_fields
from tsa_core.paths.chains import subject_text
from tsa_core.protocol.signatures import key_fingerprint
from tsa_core.testing import shared_key
from tsa_core.testing.http_tsa import HttpTsa

PASSWORD = "correct horse battery staple"
CONFIG = """\
[audit]
sinks = ["auditfile"]
[audit.auditfile]
path = "trail.jsonl"
[signer.file]
password = { file = "password" }
"""
WHO = ("--attendee", "Ada Lovelace=security officer", "--attendee", "Grace Hopper=auditor")

needs_file = pytest.mark.plugin("file", "auditfile")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("TSA_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tsa.toml").write_text(CONFIG)
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "roots.pem").write_bytes(CHAIN.pem)
    return tmp_path


@pytest.fixture
def tsa() -> Iterator[HttpTsa]:
    with HttpTsa(honest) as server:
        yield server


def run(*arguments: str) -> Result:
    return CliRunner().invoke(keys, arguments)


def hold(*arguments: str, output: str = "c.json") -> Result:
    return run("ceremony", "--config", "tsa.toml", *WHO, "--key", "file:tsa.key", "--output", output, *arguments)


def good(result: Result) -> Result:
    assert result.exit_code == 0, f"{result.output} {result.exception!r}"
    return result


def content(path: str = "c.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(path).read_text())["content"]
    return found


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
    from tsa_core.cli.setting_origins import without_secret_parts

    assert without_secret_parts("pkcs11:token=t;object=o?pin-value=1234&module-path=/m") == (
        "pkcs11:token=t;object=o?pin-value=(hidden)&module-path=/m"
    )


def changed(path: str, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(Path(path).read_text())
    change(document)
    Path(path).write_text(json.dumps(document))


@needs_file
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["content"]["attendees"].pop(), "its signature does not fit"),
        (lambda d: d["content"]["key"].update(sha256="0" * 64), "is not that of its public key"),
        (lambda d: d["content"]["key"].update(public_key="AAAA"), "it has no public key that can be read"),
        (lambda d: d["content"].update(key=7), "it names no key"),
        (lambda d: d["content"].update(what="destroyed"), "its signature does not fit"),
        (lambda d: d["signature"].update(digest="sha512"), "its signature does not fit"),
        (lambda d: d["signature"].update(digest="md5"), "does not fit"),
        (lambda d: d.pop("signature"), "it is not signed"),
        (lambda d: d.update(format="x"), "of another version"),
        (lambda d: d.update(more=1), "more than a protocol has"),
        (lambda d: d["content"].update(x=1.5), "it is no protocol of a key ceremony"),
    ],
)
def test_a_protocol_that_was_changed_is_found(change: Callable[[dict[str, Any]], None], said: str) -> None:
    good(hold("--make", "ecdsa-p256"))
    changed("c.json", change)
    result = run("ceremony", "--verify", "c.json")
    assert result.exit_code == 1
    assert said in result.output


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the places of all texts of a JSON document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield from leaves(inner, (*path, name))
    if isinstance(value, str):
        yield path


def changes(document: dict[str, Any]) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Yield the document with each text changed, each removed, and each name of an object changed."""
    for *path, last in leaves(document):
        for change in ("text", "removed", "name"):
            other = json.loads(json.dumps(document))
            place = other
            for name in path:
                place = place[name]
            if change == "text":
                place[last] += "A"
            elif change == "removed":
                del place[last]
            elif isinstance(place, dict):
                place[f"{last}A"] = place.pop(last)
            else:
                continue
            yield (*path, last, change), other


@needs_file
def test_no_field_can_be_changed(tsa: HttpTsa) -> None:
    csr = ("--csr-out", "tsa.csr", "--org-name", "Example Ltd")
    good(hold("--make", "ecdsa-p256", *csr, "--tsa", tsa.url, "--tsa-roots", "roots.pem"))
    found = 0
    for place, document in changes(json.loads(Path("c.json").read_text())):
        if place[:2] == ("timestamp", "url") and place[-1] == "text":
            continue  # the address, of which --verify says that nothing proves it
        Path("changed.json").write_text(json.dumps(document))
        result = run("ceremony", "--verify", "changed.json", "--tsa-roots", "roots.pem")
        assert result.exit_code == 1, place
        assert isinstance(result.exception, SystemExit), place
        found += 1
    assert found > 60


@needs_file
def test_a_name_that_is_there_twice_is_refused() -> None:
    """One reader takes the first of the two, another the last."""
    good(hold("--make", "ecdsa-p256"))
    text = Path("c.json").read_text()
    Path("c.json").write_text(text.replace('"reason": ""', '"reason": "a lie",\n"reason": ""'))
    result = run("ceremony", "--verify", "c.json")
    assert result.exit_code == 1
    assert "it is no protocol of a key ceremony" in result.output


@needs_file
def test_what_was_not_checked_is_told_whatever_the_protocol_says() -> None:
    """Whoever has the key can sign a protocol that says nothing of it."""
    good(hold("--make", "ecdsa-p256"))
    protocol = Protocol.from_json(Path("c.json").read_bytes())
    signer = LocalKeySigner(shared_key("ecdsa-p256"), digest="sha256")
    key = {**protocol.content["key"], **key_fields(signer.public_key)}
    forged = Protocol(content={**protocol.content, "key": key, "not_checked": []}).signed(signer, timeout=10)
    Path("c.json").write_bytes(forged.to_json())
    checked = good(run("ceremony", "--verify", "c.json"))
    assert "not checked: Whether the persons named were there" in checked.stderr
    assert "not checked: Whether the module demands several persons" in checked.stderr
    assert "not checked: When it was written: it has no timestamp" in checked.stderr


@needs_file
def test_a_timestamp_of_another_protocol_is_found(tsa: HttpTsa) -> None:
    stamp = ("--tsa", tsa.url, "--tsa-roots", "roots.pem")
    good(hold("--make", "ecdsa-p256", *stamp))
    good(hold(*stamp, output="other.json"))
    reply = json.loads(Path("other.json").read_text())["timestamp"]["reply"]
    changed("c.json", lambda document: document["timestamp"].update(reply=reply))
    assert "NOT VERIFIED" in good(run("ceremony", "--verify", "c.json")).stdout
    result = run("ceremony", "--verify", "c.json", "--tsa-roots", "roots.pem")
    assert result.exit_code == 1
    assert "is not good" in result.output


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"[" * 100_000, b"\xff", b'{"format": "tsa-core key ceremony 1"}'])
def test_what_is_no_protocol_is_told_in_a_line(data: bytes) -> None:
    Path("c.json").write_bytes(data)
    result = run("ceremony", "--verify", "c.json")
    assert result.exit_code == 1
    assert "it" in result.output
    assert "Traceback" not in result.output


def test_control_characters_of_a_protocol_do_not_reach_the_terminal() -> None:
    key = {"sha256": "\x1b[31m"}
    document = {
        "format": "tsa-core key ceremony 1",
        "content": {"what": "\x1b[2J", "key": key, "not_checked": ["\x1b"]},
    }
    Path("c.json").write_text(json.dumps(document))
    result = run("ceremony", "--verify", "c.json")
    assert result.exit_code == 1
    assert "\x1b" not in result.output


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
    assert any("a wrong PIN" in text for text in said["not_checked"])
    checked = good(run("ceremony", "--verify", "d.json"))
    assert "signature: none: a key that is destroyed signs nothing" in checked.stdout
    assert "not checked: Who wrote it: nothing signs it." in checked.stderr
    assert "not checked: When it was written" in checked.stderr


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
