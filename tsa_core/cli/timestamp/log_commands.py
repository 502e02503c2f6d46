"""timestamp-cli log: proofs from a log, and looking after one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from tsa_core.cli import console
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.files import read_file
from tsa_core.cli.timestamp.flags import PROGRAM
from tsa_core.cli.timestamp.log_flags import verifier_keys
from tsa_core.cli.timestamp.options import common, common_options
from tsa_core.protocol.errors import EncodingError, TsaError
from tsa_core.verify.errors import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from tsa_core.client.deadline import Deadline
    from tsa_core.client.errors import TransportError
    from tsa_core.client.log_monitor import Observation, Seen
    from tsa_core.client.log_reader import LogReader
    from tsa_core.protocol.transparency.leaf import TimestampEntry


_STATE_VERSION: Final = 1
_SUFFIXES: Final = frozenset({".tsr", ".tst", ".ers", ".tsd"})
"""Endings of files that hold timestamps, and nothing else."""

_log_key = click.option(
    "--log-key", "keys", multiple=True, required=True, metavar="VKEY", help="The log's verifier key."
)


def _write(path: Path, data: bytes, *, force: bool) -> None:
    """Write a file whole or not at all, with the umask's mode; raises UsageMistake."""
    from tsa_core.cli.timestamp.whole_file import write_whole

    try:
        write_whole(str(path), data, replace=force, synced=True)
    except FileExistsError:
        raise UsageMistake(f"{path} is there already; --force overwrites it") from None
    except OSError as error:
        raise UsageMistake(f"{path} cannot be written: {error.strerror}") from None


def _reader(ctx: click.Context, url: str, keys: tuple[str, ...]) -> tuple[LogReader, Deadline]:
    from tsa_core.client.deadline import Deadline
    from tsa_core.client.log_reader import LogReader

    deadline = Deadline(common(ctx, "timeout"))
    return LogReader(url, verifier_keys("--log-key", keys), deadline=deadline), deadline


@click.group()
def log() -> None:
    """Prove that timestamps are in a public log, and look after a log."""


@log.command()
@click.option("--timestamp", "reply", required=True, metavar="FILE", help="The reply or the bare token.")
@click.option("--log-url", "url", required=True, metavar="URL", help="Where the log is served.")
@_log_key
@click.option("--out", metavar="FILE", help="Where the proof goes (default: the timestamp's name and .tlog-proof).")
@click.option("--force", is_flag=True, help="Overwrite the file.")
@click.pass_context
def prove(
    ctx: click.Context, /, reply: str, url: str, keys: tuple[str, ...], out: str | None, *, force: bool, **_: Any
) -> None:
    """Write the proof that a timestamp is in a log, with the first checkpoint that covers it.

    Keep it beside the timestamp: whoever verifies needs neither the log nor us.

    \b
    Example:
      timestamp-cli log prove --timestamp release.tsr --log-url https://log.example.com/tsa --log-key VKEY
    """  # noqa: D301 - the backslash is click's mark
    from tsa_core.protocol.transparency.leaf import entry_of

    try:
        entry = entry_of(read_file(reply))
    except EncodingError as error:
        raise UsageMistake(f"--timestamp: {error}") from None
    reader, deadline = _reader(ctx, url, keys)
    with deadline:
        proof = reader.prove(entry)
    place = out or f"{reply}.tlog-proof"
    _write(Path(place), proof.encode(), force=force)
    checkpoint = proof.signed.checkpoint
    if common(ctx, "output_format") == "json":
        console.print_json(
            {"ProofPath": place, "Origin": checkpoint.origin, "Index": proof.index, "Size": checkpoint.size}
        )
    else:
        console.echo(f"The timestamp is entry {proof.index} of {checkpoint.origin}; the proof is in {place}")


