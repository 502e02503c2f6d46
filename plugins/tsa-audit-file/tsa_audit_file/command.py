"""`timestamp-server audit verify` and `show`."""

from __future__ import annotations

import json
import re
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from tsa_audit_file.chain import BEGINNING, BrokenChainError, Link, read_line
from tsa_audit_file.journal import Journal
from tsa_audit_file.tampering import fault_path, read_fault
from tsa_audit_file.verification import FileReport, check_files, distinct, read_lines
from tsa_core.api import ConfigError

_MAX_ANCHOR_OCTETS = 1024
_FILES = click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False, exists=True))


class Anchor(click.ParamType[Link]):
    """A line that must be in the chain, as `verify` prints it: NUMBER:HASH, or a file that holds it."""

    name = "number:hash|file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Link:
        """Return the link."""
        if link := _link(str(value)):
            return link
        try:
            with Path(str(value)).open("rb") as stream:
                text = stream.read(_MAX_ANCHOR_OCTETS).decode("ascii", "replace")
        except (OSError, ValueError):
            self.fail(
                f"{value!r} is not a line's number, a colon and its hash, as `audit verify` prints them, and no file "
                "that can be read",
                param,
                ctx,
            )
        if not (link := _link(text.strip())):
            self.fail(f"the file {value!r} does not hold NUMBER:HASH", param, ctx)
        return link


def _link(text: str) -> Link | None:
    found = re.fullmatch(r"([0-9]{1,18}):([0-9A-Fa-f]{64})", text)
    return Link(int(found[1]), found[2].lower()) if found else None


class Moment(click.ParamType[datetime]):
    """A time, in UTC unless it says otherwise."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the time."""
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a time; write it as 2026-11-22T15:50:00Z", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@click.group()
def audit() -> None:
    """Check and read the files of the audit trail."""


@audit.command()
@_FILES
@click.option("--key-file", type=click.Path(path_type=Path), help="The key, if the trail is written with one.")
@click.option(
    "--anchor", type=Anchor(), help="A line that must be there, noted earlier: NUMBER:HASH, or a file that holds it."
)
@click.option(
    "--from",
    "start",
    type=Anchor(),
    help="The last line before the first of these files, when older ones are kept elsewhere: NUMBER:HASH, or a file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(
    files: tuple[Path, ...], key_file: Path | None, anchor: Link | None, start: Link | None, as_json: bool
) -> None:
    r"""Check that the lines are those that were written, in their order, with none missing between them.

    Several files are put in their order, and each must continue the one before it. The first one must begin with line
    1, unless --from says which line came before. Exit code 1 for any damage.

    Lines cut off at the end of the last file leave a chain that fits: give --anchor the NUMBER:HASH that this printed
    earlier, or that the server wrote into its log and state_directory. Without a key, whoever can write the files can
    make a chain that fits.

    \b
    Examples:
      timestamp-server audit verify /var/log/tsa/audit*.jsonl
      timestamp-server audit verify --key-file audit.key --anchor 4711:5d3c...e1 /var/log/tsa/audit*.jsonl
      timestamp-server audit verify --anchor /var/lib/tsa/audit/auditfile.head /var/log/tsa/audit*.jsonl
    """
    reports = check_files(list(files), key=_read_key(key_file), anchor=anchor, start=start or BEGINNING)
    found = anchor is None or any(report.anchored for report in reports)
    if as_json:
        document = {"intact": found and not any(r.damage for r in reports), "files": [_describe(r) for r in reports]}
        click.echo(json.dumps(document, indent=2))
    for report in [] if as_json else reports:
        click.echo(_line(report))
        for accepted in report.accepted:
            click.echo(f"{report.path}: {_printable(accepted)}")
    if any(report.damage for report in reports):
        raise click.ClickException("the audit trail is not what was written")
    if not found and anchor is not None:
        raise click.ClickException(f"line {anchor.seq} is not there with that hash: lines were cut off or rewritten")


