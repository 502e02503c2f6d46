"""`timestamp-server audit verify` and `show`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from tsa_audit_file.chain import BrokenChainError, Link, read_line
from tsa_audit_file.verification import FileReport, check_files, distinct, read_lines
from tsa_core.api import ConfigError

_FILES = click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False, exists=True))


class Anchor(click.ParamType[Link]):
    """A line that must be in the chain, as `verify` prints it: NUMBER:HASH."""

    name = "number:hash"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Link:
        """Return the link."""
        number, _, digest = str(value).partition(":")
        if not number.isdecimal() or len(digest) != 64:
            self.fail(
                f"{value!r} is not a line's number, a colon and its hash, as `audit verify` prints them", param, ctx
            )
        return Link(int(number), digest.lower())


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
@click.option("--anchor", type=Anchor(), help="A line that must be there, noted from an earlier run: NUMBER:HASH.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(files: tuple[Path, ...], key_file: Path | None, anchor: Link | None, as_json: bool) -> None:
    r"""Check that the lines are those that were written, in their order, with none missing between them.

    Several files are put in their order, and each must continue the one before it. Exit code 1 for any damage.

    Lines cut off at the end of the last file leave a chain that fits: note the NUMBER:HASH that this prints elsewhere,
    and give it to --anchor later. Without a key, whoever can write the files can make a chain that fits.

    \b
    Examples:
      timestamp-server audit verify /var/log/tsa/audit*.jsonl
      timestamp-server audit verify --key-file audit.key --anchor 4711:5d3c...e1 /var/log/tsa/audit*.jsonl
    """
    reports = check_files(list(files), key=_read_key(key_file), anchor=anchor)
    found = anchor is None or any(report.anchored for report in reports)
    if as_json:
        document = {"intact": found and not any(r.damage for r in reports), "files": [_describe(r) for r in reports]}
        click.echo(json.dumps(document, indent=2))
    for report in [] if as_json else reports:
        click.echo(_line(report))
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
        "continues": f"{report.first.seq}:{report.first.digest}",
        "anchor": f"{report.last.seq}:{report.last.digest}",
    }


@audit.command()
@_FILES
@click.option("--serial", help="Serial number of a token, in hexadecimal.")
@click.option("--profile", help="Tokens of this profile.")
@click.option("--client", help="Tokens that this address asked for.")
@click.option("--since", type=Moment(), help="From this time on, 2026-11-22 or 2026-11-22T15:50:00Z.")
@click.option("--until", type=Moment(), help="Before this time.")
@click.option("--events", is_flag=True, help="Everything that is no token.")
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
    if events and fields["type"] == "token":
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
        rest = {k: v for k, v in fields.items() if k not in {"seq", "type", "time", "hash", "kind"}}
        what = fields.get("kind", fields["type"])
        values = [_time_of(fields), str(what), json.dumps(rest, separators=(",", ":"))]
    return ["".join(c if c.isprintable() else "?" for c in value) for value in values]
