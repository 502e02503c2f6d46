"""inspect and verify show a claim to be qualified as a claim, and say that the trusted list was not asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.timestamp_shell import Shell
from tests.conformance.test_v_qualified_claims import CLAIM, OTHER, claiming
from tests.conformance.verification import CHAIN

INSPECTED = {
    CLAIM: "claims to be a qualified electronic timestamp; whether its authority is qualified is in the trusted list, "
    "not checked",
    OTHER: "no; the token has a qcStatements extension that claims something else",
    b"\x30\x80\x00\x00": "no; the token has a qcStatements extension that cannot be read",
}


@pytest.mark.parametrize("value", INSPECTED, ids=["claim", "other", "unreadable"])
def test_inspect_says_what_is_claimed(shell: Shell, value: bytes) -> None:
    Path("r.tsr").write_bytes(claiming(value))
    assert f"Qualified: {INSPECTED[value]}\n" in shell("inspect", "--timestamp", "r.tsr").out
    document = json.loads(shell("inspect", "--timestamp", "r.tsr", "--format", "json").out)["TimestampResponse"]
    assert (document["Qualified"], document["QualifiedClaim"]) == (value == CLAIM, INSPECTED[value])


def test_inspect_says_that_a_critical_claim_breaks_the_rule(shell: Shell) -> None:
    Path("r.tsr").write_bytes(claiming(CLAIM, critical=True))
    out = shell("inspect", "--timestamp", "r.tsr").out
    assert "; the claim is marked critical, which EN 319 422 9.1 forbids\n" in out


def test_verify_prints_what_was_not_checked(shell: Shell) -> None:
    Path("r.tsr").write_bytes(claiming(CLAIM))
    Path("chain.pem").write_bytes(CHAIN.pem)
    outcome = shell("verify", "--timestamp", "r.tsr", "--artifact", "a.txt", "--certificate-chain", "chain.pem")
    assert outcome.code == 0, outcome.err
    assert "Not checked: whether the authority is qualified, as the token claims: " in outcome.out
