"""timestamp-cli evidence verify: files by a state directory, or by a record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from tsa_core.cli import console
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.evidence.directory_flags import (
    WORKERS_FLAG,
    all_batches,
    chosen_batches,
    open_state,
    own_revocation,
    progress,
)
from tsa_core.cli.timestamp.files import read_file
from tsa_core.cli.timestamp.flags import Call, flag, moment
from tsa_core.cli.timestamp.revocation import REVOCATION_FLAGS
from tsa_core.cli.timestamp.trust import TRUST_FLAGS, trust_of

if TYPE_CHECKING:
    from tsa_core.evidence import EvidenceVerifier, VerifiedRecord
    from tsa_core.evidence.state import Batch, CheckedFile

FLAGS: Final = (
    flag("--state", metavar="DIR", help="The directory with the evidence."),
    flag("--record", metavar="FILE.ers", help="An evidence record instead (RFC 4998); several files are a data group."),
    flag("--batch", multiple=True, metavar="NAME", help="Only by this batch of --state; repeat it for more."),
    flag(
        "--batches",
        least=1,
        metavar="N",
        help="How many batches --state must have at least: nothing in it shows whether the last ones were removed.",
    ),
    flag("--base", metavar="DIR", help="Where the files of --state are now, if not where they were."),
    flag("--time", convert=moment, metavar="TIME", help="Verify for this moment, 2035-01-31T12:00:00Z (default: now)."),
    flag("--allow", multiple=True, metavar="NAME", help="As of verify: accept although a rule refuses it."),
    flag("--quiet", boolean=True, help="Print only what is not verified."),
    WORKERS_FLAG,
    *TRUST_FLAGS,
    *(each for each in REVOCATION_FLAGS if not each.name.startswith("fetch_")),
)
EXIT_REFUSED: Final = 1
_MAX_LISTED: Final = 1000


def verify(call: Call) -> int:
    """Verify files by a directory with evidence, or by a record.

    Each timestamp must hold at the moment that the next one proves, the last one now.

    With --state and no files, every file of the directory is read again, and what the timestamps cover must be there:
    all objects of each batch, and the batch before it. Files that are named are found by their
    content, whatever they are called now.

    Exit code 0: all are verified. 1: something is not, and a line says why. 2: the command cannot be run.

    \b
    Examples:
      timestamp-cli evidence verify --state proof --root-certificates roots.pem
      timestamp-cli evidence verify --state proof --root-certificates roots.pem contract.pdf
      timestamp-cli evidence verify --record contract.ers --root-certificates roots.pem contract.pdf
    """  # noqa: D301 - the backslash is click's mark
    from tsa_core.evidence import EvidenceVerifier

    flags = call.flags
    if (flags["state"] is None) == (flags["record"] is None):
        raise UsageMistake("give --state or --record")
    verifier = EvidenceVerifier(trust_of(call), revocation=own_revocation(call), allow=flags["allow"])
    if flags["record"] is None:
        batches = _batches(call)
        notes = () if call.paths or flags["batch"] else _not_checked(batches, flags["batches"])
        return _report(call, _by_state(call, batches, verifier, flags["time"]), notes)
    for name in ("batch", "batches", "base", "workers"):
        if flags[name]:
            raise UsageMistake(f"--{name} goes with --state")
    return _report(call, iter((_by_record(call, verifier, flags["time"]),)))


def _batches(call: Call) -> Sequence[Batch]:
    found = all_batches(open_state(call))
    if not found:
        raise UsageMistake(f"{call.flags['state']} holds no batch, so nothing was verified")
    return chosen_batches(call, found)


def _not_checked(batches: Sequence[Batch], wanted: int | None) -> tuple[str, ...]:
    """Return what the directory itself cannot show about its batches."""
    notes = []
    if unlinked := sum(batch.link is None for batch in batches):
        notes.append(f"whether a batch was removed among the first {unlinked:,}, which have no link to the one before")
    if wanted is None:
        notes.append(
            f"whether batches after {batches[-1].name} were removed: note their number and give it, --batches N"
        )
    return tuple(notes)


def _by_state(
    call: Call, batches: Sequence[Batch], verifier: EvidenceVerifier, time: datetime | None
) -> Iterator[CheckedFile]:
    from tsa_core.evidence.state import CheckedFile, check_batch, check_files, check_links

    if (wanted := call.flags["batches"]) is not None:
        if call.paths or call.flags["batch"]:
            raise UsageMistake("--batches has no effect when files or batches are named")
        if len(batches) < wanted:
            lost = f"it has {len(batches):,} batches, and had {wanted:,}; restore it from a backup"
            yield CheckedFile(path=call.flags["state"], problem=lost)
    if call.paths:
        for name in ("base", "workers"):
            if call.flags[name]:
                raise UsageMistake(f"--{name} has no effect when files are named")
        yield from check_files(batches, call.paths, verifier, time=time)
        return
    if not call.flags["batch"]:
        for batch, problem in check_links(batches, verifier, time=time):
            yield CheckedFile(path=str(batch.folder), batch=batch.name, problem=problem)
    with progress("reading", sum(batch.objects for batch in batches)) as show:
        for batch in batches:
            yield from check_batch(
                batch,
                verifier,
                time=time,
                base=call.flags["base"],
                workers=call.flags["workers"],
                progress=show,
            )


def _by_record(call: Call, verifier: EvidenceVerifier, time: datetime | None) -> CheckedFile:
    from pathlib import Path

    from tsa_core.evidence import DataGroup
    from tsa_core.evidence.state import CheckedFile
    from tsa_core.evidence.syntax import MAX_RECORD_OCTETS
    from tsa_core.verify import VerificationError

    if not call.paths:
        raise UsageMistake("name the file that the record is about, or all files of its data group")
    record = read_file(call.flags["record"], MAX_RECORD_OCTETS)
    paths = [Path(path) for path in call.paths]
    shown = ", ".join(call.paths)
    try:
        verdict = verifier.verify(record, paths[0] if len(paths) == 1 else DataGroup(tuple(paths)), time=time)
    except OSError as error:
        raise UsageMistake(f"{error.filename} cannot be read: {error.strerror}") from None
    except VerificationError as error:
        return CheckedFile(path=shown, problem=str(error), rule=error.rule)
    return CheckedFile(path=shown, verdict=verdict)


def _report(call: Call, results: Iterator[CheckedFile], notes: Sequence[str] = ()) -> int:
    """Print what is found, as it is found, and return the exit code."""
    good = bad = 0
    listed: list[dict[str, Any]] = []
    first: VerifiedRecord | None = None
    shows_all = bool(call.paths)
    for result in results:
        verified = result.verdict is not None
        good, bad = good + verified, bad + (not verified)
        first = first or result.verdict
        if call.as_json:
            if (shows_all or not verified) and len(listed) < _MAX_LISTED:
                listed.append(_document(result))
        elif not verified:
            rule = f" (rule {result.rule})" if result.rule else ""
            console.tell(f"{result.path}: not verified: {result.problem}{rule}")
        elif shows_all and not call.flags["quiet"]:
            _print(result)
    if call.as_json:
        unchecked = {"Unchecked": list(notes)} if notes else {}
        console.print_json({"Verified": good, "NotVerified": bad, "Files": listed, **unchecked})
    elif not shows_all and not call.flags["quiet"]:
        console.echo(f"{good:,} files verified, {bad:,} not")
        texts = [*notes, *((note.text for note in first.unchecked) if first is not None else ())]
        console.print_facts(("Fact", "Verdict"), [("Not checked", text) for text in texts], fixed=1)
    return EXIT_REFUSED if bad else 0


def _print(result: CheckedFile) -> None:
    from tsa_core.cli.timestamp.shown import certificate_name, shown_time
    from tsa_core.paths.errors import printable

    verdict = result.verdict
    assert verdict is not None  # noqa: S101 - the caller has seen to it
    console.echo(f"Successfully verified {printable(result.path)}")
    rows = [("Existed", shown_time(verdict.existed))]
    rows += [("Batch", result.batch)] if result.batch else []
    for layer in verdict.layers:
        signer = printable(certificate_name(layer.timestamp.signer_certificate))
        text = f"{shown_time(layer.timestamp.gen_time)}, {layer.hash_name}, by {signer}"
        rows.append((layer.place.kind.capitalize(), f"{text}; holds at {shown_time(layer.valid_at)}"))
    rows += [("Note", printable(note.text)) for note in verdict.notes]
    rows += [("Not checked", printable(note.text)) for note in verdict.unchecked]
    console.print_facts(("Fact", "Verdict"), rows, fixed=1)


def _document(result: CheckedFile) -> dict[str, Any]:
    from tsa_core.cli.timestamp.shown import certificate_name, shown_time
    from tsa_core.paths.errors import printable

    verdict = result.verdict
    document: dict[str, Any] = {"Path": result.path, "Batch": result.batch, "Verified": verdict is not None}
    if verdict is None:
        return {**document, "Rule": result.rule, "Reason": printable(result.problem)}
    layers = [
        {
            "Chain": layer.place.chain,
            "Timestamp": layer.place.timestamp,
            "Kind": layer.place.kind,
            "Hash": layer.hash_name,
            "Time": shown_time(layer.timestamp.gen_time),
            "Signer": certificate_name(layer.timestamp.signer_certificate),
            "ValidAt": shown_time(layer.valid_at),
        }
        for layer in verdict.layers
    ]
    notes = {
        "Notes": [{"Code": note.code, "Text": printable(note.text)} for note in verdict.notes],
        "Unchecked": [{"Code": note.code, "Text": printable(note.text)} for note in verdict.unchecked],
    }
    return {**document, "Existed": shown_time(verdict.existed), "Layers": layers, **notes}
