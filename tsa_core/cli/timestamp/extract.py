"""timestamp-cli extract: find the timestamps in a file, and say what each is over and worth."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from tsa_core.cli import console
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.files import STANDARD, read_file, refuse_existing, write_timestamp
from tsa_core.cli.timestamp.flags import PROGRAM, Call, flag
from tsa_core.cli.timestamp.revocation import REVOCATION_FLAGS, given_revocation
from tsa_core.cli.timestamp.trust import TRUST_FLAGS, trust_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tsa_core.extract import Extraction, FoundCountersignature
    from tsa_core.extract.checking import Checked
    from tsa_core.verify import Verifier

_WITHOUT_SIGNATURES: Final = ("timestamp", "TimeStampedData")
"""Formats that hold timestamps and nothing that somebody signed."""
_LEGACY: Final = "a legacy Authenticode countersignature is no RFC 3161 token, and its time is not verified"
_TRUST: Final = tuple(each.name for each in TRUST_FLAGS)
FLAGS: Final = (
    flag("--detached", metavar="FILE", help="What a detached signature, a .tsd or a COSE message is over."),
    flag("--out-dir", metavar="DIR", help="Write each token there: 1.tst, 2.tst, ..."),
    flag("--data", boolean=True, help="Write what each token is over beside it: 1.data, 2.data, ..."),
    flag("--force", boolean=True, help="Replace files that are there already."),
    *TRUST_FLAGS,
    flag("--allow", multiple=True, metavar="NAME", help="As of verify: accept although a rule refuses it."),
    *(each for each in REVOCATION_FLAGS if not each.name.startswith("fetch_")),
)


def extract(call: Call) -> int:
    """Find the timestamps in signatures, PDF, ASiC, JAR, programs, bundles, images.

    Each is checked against what it is over.
    FILE is a CMS signature (.p7s, .p7m, CAdES), a PDF, an ASiC container, a JAR, a Windows program, a Sigstore bundle,
    a COSE message, a JPEG or PNG with C2PA, a .tsd or a timestamp. With a trust flag each timestamp is verified;
    without one, it is only shown to be over what it should be. Signatures of the file are never verified.

    Exit code 0: no timestamp is refused, and with a trust flag at least one is verified. 1: one is refused, there is
    none, or none of them can be verified.

    \b
    Examples:
      timestamp-cli extract contract.pdf --out-dir tokens
      timestamp-cli extract setup.exe --root-certificates roots.pem
    """  # noqa: D301 - the backslash is click's mark
    from tsa_core.extract import MAX_OCTETS, ExtractError
    from tsa_core.extract import extract as extracted
    from tsa_core.extract.checking import Outcome, check

    flags = call.flags
    if len(call.paths) != 1:
        raise UsageMistake("give one FILE")
    (name,) = call.paths
    if name == STANDARD == flags["detached"]:
        raise UsageMistake("only one of FILE and --detached can be standard input")
    if flags["data"] and flags["out_dir"] is None:
        raise UsageMistake("--data goes with --out-dir")
    verifier = _verifier(call)
    detached = _Detached(read_file(flags["detached"], MAX_OCTETS)) if flags["detached"] is not None else None
    found = extracted(read_file(name, MAX_OCTETS), detached=detached)
    if not found.tokens and not found.countersignatures:
        raise ExtractError(f"{name} ({found.format}) holds no RFC 3161 timestamp")
    checked = [check(token, verifier) for token in found.tokens]
    refused = sum(each.outcome is Outcome.REFUSED for each in checked)
    if detached is not None and not detached.was_read and not refused:
        raise UsageMistake(f"--detached has no effect: no timestamp in {name} ({found.format}) is over it")
    written = _write(call, checked)
    _report(call, name, found, checked, written)
    if refused:
        console.tell(f"{PROGRAM}: {refused} of {len(checked)} timestamps in {name} are refused")
    if not checked:
        console.tell(f"{PROGRAM}: {name} ({found.format}) holds no RFC 3161 timestamp")
    # Whoever says whom to trust asks for a verdict, and a script goes by the exit code.
    unanswered = verifier is not None and all(each.outcome is Outcome.NOT_CHECKED for each in checked)
    if checked and unanswered:
        console.tell(f"{PROGRAM}: no timestamp in {name} is verified: the table says why each is not checked")
    return 1 if refused or unanswered or not checked else 0


class _Detached:
    """Gives what is beside the file, and remembers whether a timestamp was compared with it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.was_read = False

    def __call__(self) -> bytes:
        self.was_read = True
        return self._data


