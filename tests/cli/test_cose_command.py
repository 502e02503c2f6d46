"""timestamp-cli cose stamp and verify."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.cli.timestamp_shell import Shell
from tsa_core.testing.http_tsa import HttpTsa

pytestmark = pytest.mark.package("cbor2")
MESSAGE = b"\xd2\x84\x43\xa1\x01\x26\xa0\x45hello\x58\x40" + bytes(64)
TRUST = ("--certificate-chain", "chain.pem")


@pytest.fixture
def stamped(shell: Shell, tsa: HttpTsa) -> str:
    Path("a.cose").write_bytes(MESSAGE)
    outcome = shell("cose", "stamp", "--message", "a.cose", "--out", "b.cose", "--timestamp_server", tsa.url)
    assert outcome.out == "3161-ctt of the COSE_Sign1's signature made at 2025-06-01 12:00:00 UTC\nWrote b.cose\n"
    return "b.cose"


def test_stamp_and_verify(shell: Shell, stamped: str) -> None:
    outcome = shell("cose", "verify", "--message", stamped, *TRUST)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("Successfully verified timestamp 3161-ctt in b.cose\nTime: 2025-06-01T12:00:00Z\n")
    assert outcome.out.endswith("Not checked: the signature of the COSE_Sign1\n")
    document = json.loads(shell("cose", "verify", "--message", stamped, *TRUST, "--format", "json").out)
    assert document["Verified"] is True
    assert [each["Parameter"] for each in document["Timestamps"]] == ["3161-ctt"]


def test_a_changed_signature(shell: Shell, stamped: str) -> None:
    data = Path(stamped).read_bytes()
    Path(stamped).write_bytes(data[:-1] + b"\x01")
    assert "3161-ctt: the artifact's sha256 digest" in shell.fails(1, "cose", "verify", "--message", stamped, *TRUST)
    outcome = shell("cose", "verify", "--message", stamped, *TRUST, "--format", "json")
    assert json.loads(outcome.out)["Rule"] == "V2"


def test_a_header_for_a_message_that_is_to_be_signed(shell: Shell, tsa: HttpTsa) -> None:
    import cbor2

    arguments = ("cose", "stamp", "--payload", "a.txt", "--out", "header.cbor")
    assert shell(*arguments, "--timestamp_server", tsa.url).code == 0
    header = Path("header.cbor").read_bytes()
    assert set(cbor2.loads(header)) == {269}
    Path("a.cose").write_bytes(cbor2.dumps(cbor2.CBORTag(18, [header, {}, None, b"signature"])))
    verify = ("cose", "verify", "--message", "a.cose", *TRUST)
    assert shell(*verify, "--payload", "a.txt").code == 0
    assert "has to be given" in shell.fails(1, *verify)


def test_mistakes(shell: Shell, stamped: str, tsa: HttpTsa) -> None:
    assert "--force" in shell.fails(2, "cose", "stamp", "--message", "a.cose", "--out", "b.cose")
    to = ("--out", "c.cose", "--timestamp_server", tsa.url)
    assert "give --message" in shell.fails(2, "cose", "stamp", *to)
    assert "already" in shell.fails(1, "cose", "stamp", "--message", stamped, *to)
    assert len(tsa.received) == 1  # of the first timestamp; a message that has one is refused before anybody is asked
    Path("a.cose").write_bytes(MESSAGE)
    assert "holds no timestamp" in shell.fails(1, "cose", "verify", "--message", "a.cose", *TRUST)
    assert "no effect" in shell.fails(2, "cose", "verify", "--message", stamped, "--payload", "a.txt", *TRUST)
    assert "is no array" in shell.fails(1, "cose", "verify", "--message", "a.txt", *TRUST)


def test_flags_before_the_group_and_in_the_configuration(shell: Shell, tsa: HttpTsa) -> None:
    """A group's commands get what stands before the group's name, and what a file sets for all or for the group."""
    Path("a.cose").write_bytes(MESSAGE)
    arguments = ("cose", "stamp", "--message", "a.cose", "--out", "b.cose")
    assert shell("--timestamp_server", tsa.url, *arguments).code == 0
    Path("c.toml").write_text(f'timestamp_server = "{tsa.url}"\n[cose]\nhash = "sha512"\n')
    for config in (("--config", "c.toml", *arguments), (*arguments, "--config", "c.toml")):
        Path("b.cose").unlink()
        assert shell(*config).code == 0
    assert len(tsa.received) == 3
    assert len(tsa.received[2].body) > len(tsa.received[0].body)
    Path("c.toml").write_text('[cose]\nhaste = "sha512"\n')
    assert "cose.haste" in shell.fails(2, *arguments, "--config", "c.toml")


def test_the_extra_is_named(shell: Shell, stamped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cbor2", None)
    assert "tsa-core[cose]" in shell.fails(1, "cose", "verify", "--message", stamped, *TRUST)
