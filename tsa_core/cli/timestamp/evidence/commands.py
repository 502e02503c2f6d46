"""The commands of timestamp-cli evidence as click sees them; each is imported when it is asked for."""

from __future__ import annotations

from typing import Final

from tsa_core.cli.program_group import LazyCommand, LazyGroup

_HERE: Final = "tsa_core.cli.timestamp.evidence"
_FILES: Final = "Evidence"
_TIME: Final = "In time"
_LAZY: Final = {
    "create": LazyCommand(
        f"{_HERE}.entries:CREATE",
        "Make a directory with evidence for files: one timestamp, and what proves each.",
        _FILES,
    ),
    "add": LazyCommand(f"{_HERE}.entries:ADD", "Add files to a directory with evidence.", _FILES),
    "verify": LazyCommand(
        f"{_HERE}.entries:VERIFY", "Verify files by a directory with evidence, or by a record.", _FILES
    ),
    "export": LazyCommand(f"{_HERE}.entries:EXPORT", "Write the evidence records of files (RFC 4998).", _FILES),
    "inspect": LazyCommand(
        f"{_HERE}.entries:INSPECT", "Show evidence records, or a directory with evidence; nothing is verified.", _FILES
    ),
    "due": LazyCommand(
        f"{_HERE}.entries:DUE",
        "Say what must be renewed, before when and why: a certificate ends, or an algorithm.",
        _TIME,
    ),
    "renew": LazyCommand(
        f"{_HERE}.entries:RENEW", "Renew what is due: new timestamps over the last ones, or new hash trees.", _TIME
    ),
}
EVIDENCE: Final = LazyGroup(
    "evidence",
    lazy=_LAZY,
    help="""Proof for decades, of one file or a million, in evidence records (RFC 4998).

    One timestamp serves all files of a batch. Before it weakens, a new one is put over it: run `due` from cron, and
    `renew` when it says so.
    """,
)