def _read_key(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise ConfigError(f"the key cannot be read: {error.strerror}", path=str(path)) from None


def _state(report: FileReport) -> str:
    if report.damage:
        return "damaged"
    return "intact" if report.ended else "intact, open"


def _line(report: FileReport) -> str:
    if report.damage:
        return f"{report.path}: DAMAGED: {report.damage}"
    text = f"{report.path}: {_state(report)}: {report.lines} lines, {report.tokens} tokens, since {report.begun}"
    if not report.ended:
        text += "; a server writes to it, was killed, or the end was cut off"
    return f"{text}; {report.last.seq}:{report.last.digest}"


def _describe(report: FileReport) -> dict[str, object]:
    return {
        "file": str(report.path),
        "state": _state(report),
        "damage": report.damage,
        "lines": report.lines,
        "tokens": report.tokens,
        "begun": report.begun,
        "keyed": report.keyed,
        "accepted": report.accepted,
        "continues": f"{report.first.seq}:{report.first.digest}",
        "anchor": f"{report.last.seq}:{report.last.digest}",
    }


@audit.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--reason", required=True, help="What was found out; written into the trail.")
@click.option("--key-file", type=click.Path(path_type=Path), help="The key, if the trail is written with one.")
@click.option(
    "--new-file", is_flag=True, help="Move the file aside and begin a new one; for a file that cannot be continued."
)
def accept(file: Path, reason: str, key_file: Path | None, new_file: bool) -> None:
    r"""Accept a trail that became shorter, was replaced, removed or rolled back, so that tokens are issued again.

    FILE is the `path` of [audit.auditfile]. First copy its directory, and find out what happened: what is missing stays
    missing. A new file continues what is there. Its first lines say what should have been there, when it was accepted
    and why. Running servers go on within a second; none needs a restart. Exit code 1 when nothing is to be accepted.

    \b
    Examples:
      timestamp-server audit accept --reason "restored from backup, INC-4711" /var/log/tsa/audit.jsonl
    """
    fault = read_fault(file)
    if fault is None:
        raise click.ClickException(f"no server has found a fault in {file}: there is no {fault_path(file).name}")
    try:
        with closing(Journal(file, key=_read_key(key_file))) as journal:
            found, last = journal.accept(fault, reason, new_file=new_file)
    except BrokenChainError as error:
        raise click.ClickException(
            f"what is there cannot be continued: {error}. With a wrong or missing --key-file that is no surprise; "
            "--new-file moves a damaged file aside"
        ) from None
    except OSError as error:
        raise ConfigError(f"it cannot be written: {error.strerror}", path=str(file)) from None
    was = "nothing" if found is None else f"{found.seq}:{found.digest}"
    click.echo(f"accepted: {fault.reason}")
    click.echo(f"the last line that was known: {fault.expected.seq}:{fault.expected.digest}; found: {was}")
    click.echo(f"the trail goes on in {file}; {last.seq}:{last.digest}")


@audit.command()
@_FILES
@click.option("--serial", help="Serial number of a token, in hexadecimal.")
@click.option("--profile", help="Tokens of this profile.")
@click.option("--client", help="Tokens that this address asked for.")
@click.option("--since", type=Moment(), help="From this time on, 2026-11-22 or 2026-11-22T15:50:00Z.")
@click.option("--until", type=Moment(), help="Before this time.")
@click.option("--events", is_flag=True, help="Everything that is no token and no probe.")
@click.option("--json", "as_json", is_flag=True, help="Print the lines as they are.")
def show(files: tuple[Path, ...], as_json: bool, **wanted: Any) -> None:
    r"""Print lines: time, kind, serial number, profile, policy, client and request id, or what happened.

    Nothing is verified. Exit code 1 when there is no such line.

    \b
    Examples:
      timestamp-server audit show --since 2026-11-22 /var/log/tsa/audit.jsonl
      timestamp-server audit show --serial 4f2a...91 --json /var/log/tsa/audit*.jsonl
    """
    found = False
    for path in distinct(files):
        for number, line in enumerate(read_lines(path), 1):
            try:
                fields, _ = read_line(line)
            except BrokenChainError as error:
                click.echo(f"{path}: line {number}: {error}", err=True)
                continue
            if _matches(fields, **wanted):
                found = True
                click.echo(line.decode("ascii", "replace").rstrip("\n") if as_json else "\t".join(_columns(fields)))
    if not found:
        raise click.ClickException("there is no such line")


def _time_of(fields: dict[str, Any]) -> str:
    return str(fields.get("gen_time") or fields.get("time") or "")


def _matches(
    fields: dict[str, Any],
    *,
    serial: str | None,
    profile: str | None,
    client: str | None,
    since: datetime | None,
    until: datetime | None,
    events: bool,
) -> bool:
    if events and fields["type"] in {"token", "probe"}:
        return False
    if serial and fields.get("serial") != serial.removeprefix("0x").replace(":", "").lower().zfill(40):
        return False
    if (profile and fields.get("profile") != profile) or (client and fields.get("client") != client):
        return False
    if since is None and until is None:
        return True
    try:
        moment = datetime.fromisoformat(_time_of(fields))
    except ValueError:
        return False
    return (since is None or moment >= since) and (until is None or moment < until)


def _columns(fields: dict[str, Any]) -> list[str]:
    """Return what people read; control characters of a stranger's making do not reach the terminal."""
    if fields["type"] == "token":
        names = ("serial", "profile", "policy", "client", "request_id")
        values = [_time_of(fields), "token", *(str(fields.get(name, "")) for name in names)]
    else:
        rest = {k: v for k, v in fields.items() if k not in {"seq", "type", "time", "hash", "kind", "filler"}}
        what = fields.get("kind", fields["type"])
        values = [_time_of(fields), str(what), json.dumps(rest, separators=(",", ":"))]
    return [_printable(value) for value in values]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
