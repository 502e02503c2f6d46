"""What timestamp-cli verify says in JSON of a timestamp that holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes

from tsa_core.cli.timestamp.description import describe_reply
from tsa_core.cli.timestamp.shown import certificate_name, shown_time
from tsa_core.paths.errors import printable
from tsa_core.paths.findings import RevocationFinding
from tsa_core.verify import Note, VerifiedTimestamp

if TYPE_CHECKING:
    from tsa_core.verify import LogEvidence


def verdict_document(reply: bytes, result: VerifiedTimestamp) -> dict[str, Any]:
    """Return what the JSON says of a timestamp that holds: all that it states, and the verdict."""
    signer = {
        "Signer": certificate_name(result.signer_certificate),
        "Path": [certificate_name(certificate) for certificate in result.path],
    }
    return {"ParsedTimestamp": {**describe_reply(reply), **signer}, "Verdict": _verdict(result)}


def _verdict(result: VerifiedTimestamp) -> dict[str, Any]:
    return {
        "Time": shown_time(result.gen_time),
        "Earliest": shown_time(result.earliest) if result.earliest else None,
        "Latest": shown_time(result.latest) if result.latest else None,
        "Signer": certificate_name(result.signer_certificate),
        "Policy": result.policy,
        "TrustAnchor": {
            "Subject": certificate_name(result.trust_anchor),
            "SHA256Fingerprint": result.trust_anchor.fingerprint(hashes.SHA256()).hex(),
        },
        "CheckedAt": shown_time(result.checked_at),
        "RevocationChecked": result.revocation_checked,
        "Revocation": [_finding(finding) for finding in result.revocation],
        "Proof": _verdict(result.proof) if result.proof else None,
        **({"Log": _log(result.log)} if result.log is not None else {}),
        "Notes": _notes(result.notes),
        "Unchecked": _notes(result.unchecked),
    }


def _log(log: LogEvidence) -> dict[str, Any]:
    return {
        "Origin": printable(log.origin),
        "Index": log.index,
        "Size": log.size,
        "SeenBy": shown_time(log.seen_by) if log.seen_by else None,
        "Witnesses": [
            {"Name": printable(each.key.name), "Time": shown_time(each.time)} for each in log.witnesses if each.time
        ],
    }


def _finding(finding: RevocationFinding) -> dict[str, Any]:
    return {
        "Certificate": certificate_name(finding.certificate),
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
