"""The causes that stop tokens: set and cleared by their owners, listed for operators."""

from __future__ import annotations

import pytest

from tsa_core.authority import CauseKind, Causes


def test_causes_are_listed_while_they_are_active() -> None:
    causes = Causes()
    full = causes.add(CauseKind.AUDIT, "auditfile")
    causes.add(CauseKind.CLOCK)
    assert causes.active() == []
    full.set("the disk is full")
    assert [(cause.check, reason) for cause, reason in causes.active()] == [("audit:auditfile", "the disk is full")]
    full.clear()
    assert causes.active() == []
    assert [cause.check for cause in causes] == ["audit:auditfile", "clock"]


def test_a_cause_is_cleared_by_its_owner_alone() -> None:
    causes = Causes()
    failed, hangs = causes.add(CauseKind.AUDIT, "auditfile"), causes.add(CauseKind.AUDIT, "auditfile")
    failed.set("cannot write")
    hangs.set("does not answer")
    failed.clear()
    assert [reason for _, reason in causes.active()] == ["does not answer"]


def test_a_cause_of_one_profile_stops_no_other() -> None:
    causes = Causes()
    signer = causes.add(CauseKind.SIGNER, "p384", profile="p384")
    signer.set("the signer cannot sign now")
    assert not causes.issuing("p384")
    assert causes.issuing("default")
    causes.add(CauseKind.CLOCK).set("unsynchronised")
    assert not causes.issuing("default")


def test_a_cause_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="needs a reason"):
        Causes().add(CauseKind.CLOCK).set("")
