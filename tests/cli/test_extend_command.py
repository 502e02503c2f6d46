"""timestamp-cli extend, and verify of what it wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.timestamp_shell import CHAIN, Shell, honest
from tsa_core.protocol.timestamped_data import read_timestamped_data
from tsa_core.testing.forged_revocation import crl, entry
from tsa_core.testing.http_tsa import Answer, HttpTsa

TRUST = ("--certificate-chain", "chain.pem")


@pytest.fixture
def now() -> Iterator[HttpTsa]:
    """An authority whose clock is right, which the first timestamp's does not have to be."""

    def answer(request: bytes) -> Answer:
        return honest(request, datetime.now(UTC).replace(microsecond=0))

    with HttpTsa(answer) as server:
        yield server


def extend(now: HttpTsa, *arguments: str) -> tuple[str, ...]:
    return ("extend", "--timestamp_server", now.url, *TRUST, *arguments)


def test_extended_twice_and_verified(shell: Shell, reply: str, now: HttpTsa) -> None:
    today = datetime.now(UTC)
    Path("a.crl").write_bytes(
        crl(CHAIN.intermediate, this_update=today - timedelta(days=1), next_update=today + timedelta(days=1))
    )
    first = shell(*extend(now, "--timestamp", reply, "--artifact", "a.txt", "--out", "a.tsd", "--crl", "a.crl"))
    assert first.code == 0, first.err
    assert first.err == ""
    assert first.out.startswith("Extended at ")
    assert "the first of 2 timestamps is of 2025-06-01 12:00:00 UTC\n" in first.out
    assert first.out.endswith("Wrote a.tsd; extend it again before 2039-12-27T00:00:00Z\n")
    archive = read_timestamped_data(Path("a.tsd").read_bytes())
    assert CHAIN.root.der in archive.layers[0].token
    assert Path("a.crl").read_bytes() in archive.layers[0].token
    second = shell(
        *extend(now, "--timestamp", "a.tsd", "--artifact", "a.txt", "--out", "a.tsd", "--hash", "sha512"),
        *("--content", "--format", "json"),
    )
    assert json.loads(second.out)["Layers"] == 3
    assert "whether the certificate of the timestamp before was revoked is not in the file" in second.err
    checked = shell("verify", "--timestamp", "a.tsd", *TRUST)
    assert checked.code == 0
    assert "Proof: proof: time: " in checked.out
    assert "Revocation: CN=Signer,O=tsa-core tests: good (CRL in the token)" in checked.out
    document = json.loads(shell("verify", "--timestamp", "a.tsd", *TRUST, "--format", "json").out)
    assert (document["Verified"], document["Layers"]) == (True, 3)
    assert document["Verdict"]["Proof"]["Proof"]["Proof"] is None


def test_evidence_for_the_last_layer_is_not_demanded_of_the_others(shell: Shell, reply: str, now: HttpTsa) -> None:
    today = datetime.now(UTC)
    Path("a.crl").write_bytes(
        crl(CHAIN.intermediate, this_update=today - timedelta(days=1), next_update=today + timedelta(days=1))
    )
    arguments = ("--artifact", "a.txt", "--out", "a.tsd")
    assert shell(*extend(now, "--timestamp", reply, *arguments)).code == 0
    again = extend(now, "--timestamp", "a.tsd", *arguments, "--crl", "a.crl")
    assert shell(*again).err == ""
    assert Path("a.crl").read_bytes() in read_timestamped_data(Path("a.tsd").read_bytes()).layers[1].token


def test_a_revoked_one_is_not_extended(shell: Shell, reply: str, now: HttpTsa) -> None:
    today = datetime.now(UTC)
    revoked = entry(CHAIN.signer, datetime(2024, 1, 1, tzinfo=UTC), 1)
    Path("a.crl").write_bytes(
        crl(CHAIN.intermediate, revoked, this_update=today, next_update=today + timedelta(days=1))
    )
    arguments = extend(now, "--timestamp", reply, "--artifact", "a.txt", "--out", "a.tsd", "--crl", "a.crl")
    assert "revoked" in shell.fails(1, *arguments)
    assert now.received == []