@log.command()
@click.argument("url")
@_log_key
@click.option("--state", "state_file", type=click.Path(path_type=Path, dir_okay=False), help="Where it was seen last.")
@click.option("--certificate-sha256", "certificate", metavar="HEX", help="Show the tokens of this TSA certificate.")
@click.option("--follow", is_flag=True, help="Go on looking, every --every seconds.")
@click.option("--every", type=click.IntRange(1, 86_400), default=60, show_default=True, help="Seconds between looks.")
@click.option(
    "--give-up-after",
    type=click.IntRange(1, 864_000),
    help="End with exit code 75 when the log could not be read for so many seconds (default: never).",
)
@click.pass_context
def monitor(
    ctx: click.Context,
    /,
    url: str,
    keys: tuple[str, ...],
    state_file: Path | None,
    certificate: str | None,
    *,
    follow: bool,
    every: int,
    give_up_after: int | None,
    **_: Any,
) -> int:
    """Check that a log only grows, that its entries are those it signed, and that their times do not go back.

    With --state it begins where it was, and remembers that. Exit code 1 when something is wrong, for cron; 75 when the
    log could not be read, so that nothing was checked. With --follow it says so, asks again, and ends at SIGTERM.

    \b
    Example:
      timestamp-cli log monitor https://log.example.com/tsa --log-key VKEY --state log.seen
    """  # noqa: D301 - the backslash is click's mark
    from tsa_core.cli.timestamp.log_following import LogUnreachable
    from tsa_core.cli.timestamp.log_following import follow as follow_log
    from tsa_core.client.errors import TransportError
    from tsa_core.client.transport import is_web_address

    for name in ("every", "give_up_after"):
        if not follow and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageMistake(f"--{name.replace('_', '-')} has no effect without --follow")
    if not is_web_address(url):
        raise UsageMistake(f"{printable(url.rpartition('@')[2], 200)} is not an http or https URL")
    looks = _Looks(ctx, url, keys, state_file, certificate)
    if follow:
        return follow_log(looks.look, looks.keep, every=every, give_up_after=give_up_after, blind=looks.blind)
    try:
        looks.look_through()
    except TransportError as error:
        checked = f"only {looks.read} new entries were checked" if looks.read else "nothing was checked"
        raise LogUnreachable(f"{error}; {checked}") from None
    return 0


class _Looks:
    """Looks at one log, each time from where the last look ended; `read` counts the new entries of a long one."""

    def __init__(
        self, ctx: click.Context, url: str, keys: tuple[str, ...], state_file: Path | None, certificate: str | None
    ) -> None:
        self._ctx = ctx
        self._url = url
        self._keys = keys
        self._state_file = state_file
        self._as_json = common(ctx, "output_format") == "json"
        self._shown = _shown_tokens(certificate, as_json=self._as_json)
        self._seen = _read_seen(state_file)
        self.read = 0

    def look(self) -> Observation:
        """Read a portion within --timeout."""
        from tsa_core.client.log_monitor import look

        reader, deadline = _reader(self._ctx, self._url, self._keys)
        with deadline:
            return look(reader, self._seen, now=datetime.now(UTC), each=self._shown)

    def look_through(self) -> None:
        """Read all that the log had when this began; what it enters meanwhile is for the next time."""
        first = found = self.look()
        while self.keep(found) and self._seen.size < first.signed.checkpoint.size:
            found = self.look()
        if found.behind:
            _tell(found, self.read, as_json=self._as_json)

    def keep(self, found: Observation) -> bool:
        """Tell and remember what was found, and return whether there is more to read; raises ClientError for alarms."""
        from tsa_core.client.errors import ClientError
        from tsa_core.client.transport import without_credentials

        self.read += found.entries
        if found.behind and not found.alarms:
            _tell_progress(found)
        else:
            _tell(found, self.read, as_json=self._as_json)
        if found.alarms:
            # What is wrong stays wrong: the next look begins where this one did, and says it again.
            raise ClientError(
                without_credentials(self._url), f"{len(found.alarms)} entries are wrong; the first: {found.alarms[0]}"
            )
        if self._state_file is not None:
            _write_seen(self._state_file, found.seen)
        self._seen = found.seen
        if not found.behind:
            self.read = 0
        return found.behind

    def blind(self, error: TransportError, since: datetime, pause: float) -> None:
        """Tell that a look failed."""
        moment = f"{since:%Y-%m-%dT%H:%M:%SZ}"
        if self._as_json:
            console.echo(json.dumps({"Unreachable": str(error), "NothingSince": moment}))
        console.tell(f"{PROGRAM}: {error}; nothing was seen since {moment}; asking again in {pause:.0f} s")


def _shown_tokens(certificate: str | None, *, as_json: bool) -> Callable[[int, TimestampEntry], None] | None:
    if certificate is None:
        return None
    try:
        wanted = bytes.fromhex(certificate)
    except ValueError:
        raise UsageMistake("--certificate-sha256: write the fingerprint in hexadecimal digits") from None

    def show(index: int, entry: TimestampEntry) -> None:
        if entry.certificate_hash == wanted:
            document = {"Index": index, "Time": entry.gen_time.isoformat(), "TSTInfoSHA256": entry.tst_info_hash.hex()}
            console.echo(json.dumps(document) if as_json else "  ".join(map(str, document.values())))

    return show