def _verifier(call: Call) -> Verifier | None:
    flags = call.flags
    if all(flags[each] is None for each in _TRUST):
        for each in ("allow", "crl", "ocsp", "revocation", "max_crl_age"):
            if flags[each]:
                option = each.replace("_", "-")
                raise UsageMistake(f"--{option} has no effect without a trust flag such as --certificate-chain")
        return None
    from tsa_core.verify import Verifier
    from tsa_core.verify.tolerances import check_allowances

    try:
        check_allowances(flags["allow"])
    except ValueError as error:
        raise UsageMistake(f"--allow: {error}") from None
    revocation = given_revocation({**flags, "artifact": None, "fetch_crls": False, "fetch_ocsp": False})
    return Verifier(trust_of(call), allow=flags["allow"], revocation=revocation)


def _write(call: Call, checked: Sequence[Checked]) -> list[str | None]:
    from tsa_core.extract.checking import Outcome

    folder, force = call.flags["out_dir"], bool(call.flags["force"])
    if folder is None:
        return [None] * len(checked)
    try:
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - pathlib takes 3 ms of every command
    except OSError as error:
        raise UsageMistake(f"--out-dir {folder}: {error.strerror}") from None
    places = [f"{folder}/{number}.tst" for number in range(1, len(checked) + 1)]
    for place in places if not force else ():
        refuse_existing(place)
        refuse_existing(f"{place[:-4]}.data")
    for place, each in zip(places, checked, strict=True):
        write_timestamp(place, each.found.token, force=force)
        if call.flags["data"] and each.found.subject is not None and each.outcome is not Outcome.REFUSED:
            write_timestamp(f"{place[:-4]}.data", each.found.subject(), force=force)
    return list(places)


def _report(
    call: Call, name: str, found: Extraction, checked: Sequence[Checked], written: Sequence[str | None]
) -> None:
    from tsa_core.paths.errors import printable

    file_format = found.format
    if call.as_json:
        tokens = [_document(each, place) for each, place in zip(checked, written, strict=True)]
        tokens += [_not_a_token(each) for each in found.countersignatures]
        console.print_json(
            {"File": name, "Format": file_format, "Timestamps": tokens, "NotChecked": _unchecked(name, file_format)}
        )
        return
    rows = [
        (
            str(number),
            each.found.kind,
            printable(each.found.place),
            f"{each.gen_time:%Y-%m-%dT%H:%M:%SZ}" if each.gen_time is not None else "-",
            printable(each.authority or "-"),
            printable(each.found.covers),
            each.outcome.value + (f": {printable(each.reason)}" if each.reason else ""),
        )
        for number, each in enumerate(checked, 1)
    ]
    rows += [
        ("-", each.kind, printable(each.place), "-", "-", each.covers, f"not checked: {_LEGACY}")
        for each in found.countersignatures
    ]
    console.print_table(("", "Kind", "Where", "Time", "Authority", "Over", "Verdict"), rows)
    if unchecked := _unchecked(name, file_format):
        console.tell(f"{PROGRAM}: not checked: {unchecked}")
    if any(written):
        console.echo(f"Wrote {len(written)} tokens to {call.flags['out_dir']}", err=True)


def _unchecked(name: str, file_format: str) -> str | None:
    """Return what no verdict of the table says: a timestamp over a signature does not make the signature good."""
    if file_format in _WITHOUT_SIGNATURES:
        return None
    return f"the signatures in {name}, and whether the file is what they sign"


def _not_a_token(found: FoundCountersignature) -> dict[str, Any]:
    return {
        "Kind": found.kind,
        "Where": found.place,
        "Time": None,
        "Authority": None,
        "Over": found.covers,
        "Verdict": "not checked",
        "Reason": _LEGACY,
        "Rule": None,
        "Location": None,
    }


def _document(each: Checked, place: str | None) -> dict[str, Any]:
    return {
        "Kind": each.found.kind,
        "Where": each.found.place,
        "Time": f"{each.gen_time:%Y-%m-%dT%H:%M:%SZ}" if each.gen_time is not None else None,
        "Authority": each.authority,
        "Over": each.found.covers,
        "Verdict": each.outcome.value,
        "Reason": each.reason,
        "Rule": each.rule or None,
        "Location": place,
    }
