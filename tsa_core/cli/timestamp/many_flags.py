"""Flags of `timestamp` and `verify` for many files; data alone, because the commands for one file import it too."""

from __future__ import annotations

from typing import Final

from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.files import beginning_of
from tsa_core.cli.timestamp.flags import Call, flag, seconds
from tsa_core.cli.timestamp.revocation import REVOCATION_FLAGS

DEFAULT_OUT: Final = "response.tsr"
"""Where `timestamp` puts the reply for one artifact."""
SUFFIXES: Final = ("tsr", "tst", "p7s")
"""How files with timestamps end: a reply, and a bare token by either of two customs."""
INPUTS: Final = ("artifact", "verify_with", "ca", "client_certificate", "client_key", "token_file")
"""Flags of `timestamp` that name a file to read, which no output may name."""
EVIDENCE: Final = ("crl", "ocsp", "fetch_crls", "fetch_ocsp")
"""Flags of `verify` by which `timestamp` puts revocation data into a bundle."""
REPORTS: Final = ("table", "jsonl", "junit", "sarif")
SOURCE_FLAGS: Final = (
    flag(
        "--from-file",
        multiple=True,
        metavar="LIST",
        help="Read names of files from LIST: a line each, or each ended by NUL (find -print0); - for stdin.",
    ),
    flag(
        "--sums",
        multiple=True,
        metavar="SUMS",
        help="Take digests from the output of sha256sum, sha384sum or sha512sum, also with --tag; the files are not "
        "read.",
    ),
)
OUT_DIR: Final = flag(
    "--out-dir",
    metavar="DIR",
    help="Where the proofs of FILEs are: DIR/a/b.txt.ers for a/b.txt (default: beside each file).",
)
MANIFEST: Final = flag(
    "--manifest", metavar="FILE.json", help="A list of FILEs, their digests, and where their timestamps are."
)
MANY_STAMP_FLAGS: Final = (
    *SOURCE_FLAGS,
    flag("--each", boolean=True, help="Ask the server once for every FILE, not once for all."),
    OUT_DIR,
    MANIFEST,
    flag(
        "--bundle",
        metavar="FILE",
        help="Put the timestamps of FILEs into one file, with what verifying them needs; only there without --out-dir "
        "and --suffix.",
    ),
    *(each._replace(help=f"For --bundle: {each.help}") for each in REVOCATION_FLAGS if each.name in EVIDENCE),
    flag(
        "--suffix",
        choices=SUFFIXES,
        metavar="|".join(SUFFIXES),
        help="How the timestamps of FILEs end: tsr, the server's reply (default); tst and p7s, the bare token in it.",
    ),
    flag("--force", boolean=True, help="Replace files that are there already."),
    flag("--jobs", least=1, most=16, metavar="N", help="How many requests may be on their way (default: 8)."),
    flag(
        "--max-wait",
        convert=seconds,
        metavar="DURATION",
        help="How long to do as a busy server says (Retry-After) before giving up (default: 10m).",
    ),
)
MANY_VERIFY_FLAGS: Final = (
    *SOURCE_FLAGS,
    OUT_DIR,
    MANIFEST,
    flag(
        "--report",
        choices=REPORTS,
        metavar="|".join(REPORTS),
        help="How the verdicts on FILEs are printed (default: table).",
    ),
    flag("--quiet", boolean=True, help="Print only what does not hold."),
    flag("--fail-fast", boolean=True, help="Stop at the first of FILEs that does not hold."),
    flag("--jobs", least=1, most=64, metavar="N", help="How many processes verify (default: one for each CPU)."),
)


_FOR_MANY: Final = ("each", "out_dir", "manifest", "suffix", "report", "fail_fast", "jobs", "max_wait")


def names_files(call: Call) -> bool:
    """Say whether files were named, or lists of them."""
    return bool(call.paths or call.flags["from_file"] or call.flags["sums"])


def is_for_many(call: Call) -> bool:
    """Say whether a command is about many files, and not about the one artifact of a flag."""
    return names_files(call) or call.is_typed("manifest") or _names_bundle(call.flags["bundle"])


def _names_bundle(name: str | None) -> bool:
    """Say whether a file is a bundle of many timestamps, and no Sigstore bundle; what cannot be read is none."""
    return beginning_of(name, 200).lstrip().startswith(b'{"Format": "tsa-core timestamp bundle"')


def refuse_flags_for_many(call: Call, *further: str) -> None:
    """Raise UsageMistake for a flag that would have no effect on the one artifact of a flag."""
    for name in (*_FOR_MANY, *further):
        if call.is_typed(name):
            raise UsageMistake(f"--{name.replace('_', '-')} goes with FILEs, --from-file or --sums")
