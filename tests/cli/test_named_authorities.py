"""Authorities and trust by name: --tsa, --roots, the system's store, the configuration file, certchain."""

from __future__ import annotations

import hashlib
import json
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from tests.cli.timestamp_shell import CHAIN, Shell
from tests.client.lying_server import Certificates
from tsa_core.cli.timestamp import authorities
from tsa_core.cli.timestamp.certchain import in_order
from tsa_core.testing.http_tsa import Answer, HttpTsa

ROOT = CHAIN.root.certificate.public_bytes(Encoding.PEM)
STAMP = ("timestamp", "--artifact", "a.txt", "--out", "r.tsr", "--force")
VERIFY = ("verify", "--artifact", "a.txt", "--timestamp", "r.tsr")


@pytest.fixture
def own(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration file that is read unasked."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(Path.cwd() / "xdg"))
    Path("xdg").mkdir()
    return Path("xdg/timestamp-cli.toml")


@pytest.fixture
def store(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of certificates in the place of the system's."""
    Path("store.pem").write_bytes(b"# A comment\n" + ROOT)
    monkeypatch.setenv("SSL_CERT_FILE", "store.pem")
    return Path("store.pem")


def settings(own: Path, tsa: HttpTsa, *more: str) -> None:
    lines = ["[authorities.acme]", f'url = "{tsa.url}"', 'trust = "acme"', "[trusts.acme]", 'roots = "root.pem"', *more]
    own.write_text("\n".join(lines))
    Path("root.pem").write_bytes(ROOT)


def test_an_authority_of_the_configuration_file_is_asked_and_trusted(shell: Shell, tsa: HttpTsa, own: Path) -> None:
    settings(own, tsa)
    assert shell(*STAMP, "--tsa", "acme").code == 0
    assert len(tsa.received) == 1
    assert shell(*VERIFY, "--tsa", "acme").code == 0
    assert shell(*VERIFY, "--trust", "acme").code == 0
    listed = json.loads(shell("tsa", "list", "--format", "json").out)["Authorities"]
    assert [each["URL"] for each in listed if each["Name"] == "acme"] == [tsa.url]
    Path("root.pem").write_bytes(Certificates(Path.cwd()).ca.read_bytes())
    assert "the reply must not be used" in shell(*STAMP, "--tsa", "acme").err, "verified before it is written"


def test_a_flag_wins_over_the_file_whatever_names_it(shell: Shell, tsa: HttpTsa, own: Path) -> None:
    settings(own, tsa)
    own.write_text('trust = "acme"\ntimestamp_server = "http://127.0.0.1:1"\n' + own.read_text())
    assert shell(*STAMP, "--tsa", "acme").code == 0
    assert shell(*VERIFY).code == 0
    assert shell(*VERIFY, "--certificate-chain", "chain.pem").code == 0
    Path("empty.pem").touch()
    assert shell(*VERIFY, "--roots", "empty.pem").code == 1
    own.write_text('[timestamp]\ntsa = "acme"\n' + own.read_text().partition("\n")[2].partition("\n")[2])
    assert shell(*STAMP).code == 0
    assert shell(*STAMP, "--timestamp_server", tsa.origin).code == 0
    assert [received.path for received in tsa.received] == ["/tsa", "/tsa", "/api/v1/timestamp"]
    message = shell.fails(2, *STAMP, "--tsa", "acme", "--timestamp_server", tsa.url)
    assert "--tsa and --timestamp_server both say whom to ask" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[authorities.a]\ntrust = 'x'", "[authorities.a] needs url"),
        ("[authorities.a]\nurl = 'http://a'\nroot = 'x'", "[authorities.a] has a setting that does not exist: root"),
        ("[trusts.a]\nroots = ['x']", "[trusts.a] roots has to be text"),
        ("trusts = 'x'", "trusts has to be tables, [trusts.NAME]"),
        ("[trust.a]\nroots = 'x'", "a setting that does not exist: trust"),
        ("outt = 'x'", "a setting that does not exist: outt"),
    ],
)
def test_mistakes_in_the_configuration_file_are_told(shell: Shell, own: Path, text: str, said: str) -> None:
    own.write_text(text)
    assert said in shell.fails(2, *VERIFY)


