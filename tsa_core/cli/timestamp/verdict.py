"""How timestamp-cli verify says what holds, on whose word, and what was not checked (rule V19)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tsa_core.cli import console
from tsa_core.cli.timestamp.description import describe_reply, shown_duration, shown_time
from tsa_core.paths.errors import printable
from tsa_core.paths.findings import RevocationFinding
from tsa_core.verify import Note, VerifiedTimestamp


def verdict_document(reply: bytes, result: VerifiedTimestamp) -> dict[str, Any]:
    """Return what the JSON says of a timestamp that holds: all that it states, and the verdict."""
    signer = {
        "Signer": _name(result.signer_certificate),
        "Path": [_name(certificate) for certificate in result.path],
    }
    return {"ParsedTimestamp": {**describe_reply(reply), **signer}, "Verdict": _verdict(result)}


def _verdict(result: VerifiedTimestamp) -> dict[str, Any]:
    return {
        "Time": shown_time(result.gen_time),
        "Earliest": shown_time(result.earliest) if result.earliest else None,
        "Latest": shown_time(result.latest) if result.latest else None,
        "Signer": _name(result.signer_certificate),
        "Policy": result.policy,
        "TrustAnchor": {
            "Subject": _name(result.trust_anchor),
            "SHA256Fingerprint": result.trust_anchor.fingerprint(hashes.SHA256()).hex(),
        },
        "CheckedAt": shown_time(result.checked_at),
        "RevocationChecked": result.revocation_checked,
        "Revocation": [_finding(finding) for finding in result.revocation],
        "Proof": _verdict(result.proof) if result.proof else None,
        "Notes": _notes(result.notes),
        "Unchecked": _notes(result.unchecked),
    }


def _finding(finding: RevocationFinding) -> dict[str, Any]:
    return {
        "Certificate": _name(finding.certificate),
        "Status": finding.status.value,
        "Detail": printable(finding.detail),
        "Evidence": [
            {
                "Kind": evidence.kind,
                "Source": evidence.source,
                "ThisUpdate": shown_time(evidence.this_update),
                "NextUpdate": shown_time(evidence.next_update) if evidence.next_update else None,
            }
            for evidence in finding.evidence
        ],
    }


def _notes(notes: Iterable[Note]) -> list[dict[str, str]]:
    return [{"Code": note.code, "Text": printable(note.text)} for note in notes]


def print_verdict(name: str, result: VerifiedTimestamp) -> None:
    """Print the verdict for people: a table on a terminal, a line for each fact otherwise."""
    click.echo(f"Successfully verified timestamp {name}")
    console.print_facts(("Fact", "Verdict"), _rows(result), fixed=1)


def _rows(result: VerifiedTimestamp) -> list[tuple[str, str]]:
    rows = [("Time", shown_time(result.gen_time))]
    if result.accuracy is not None and result.earliest is not None and result.latest is not None:
        interval = f"from {shown_time(result.earliest)} to {shown_time(result.latest)}"
        rows.append(("Accuracy", f"{shown_duration(result.accuracy.microseconds * 1000)}, {interval}"))
    rows += [
        ("Signer", printable(_name(result.signer_certificate))),
        ("Policy", result.policy),
        ("Trust anchor", printable(_name(result.trust_anchor))),
    ]
    rows += [("Revocation", _finding_text(finding)) for finding in result.revocation]
    if result.proof is not None:
        rows += [(f"Proof: {fact.lower()}", value) for fact, value in _rows(result.proof)]
    rows += [("Note", printable(note.text)) for note in result.notes]
    rows += [("Not checked", printable(note.text)) for note in result.unchecked]
    return rows


def _finding_text(finding: RevocationFinding) -> str:
    sources = ", ".join(f"{evidence.kind} {evidence.source}".rstrip() for evidence in finding.evidence)
    parts = [f"{_name(finding.certificate)}: {finding.status.value}", *([f"({sources})"] if sources else [])]
    return printable(" ".join(parts) + (f" - {finding.detail}" if finding.detail else ""))


def _name(certificate: x509.Certificate) -> str:
    try:
        return certificate.subject.rfc4514_string()
    except ValueError:
        return "a certificate whose name cannot be read"