def _tell_progress(found: Observation) -> None:
    """Say on a terminal how far the look is, in a line that the next one replaces."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{found.seen.size:,} of {found.signed.checkpoint.size:,} entries are checked\r")
        sys.stderr.flush()


def _tell(found: Observation, new: int, *, as_json: bool) -> None:
    checkpoint = found.signed.checkpoint
    if as_json:
        document = {"Origin": checkpoint.origin, "Size": found.seen.size, "New": new}
        console.echo(json.dumps({**document, "Alarms": found.alarms}))
        return
    for alarm in found.alarms:
        console.tell(alarm)
    console.echo(f"{checkpoint.origin}: {found.seen.size} entries, {new} of them new")


def _read_seen(path: Path | None) -> Seen:
    from tsa_core.client.log_monitor import Seen

    if path is None or not path.exists():
        return Seen()
    try:
        document = json.loads(read_file(str(path)))
        if document["version"] != _STATE_VERSION:
            raise ValueError("of another version")
        newest = None if document["newest"] is None else datetime.fromisoformat(document["newest"])
        if newest is not None and newest.tzinfo is None:
            raise ValueError("its time has no zone")
        return Seen(
            size=int(document["size"]),
            root=bytes.fromhex(document["root"]),
            newest=newest,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UsageMistake(f"--state: {path} is not what `log monitor` writes: {error}") from None


def _write_seen(path: Path, seen: Seen) -> None:
    newest = None if seen.newest is None else seen.newest.isoformat()
    document = {"version": _STATE_VERSION, "size": seen.size, "root": seen.root.hex(), "newest": newest}
    _write(path, json.dumps(document).encode(), force=True)


@log.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--log-url", "url", required=True, metavar="URL", help="Where the log is served.")
@_log_key
@click.pass_context
def audit(ctx: click.Context, /, directory: Path, url: str, keys: tuple[str, ...], **_: Any) -> None:
    """Look whether every timestamp below a directory is in a log; exit code 1 when one is not.

    It finds replies, tokens, evidence records and .tsd by what is in the files, whatever they are called. One that
    verifies and is not in the log was made behind the log's back: with a stolen key, for example.

    \b
    Example:
      timestamp-cli log audit received/ --log-url https://log.example.com/tsa --log-key VKEY
    """  # noqa: D301 - the backslash is click's mark
    from tsa_core.client.log_reader import NotInLog
    from tsa_core.protocol.transparency.leaf import entry_of

    missing = unreadable = count = 0
    for place, found in _timestamps(directory):
        if isinstance(found, str):
            unreadable += 1
            console.tell(f"{place}: {found}")
            continue
        count += 1
        try:
            entry = entry_of(found)
            reader, deadline = _reader(ctx, url, keys)
            with deadline:
                proof = reader.prove(entry)
        except (EncodingError, NotInLog) as error:
            missing += 1
            console.tell(f"{place}: {error}")
        else:
            console.echo(f"{place}: entry {proof.index}")
    if missing or unreadable:
        raise TsaError(
            f"{missing} of {count} timestamps are not in the log"
            + (f", and {unreadable} files are none, or cannot be read" if unreadable else "")
        )
    if not count:
        raise UsageMistake(f"there is no timestamp below {directory}")


def _timestamps(directory: Path) -> Iterator[tuple[str, bytes | str]]:
    """Yield each token below a directory with where it is, and why a file that should hold one has none."""
    from tsa_core.cli.timestamp.files import MAX_FILE_OCTETS
    from tsa_core.cli.timestamp.many.proofs import tokens_in
    from tsa_core.cli.timestamp.many.reading import read_whole
    from tsa_core.cli.timestamp.tokens import without_armor

    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        named = path.suffix.lower() in _SUFFIXES
        if not named and path.stat().st_size > MAX_FILE_OCTETS:
            continue
        try:
            tokens = tokens_in(without_armor(read_whole(str(path), MAX_FILE_OCTETS)))
        except OSError as error:
            yield str(path), f"it cannot be read: {error.strerror}"
            continue
        if named and not tokens:
            yield str(path), "it is no timestamp"
        for number, token in enumerate(tokens, 1):
            yield (str(path) if len(tokens) == 1 else f"{path}, timestamp {number} of {len(tokens)}"), token


for _command in (prove, monitor, audit):
    _command.params += common_options()
