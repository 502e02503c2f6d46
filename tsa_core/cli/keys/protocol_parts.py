"""What `keys ceremony` and `keys destroyed` share: who was there, when and where; timestamp, file and trail."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import cryptography

from tsa_core import __version__
from tsa_core.api import AuditError, AuditEvent, AuditSink, ConfigError, one_line, read_file, why_not_writable
from tsa_core.cli import console
from tsa_core.cli.output_file import write_files
from tsa_core.client import RequestTimeout, ThresholdNotMet, stamp_all
from tsa_core.config import CONFIG_VARIABLE, load_settings
from tsa_core.documents.ceremony.protocol import DESTROYED, MADE, TAKEN, Protocol
from tsa_core.documents.ceremony.shown import document_of
from tsa_core.documents.markdown import to_markdown
from tsa_core.host import AUDIT_SINK, PluginHost
from tsa_core.verify import PathError, TrustStore, Verifier

FILE: Final = click.Path(path_type=Path, dir_okay=False)
_MAX_ROOTS_OCTETS: Final = 4 * 1_048_576
_STAMP_SECONDS: Final = 30.0
_MAX_NAME: Final = 200
_WHO: Final = "Whether the persons named were there, and who they are."
_COPIES: Final = "Whether copies of the private key exist, outside the module or in a backup of it."
_QUORUM: Final = (
    "Whether the module demands several persons (m of n), for its administration or for each use of the key. No "
    "interface of a signer tells it: note the quorum, and who held which part, by hand."
)
NOT_CHECKED: Final[Mapping[str, Sequence[str]]] = {
    MADE: (_WHO, _QUORUM, _COPIES),
    TAKEN: (_WHO, _QUORUM, _COPIES, "Where, when and how the key was made: it was there before."),
    DESTROYED: (_WHO, _COPIES, "Whether the module destroys what it deletes: its certification says so."),
}
"""What no program can see, by what became of the key."""
_NO_TRAIL: Final = (
    "no audit sink that keeps events is configured: the audit trail, and `audit report`, will not tell of this"
)
_OPTIONS: Final = (
    click.option("--config", type=FILE, metavar="FILE", help="The server's configuration  [TSA_CONFIG]"),
    click.option(
        "--attendee",
        "attendees",
        multiple=True,
        metavar="'NAME=ROLE'",
        help="Who is there, and as what; repeatable. Without it, a terminal is asked",
    ),
    click.option("--reason", default="", metavar="TEXT", help="Why it is done, a ticket's number for example"),
    click.option("--tsa", metavar="URL", help="Another timestamp authority, which stamps the protocol"),
    click.option("--tsa-roots", type=FILE, metavar="FILE", help="PEM file: the roots of that authority"),
    click.option("--output", type=FILE, metavar="FILE.json", help="Where the protocol goes; FILE.md is for people"),
)


def protocol_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that both commands have."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class Steps:
    """What was done, each step with its time and outcome."""

    def __init__(self) -> None:
        self.begun = _now()
        self.rows: list[dict[str, str]] = []

    def add(self, step: str, outcome: str) -> None:
        """Note a step that is over."""
        self.rows.append({"time": _now(), "step": step, "outcome": outcome})


def check_before(output: Path | None, tsa: str | None, tsa_roots: Path | None, *, csr_out: Path | None = None) -> Path:
    """Return where the protocol goes; raises for what would be noticed only after the key was made."""
    if output is None:
        raise click.UsageError("--output FILE.json is missing: the protocol")
    if bool(tsa) != bool(tsa_roots):
        raise click.UsageError("--tsa URL and --tsa-roots FILE go together: what was stamped is verified at once")
    if output.suffix == ".md":
        raise click.UsageError("--output names the JSON; the text for people is written beside it, as .md")
    if csr_out is not None and csr_out.absolute() in {output.absolute(), output.with_suffix(".md").absolute()}:
        raise click.UsageError("--csr-out names the file of the protocol; give the request one of its own")
    for path in (output, output.with_suffix(".md"), *([csr_out] if csr_out else [])):
        if path.exists() or path.is_symlink():
            raise ConfigError("it exists already, and is not written over", path=str(path))
        folder = path.absolute().parent
        if not folder.is_dir() or (reason := why_not_writable(folder)):
            raise ConfigError(reason if folder.is_dir() else "there is no such directory", path=str(folder))
    if tsa_roots is not None:
        verifier_of(tsa_roots)
    return output


def attendees_of(given: Sequence[str]) -> list[dict[str, str]]:
    """Return who is there, asked for on a terminal when nobody was given; raises UsageError."""
    found = [_attendee(*each.partition("=")[::2]) for each in given]
    if not found and sys.stdin.isatty():
        while name := click.prompt(
            "Name of an attendee (empty: nobody else)", default="", show_default=False, err=True
        ):
            found.append(_attendee(name, click.prompt("Role", err=True)))
    if not found:
        raise click.UsageError("who is there? --attendee 'Ada Lovelace=security officer', once for each person")
    if len(found) == 1:
        console.tell("WARNING: one person alone; RFC 3628 7.2.1 and EN 319 421 7.6.2 want dual control at least")
    return found


def _attendee(name: str, role: str) -> dict[str, str]:
    name, role = name.strip(), role.strip()
    if not name or not role or max(len(name), len(role)) > _MAX_NAME or not (name + role).isprintable():
        raise click.UsageError("--attendee is 'NAME=ROLE', of 200 letters each at most, on one line")
    return {"name": name, "role": role}


def content_of(what: str, steps: Steps, attendees: list[dict[str, str]], reason: str, **more: Any) -> dict[str, Any]:
    """Return a protocol's content; `more` is what it has beside the facts that every protocol has."""
    return {
        "what": what,
        "begun": steps.begun,
        "ended": _now(),
        "host": {"name": platform.node(), "system": platform.platform()},
        "software": {
            "tsa-core": __version__,
            "Python": platform.python_version(),
            "cryptography": cryptography.__version__,
            **more.pop("software", {}),
        },
        "attendees": attendees,
        "reason": reason,
        "steps": steps.rows,
        **more,
    }


