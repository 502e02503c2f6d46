"""The flags about a log: what has no effect is refused, and what is secret is not shown."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.cli.timestamp_shell import Shell
from tsa_core.client import log_monitor
from tsa_core.protocol.transparency.note import SignatureType
from tsa_core.protocol.transparency.signing import NoteSigner

VERIFY = ("verify", "--artifact", "a.txt", "--timestamp", "r.tsr", "--certificate-chain", "chain.pem")
LOG = str(NoteSigner("log.example", SignatureType.ED25519, bytes(32)).key)
WITNESS = str(NoteSigner("w.example", SignatureType.COSIGNATURE_ED25519, bytes(32)).key)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--log-key", LOG), "--log-key has no effect without --log-proof"),
        (("--witness", WITNESS), "--witness has no effect without --log-proof"),
        (("--witness-threshold", "0"), "--witness-threshold has no effect without --log-proof"),
        (("--log-policy", "p"), "--log-policy has no effect without --log-proof"),
        (("--log-delay", "1s"), "--log-delay has no effect without --log-proof"),
        (("--log-proof", "p"), "give --log-key and --witness, or --log-policy"),
        (("--log-proof", "p", "--log-policy", "p", "--log-key", LOG), "give --log-policy, or --log-key"),
        (
            ("--log-proof", "p", "--log-key", LOG, "--witness", WITNESS, "--witness-threshold", "0"),
            "has no effect with",
        ),
        (("--log-proof", "p", "--log-delay", "soon", "--log-key", LOG), "is not a duration"),
    ],
    ids=lambda value: " ".join(word for word in value if word.startswith("--")) if isinstance(value, tuple) else None,
)
def test_a_flag_without_effect_is_refused(shell: Shell, flags: tuple[str, ...], message: str) -> None:
    assert message in shell.fails(2, *VERIFY, *flags)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--log-key", "name"), "--log-key: a key is written NAME+HASH+KEY"),
        (("--log-key", LOG, "--witness", WITNESS, "--witness-threshold", "2"), "--witness-threshold: 2 of 1"),
        (("--log-policy", "a.txt"), "--log-policy: line 1"),
    ],
    ids=["key", "threshold", "policy"],
)
def test_what_cannot_be_trusted_is_named(shell: Shell, reply: str, flags: tuple[str, ...], message: str) -> None:
    Path("p").write_bytes(b"")
    assert message in shell.fails(2, *VERIFY, "--log-proof", "p", *flags)


@pytest.mark.parametrize("flag", ["--every", "--give-up-after"])
def test_a_monitor_that_looks_once_has_no_pause(shell: Shell, flag: str) -> None:
    flags = ("https://log.example/tsa", "--log-key", LOG, flag, "60")
    assert f"{flag} has no effect without --follow" in shell.fails(2, "log", "monitor", *flags)


@pytest.mark.parametrize("follow", [(), ("--follow",)], ids=["once", "follow"])
def test_a_monitor_of_no_address_is_a_mistake(shell: Shell, follow: tuple[str, ...]) -> None:
    message = shell.fails(2, "log", "monitor", "ftp://me:s3cret@log.example", "--log-key", LOG, *follow)
    assert "log.example is not an http or https URL" in message
    assert "s3cret" not in message


def test_a_monitor_that_raises_alarm_shows_no_credentials(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(
        signed=SimpleNamespace(checkpoint=SimpleNamespace(origin="log.example", size=1)),
        behind=False,
        seen=SimpleNamespace(size=1),
        entries=1,
        alarms=("entry 0 is none of a timestamp",),
    )
    monkeypatch.setattr(log_monitor, "look", lambda *_, **__: found)
    outcome = shell("log", "monitor", "https://me:s3cret@log.example/tsa", "--log-key", LOG)
    assert outcome.code == 1
    assert "https://log.example/tsa: 1 entries are wrong; the first: entry 0" in outcome.err
    assert "s3cret" not in outcome.out + outcome.err


def test_a_log_that_grows_faster_than_it_is_read_does_not_keep_a_look(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had when the look began is checked, and the rest is for the next one."""
    sizes = iter(range(30, 10_000, 20))

    def look(_reader: object, seen: log_monitor.Seen, **_: object) -> SimpleNamespace:
        checkpoint = SimpleNamespace(origin="log.example", size=next(sizes))
        after = log_monitor.Seen(size=seen.size + 10)
        return SimpleNamespace(
            signed=SimpleNamespace(checkpoint=checkpoint), seen=after, behind=True, entries=10, alarms=()
        )

    monkeypatch.setattr(log_monitor, "look", look)
    outcome = shell("log", "monitor", "https://log.example/tsa", "--log-key", LOG)
    assert (outcome.code, outcome.out) == (0, "log.example: 30 entries, 30 of them new\n")
    assert next(sizes) == 90, "three looks"
