"""The flags of `verify` about a log: what has no effect is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.timestamp_shell import Shell
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