def test_a_layer_that_was_removed_is_refused(shell: Shell, reply: str, now: HttpTsa) -> None:
    for source in (reply, "a.tsd"):
        assert shell(*extend(now, "--timestamp", source, "--artifact", "a.txt", "--out", "a.tsd")).code == 0
    archive = read_timestamped_data(Path("a.tsd").read_bytes())
    Path("b.tsd").write_bytes(archive.with_layers((archive.layers[0], archive.layers[2])).encode())
    arguments = ("verify", "--timestamp", "b.tsd", "--artifact", "a.txt", *TRUST)
    outcome = shell(*arguments)
    assert outcome.code == 1
    assert "timestamp 2 of 2: it is not over timestamp 1: one was removed, exchanged or changed" in outcome.err
    document = json.loads(shell(*arguments, "--format", "json").out)
    assert (document["Verified"], document["Rule"]) == (False, "V2")


def test_what_does_not_hold_is_not_extended(shell: Shell, reply: str, now: HttpTsa) -> None:
    Path("b.txt").write_bytes(b"something else")
    error = shell.fails(1, *extend(now, "--timestamp", reply, "--artifact", "b.txt", "--out", "a.tsd"))
    assert "timestamp 1 of 1" in error
    assert not Path("a.tsd").exists()
    assert now.received == []


def test_only_wrapped(shell: Shell, reply: str) -> None:
    arguments = ("extend", "--wrap", "--content", "--timestamp", reply, "--artifact", "a.txt", "--out", "a.tsd")
    assert shell(*arguments).code == 0
    archive = read_timestamped_data(Path("a.tsd").read_bytes())
    assert (archive.content, len(archive.layers)) == (b"hello", 1)
    assert shell("verify", "--timestamp", "a.tsd", *TRUST).code == 0
    assert shell("verify", "--timestamp", "a.tsd", *TRUST, "--artifact", "chain.pem").code == 1


@pytest.mark.parametrize(
    "given", [TRUST, ("--artifact", "a.txt"), ("--digest", "00"), ("--hash", "sha512"), ("--allow", "sha1")]
)
def test_wrapping_verifies_nothing_and_says_so_of_flags(shell: Shell, reply: str, given: tuple[str, ...]) -> None:
    said = shell.fails(2, "extend", "--wrap", "--timestamp", reply, "--out", "a.tsd", *given)
    assert f"{given[0]} has no effect with --wrap" in said


def test_mistakes(shell: Shell, reply: str, now: HttpTsa) -> None:
    arguments = extend(now, "--timestamp", reply, "--out", "a.tsd")
    assert "give --artifact or --digest" in shell.fails(2, *arguments)
    assert "--content needs --artifact" in shell.fails(2, *arguments, "--content")
    assert "asks one --timestamp_server" in shell.fails(
        2, *arguments, "--artifact", "a.txt", "--timestamp_server", "http://127.0.0.1:1"
    )
    Path("there.tsd").write_bytes(b"something")
    there = extend(now, "--timestamp", reply, "--artifact", "a.txt", "--out", "there.tsd")
    assert "--force replaces it" in shell.fails(2, *there)
    assert now.received == []
    assert shell(*there, "--force").code == 0
    assert "is no timestamp" in shell.fails(2, *extend(now, "--timestamp", "a.txt", "--out", "a.tsd"))
    assert "would destroy" in shell.fails(
        2, *extend(now, "--timestamp", reply, "--artifact", "a.txt", "--out", "a.txt")
    )
    assert shell(*arguments, "--artifact", "a.txt").code == 0
    archive = ("verify", "--timestamp", "a.tsd", *TRUST)
    assert "does not hold the data" in shell.fails(2, *archive)
    assert "--proof has no effect" in shell.fails(2, *archive, "--artifact", "a.txt", "--proof", reply)
    assert "--fetch-ocsp has no effect" in shell.fails(2, *archive, "--artifact", "a.txt", "--fetch-ocsp")
    for name, value in (
        *(("log-proof", "p"), ("log-policy", "p"), ("log-key", "k"), ("witness", "k")),
        *(("witness-threshold", "1"), ("log-delay", "1s")),
    ):
        said = shell.fails(2, *archive, "--artifact", "a.txt", f"--{name}", value)
        assert f"--{name} has no effect" in said, said
    data = Path("a.tsd").read_bytes()
    Path("a.tsd").write_bytes(data[:-1])
    assert "the TimeStampedData cannot be read" in shell.fails(1, *archive, "--artifact", "a.txt")
