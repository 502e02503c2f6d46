"""How timestamp-cli verify says what holds, on whose word, and what was not checked (rule V19)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tsa_core.cli import console
from tsa_core.cli.timestamp.shown import certificate_name, shown_duration, shown_time
from tsa_core.paths.errors import printable
from tsa_core.paths.findings import RevocationFinding
from tsa_core.verify import VerifiedTimestamp

if TYPE_CHECKING:
    from tsa_core.verify import LogEvidence


def print_verdict(name: str, result: VerifiedTimestamp) -> None:
    """Print the verdict for people: a table on a terminal, a line for each fact otherwise."""
    console.echo(f"Successfully verified timestamp {name}")
    console.print_facts(("Fact", "Verdict"), _rows(result), fixed=1)


def _rows(result: VerifiedTimestamp) -> list[tuple[str, str]]:
    rows = [("Time", shown_time(result.gen_time))]
    if result.accuracy is not None and result.earliest is not None and result.latest is not None:
        interval = f"from {shown_time(result.earliest)} to {shown_time(result.latest)}"
        rows.append(("Accuracy", f"{shown_duration(result.accuracy.microseconds * 1000)}, {interval}"))
    rows += [
        ("Signer", printable(certificate_name(result.signer_certificate))),
        ("Policy", result.policy),
        ("Trust anchor", printable(certificate_name(result.trust_anchor))),
    ]
    rows += [("Revocation", _finding_text(finding)) for finding in result.revocation]
    if result.proof is not None:
        rows += [(f"Proof: {fact.lower()}", value) for fact, value in _rows(result.proof)]
    if result.log is not None:
        rows += log_rows(result.log)
    rows += [("Note", printable(note.text)) for note in result.notes]
    rows += [("Not checked", printable(note.text)) for note in result.unchecked]
    return rows


def log_rows(log: LogEvidence) -> list[tuple[str, str]]:
    """Return what a proof from a log shows."""
    rows = [("Log", printable(f"entry {log.index} of {log.origin}"))]
    rows += [
        ("Witness", printable(f"{each.key.name} saw it by {shown_time(each.time)}"))
        for each in log.witnesses
        if each.time is not None
    ]
    if log.seen_by is None:
        rows.append(("Not checked", "whether any witness saw the log in time: the policy asks for none"))
    return rows


def _finding_text(finding: RevocationFinding) -> str:
    sources = ", ".join(f"{evidence.kind} {evidence.source}".rstrip() for evidence in finding.evidence)
    parts = [f"{certificate_name(finding.certificate)}: {finding.status.value}", *([f"({sources})"] if sources else [])]
    return printable(" ".join(parts) + (f" - {finding.detail}" if finding.detail else ""))