def verifier_of(roots: Path) -> Verifier:
    """Return what verifies timestamps by a file of roots; raises ConfigError."""
    try:
        return Verifier(TrustStore.from_files(read_file(roots, "roots of a TSA", limit=_MAX_ROOTS_OCTETS)))
    except PathError as error:
        raise ConfigError(str(error), path=str(roots)) from None


def stamped(protocol: Protocol, tsa: str | None, tsa_roots: Path | None) -> tuple[Protocol, str]:
    """Return the protocol with a timestamp, and why it has none where one was wanted."""
    if tsa is None or tsa_roots is None:
        return protocol, ""
    try:
        given = stamp_all(
            [tsa], artifact=protocol.stamped_octets(), timeout=_STAMP_SECONDS, verifier=verifier_of(tsa_roots)
        )
    except ThresholdNotMet as error:
        return protocol, "; ".join(str(failure) for failure in error.failures)
    except RequestTimeout as error:
        return protocol, str(error)
    [stamp] = given.timestamps
    return replace(protocol, timestamp=(stamp.url, stamp.reply)), ""


def write_protocol(protocol: Protocol, output: Path) -> None:
    """Write the protocol as JSON, and as a text for people beside it; both or none."""
    text = to_markdown(document_of(protocol))
    files = [(output, protocol.to_json()), (output.with_suffix(".md"), text.encode("utf-8"))]
    write_files(files, mode=0o644, new=True)
    console.echo(f"{output}  {protocol.fingerprint}")


@contextmanager
def opened_sinks(config: Path | None) -> Iterator[Callable[[str, Protocol], None]]:
    """Open the audit sinks of the configuration, before anything is done; yield what puts an event into each trail.

    Without a configuration, or a sink that keeps events, says so: then nothing but the file tells of the ceremony.
    Raises TsaError; what is yielded raises ClickException when a sink does not take the event.
    """
    if config is None and not os.environ.get(CONFIG_VARIABLE):
        console.tell(_NO_TRAIL)
        yield lambda _kind, _protocol: None
        return
    settings = load_settings(config, whole=False)
    host = PluginHost.for_settings(settings)
    try:
        opened = {name: host.open(AUDIT_SINK, name, settings.audit.plugin_table(name)) for name in settings.audit.sinks}
        keeping = {name: sink for name, sink in opened.items() if sink.keeps_events}
        if not keeping:
            console.tell(_NO_TRAIL)

        def record(kind: str, protocol: Protocol) -> None:
            event = AuditEvent(kind=kind, time=datetime.now(UTC), details=_details(protocol))
            faults = [fault for name, sink in keeping.items() if (fault := _told(name, sink, event))]
            if faults:
                raise click.ClickException(f"the protocol is written, but not told to the trail: {'; '.join(faults)}")

        yield record
    finally:
        host.close()


def _told(name: str, sink: AuditSink, event: AuditEvent) -> str:
    """Have a sink keep an event; return why it does not."""
    try:
        sink.event(event)
    except AuditError as error:
        return f"{name}: {one_line(error)}"
    return ""


def _details(protocol: Protocol) -> Mapping[str, str]:
    content = protocol.content
    return {
        "attendees": ", ".join(f"{each['name']} ({each['role']})" for each in content["attendees"]),
        "host": content["host"]["name"],
        "key_sha256": content["key"]["sha256"],
        "protocol_sha256": protocol.fingerprint,
        "what": content["what"],
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