def test_settings_of_the_file_are_passed_over_where_they_have_no_effect(
    shell: Shell, tsa: HttpTsa, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ['out = "r.tsr"', "[timestamp]", 'out_dir = "proofs"', "threshold = 1", 'suffix = "tst"', "jobs = 2"]
    lines += ["[verify]", 'out_dir = "proofs"', 'report = "jsonl"', "fail_fast = true"]
    settings(own, tsa)
    own.write_text("\n".join(['tsa = "acme"', *lines, own.read_text()]))
    monkeypatch.setenv("TIMESTAMP_MAX_WAIT", "5s")
    assert shell("timestamp", "--artifact", "a.txt").code == 0
    assert shell(*VERIFY).code == 0
    assert shell("timestamp", "a.txt").code == 0
    assert Path("proofs/a.txt.ers").exists(), "what has an effect counts"
    assert json.loads(shell("verify", "a.txt").out)["Verified"] is True
    assert shell("timestamp", "a.txt", "--bundle", "b").code == 0
    assert shell("verify", "--bundle", "b").code == 0, "typed, it wins over the file's out_dir"
    assert "--jobs goes with FILEs" in shell.fails(2, "timestamp", "--artifact", "a.txt", "--jobs", "2")
    assert "--report goes with FILEs" in shell.fails(2, *VERIFY, "--report", "junit")


def test_two_files_that_are_read_unasked_are_one_too_many(shell: Shell, own: Path) -> None:
    own.touch()
    Path("home").mkdir()
    Path("home/.timestamp.yaml").touch()
    assert "one would be ignored" in shell.fails(2, *VERIFY)


def test_where_settings_come_from(shell: Shell, tsa: HttpTsa, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings(own, tsa, "[timestamp]", "jobs = 3", 'header = "X-Key: secret"')
    roots = 'roots = "https://user:secret@b.example/r.pem#sha256=00"'
    more = [
        "[git]",
        'hash = "sha512"',
        "[authorities.b]",
        'url = "https://user:secret@b.example/@"',
        "[trusts.b]",
        roots,
    ]
    own.write_text("\n".join(['timestamp_server = "https://user:secret@tsa.example"', own.read_text(), *more]))
    monkeypatch.setenv("TIMESTAMP_TIMEOUT", "5s")
    outcome = shell("config", "show")
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in outcome.out.splitlines()}
    origin = f"file {Path.cwd() / own}"
    assert rows["timeout"] == ["5s", "variable TIMESTAMP_TIMEOUT"]
    assert rows["timestamp.jobs"] == ["3", origin]
    assert rows["timestamp_server"] == ["https://tsa.example", origin]
    assert rows["authorities.acme.url"] == [tsa.url, origin]
    assert rows["authorities.b.url"] == ["https://b.example/@", origin]
    assert rows["trusts.b.roots"] == ["https://b.example/r.pem#sha256=00", origin]
    assert rows["git stamp.hash"] == ["sha512", origin]
    assert "secret" not in outcome.out
    assert "secret" not in shell("tsa", "list").out + shell("tsa", "list", "--format", "json").out
    document = json.loads(shell("config", "show", "--format", "json").out)
    assert document["File"] == str(Path.cwd() / own)
    assert len(document["Settings"]) == len(rows)
    monkeypatch.setenv("TIMESTAMP_TIMESTAMP_SERVER", "https://user:secret@a.example https://user:secret@b.example")
    outcome = shell("config", "show")
    assert "timestamp_server\thttps://a.example https://b.example\t" in outcome.out
    assert "secret" not in outcome.out


def test_the_system_store_and_its_pinned_certificates(
    shell: Shell, reply: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shell(*VERIFY, "--roots", "system").code == 0
    pinned = CHAIN.root.certificate.fingerprint(hashes.SHA256()).hex()
    known = authorities.known_authorities({})
    ours = {
        "pinned": authorities.Authority("pinned", "P", "http://127.0.0.1:1", roots=(pinned,)),
        "other": authorities.Authority("other", "O", "http://127.0.0.1:1", roots=("0" * 64,)),
    }
    monkeypatch.setattr(authorities, "known_authorities", lambda tables: {**known, **ours})
    assert shell(*VERIFY, "--tsa", "pinned").code == 0
    assert "none of the roots of other is in the system's store" in shell.fails(2, *VERIFY, "--tsa", "other")
    assert "no root of freetsa is known here" in shell.fails(2, *VERIFY, "--tsa", "freetsa")
    assert "did you mean digicert" in shell.fails(2, *VERIFY, "--tsa", "digicrt")
    store.write_bytes(b"nothing")
    assert "holds none that can be read" in shell.fails(2, *VERIFY, "--roots", "system")


def test_roots_at_an_address_must_have_their_fingerprint(
    shell: Shell, reply: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tsa_core.client.transport.fetch", lambda url, **_: ROOT)
    digest = hashlib.sha256(ROOT).hexdigest()
    assert shell(*VERIFY, "--roots", f"https://tsa.example/root.pem#sha256={digest}").code == 0
    assert "has the SHA-256" in shell.fails(2, *VERIFY, "--roots", f"https://tsa.example/root.pem#sha256={'0' * 64}")
    assert "64 hexadecimal digits" in shell.fails(2, *VERIFY, "--roots", "https://tsa.example/root.pem")


@pytest.mark.needs(
    ssl.get_default_verify_paths().cafile is not None or Path("/etc/ssl/certs/ca-certificates.crt").is_file(),
    "a system's store of certificates",
)
def test_the_shipped_authorities_are_pinned_in_this_systems_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this system has a store, every pin of ours that is in it is a self-signed CA certificate."""
    from tsa_core.cli.timestamp.system_store import system_roots

    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    pins = {pin for each in authorities.known_authorities({}).values() for pin in each.roots}
    assert pins
    assert all(len(pin) == 64 and int(pin, 16) for pin in pins)
    for certificate in system_roots(pins):
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        assert constraints.ca
        assert certificate.issuer == certificate.subject


def certificates(name: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(Path(name).read_bytes())


def test_certchain_from_a_server(shell: Shell, tsa: HttpTsa) -> None:
    tsa.answer = lambda _: Answer(body=CHAIN.pem, headers={"Content-Type": "application/pem-certificate-chain"})
    outcome = shell("certchain", "--timestamp_server", tsa.origin, "--out", "c.pem")
    assert outcome.code == 0
    assert tsa.received[0].path == "/api/v1/timestamp/certchain"
    ours = [CHAIN.signer.certificate, CHAIN.intermediate.certificate, CHAIN.root.certificate]
    assert certificates("c.pem") == ours
    assert CHAIN.root.certificate.fingerprint(hashes.SHA256()).hex() in outcome.err
    assert "not verified" in outcome.err
    assert "--force" in shell.fails(2, "certchain", "--timestamp_server", tsa.origin, "--out", "c.pem")
    assert "is not known" in shell.fails(2, "certchain", "--timestamp_server", tsa.url)
    assert in_order(ours[::-1]) == ours


def test_certchain_from_a_timestamp(shell: Shell, reply: str) -> None:
    arguments = ("certchain", "--timestamp", "r.tsr", "--out", "c.pem", "--format", "json")
    document: dict[str, Any] = json.loads(shell(*arguments).out)
    assert certificates("c.pem") == [CHAIN.signer.certificate, CHAIN.intermediate.certificate]
    assert [each["Root"] for each in document["Certificates"]] == [False, False]
    assert shell(*VERIFY, "--roots", "c.pem", "--intermediate-certificates", "c.pem").code == 0
    assert "--ca has no effect" in shell.fails(2, *arguments, "--force", "--ca", "chain.pem")
