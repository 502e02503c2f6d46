"""`timestamp-server log` and `timestamp-server witness`: keys, the log's state, going on after a stop, and mirrors."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Final

import click
from click.core import ParameterSource

from tsa_core.api import ConfigError, key_file
from tsa_core.api.transparency import EncodingError, NoteSigner, SignatureType, parse_verifier_key
from tsa_log.keys import cosigner
from tsa_log.mirror_keeper import MirrorKeeper
from tsa_log.options import web_address
from tsa_log.remote_log import RemoteLog, RemoteLogError
from tsa_log.sequencer import SequencerLock
from tsa_log.state import StateFiles
from tsa_log.take_over_command import take_over_log

_LOCK_SECONDS: Final = 10.0
_MAX_KEY_OCTETS: Final = 1 << 14

_out = click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file for the private key; it must not exist.",
)
_directory = click.option(
    "--directory",
    required=True,
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The log's directory: [audit.tokenlog] directory.",
)
_origin = click.option("--origin", required=True, help="The log's name: [audit.tokenlog] origin.")


def _make_key(name: str, kind: SignatureType, out: Path) -> None:
    """Write a new private key for its owner alone, and print the public one; raises ConfigError."""
    try:
        signer = NoteSigner.generate(name, kind)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(error.strerror or str(error), path=str(out)) from None
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(f"{signer.text()}\n")
    click.echo(f"The private key is in {out}. This is the public one:", err=True)
    click.echo(str(signer.key))


@click.group()
def log() -> None:
    """Keys and state of the log of tokens."""


@log.command()
@_origin
@_out
@click.option("--post-quantum", is_flag=True, help="An ML-DSA-44 key, for post_quantum_key, instead of Ed25519.")
def keygen(origin: str, out: Path, *, post_quantum: bool) -> None:
    """Make a key for a log, and print the verifier key that goes to everybody who checks proofs.

    \b
    Example:
      timestamp-server log keygen --origin log.example.com/tsa --out /etc/tsa/log.key
    """  # noqa: D301 - the backslash is click's mark
    _make_key(origin, SignatureType.COSIGNATURE_ML_DSA_44 if post_quantum else SignatureType.ED25519, out)


@log.command()
@_origin
@_directory
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(origin: str, directory: Path, *, as_json: bool) -> None:
    """Say how large the log is, what is published, and whether it is stopped; exit code 1 when it is."""
    with _private_files(directory) as private:
        files = StateFiles(private)
        state, published = files.read(origin), files.read_published()
    facts = {"origin": origin, "size": state.size, "published": published.size, "stopped": state.stopped or None}
    if as_json:
        click.echo(json.dumps(facts))
    else:
        entries = "1 entry" if state.size == 1 else f"{state.size} entries"
        click.echo(f"{origin}: {entries}, {published.size} published")
    if state.stopped:
        raise click.ClickException(f"the log is stopped: {state.stopped}")


@log.command()
@_origin
@_directory
@click.option("--reason", required=True, help="What happened, for whoever reads it later.")
def accept(origin: str, directory: Path, reason: str) -> None:
    """Let a stopped log go on: the entries that go back in time are integrated as they are."""
    with _private_files(directory) as private, _locked(private):
        files = StateFiles(private)
        state = files.read(origin)
        if not state.stopped:
            raise ConfigError("the log is not stopped", path=str(directory))
        with (private / "accepted.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"size": state.size, "stopped": state.stopped, "reason": reason}) + "\n")
        files.forget_stop()
        files.write(replace(state, stopped="", newest=0, accepted=state.accepted + 1))
    click.echo(f"{origin} goes on behind entry {state.size}")


@contextmanager
def _private_files(directory: Path) -> Iterator[Path]:
    """Yield the folder of a log's private files; raises ConfigError for what cannot be read or written there."""
    private = directory / "private"
    try:
        if not private.is_dir():
            raise ConfigError("there is no log here: it has no directory `private`", path=str(directory))
        yield private
    except OSError as error:
        where = str(error.filename or private)
        raise ConfigError(f"{error.strerror or error}; run this as the server's user", path=where) from None


@contextmanager
def _locked(private: Path) -> Iterator[None]:
    lock = SequencerLock(private)
    deadline = monotonic() + _LOCK_SECONDS
    while not lock.take():  # a server that sees that the log is stopped lets go of it within an interval
        if monotonic() > deadline:
            raise ConfigError("a server is integrating entries, so that the log is not stopped", path=str(private))
        sleep(0.05)
    try:
        yield
    finally:
        lock.give_back()


@log.command()
@click.argument("url")
@click.option("--log-key", "keys", multiple=True, required=True, metavar="VKEY", help="The log's verifier key.")
@click.option(
    "--directory",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the copy goes; `public` in it is the log, for any web server.",
)
@click.option(
    "--key",
    "key_path",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The mirror's own cosigning key; the copy's checkpoint is signed with it.",
)
@click.option("--timeout", type=click.FloatRange(0.1, 3600), default=30, show_default=True, help="Seconds for a step.")
@click.option("--follow", is_flag=True, help="Go on copying, every --every seconds.")
@click.option("--every", type=click.IntRange(1, 86_400), default=60, show_default=True, help="Seconds between looks.")
@click.pass_context
def mirror(
    ctx: click.Context,
    /,
    url: str,
    keys: tuple[str, ...],
    directory: Path,
    key_path: Path | None,
    *,
    timeout: float,
    follow: bool,
    every: int,
) -> None:
    """Copy a log of others, and what it adds; nothing is stored that the log has not signed.

    The copy is of one history: a log that shows another one later is refused, with exit code 1.

    \b
    Example:
      timestamp-server log mirror https://log.example.com/tsa --log-key VKEY --directory /srv/mirror
    """  # noqa: D301 - the backslash is click's mark
    if not follow and ctx.get_parameter_source("every") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--every has no effect without --follow")
    try:
        parsed = [parse_verifier_key(key) for key in keys]
        remote = RemoteLog(web_address(url), parsed)
    except (EncodingError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    signer = None if key_path is None else _read_cosigner(key_path)
    try:
        with closing(MirrorKeeper(directory, remote, parsed, signer)) as keeper:
            while True:
                _copy(keeper, timeout, follow=follow)
                if not follow:
                    return
                sleep(every)
    except OSError as error:
        raise ConfigError(error.strerror or str(error), path=str(directory)) from None


def _read_cosigner(path: Path) -> NoteSigner:
    """Return the mirror's key; raises ConfigError."""
    with key_file(path, "mirror's key", limit=_MAX_KEY_OCTETS) as data:
        return cosigner(data.decode("ascii", "replace"), "--key")


def _copy(keeper: MirrorKeeper, timeout: float, *, follow: bool) -> None:
    """Copy what is new and say how much there is; one who follows says what went wrong, and goes on."""
    try:
        checkpoint = keeper.copy(timeout).checkpoint
    except RemoteLogError as error:
        if not follow:
            raise click.ClickException(str(error)) from None
        click.echo(f"Error: {error}", err=True)
    else:
        click.echo(f"{checkpoint.origin}: {checkpoint.size} entries")


log.add_command(take_over_log)


@click.group()
def witness() -> None:
    """Keys of a witness for other logs."""


@witness.command("keygen")
@click.option("--name", required=True, help="The witness's name: its address without scheme, witness.example.com/w1.")
@_out
@click.option("--post-quantum", is_flag=True, help="An ML-DSA-44 key instead of Ed25519.")
def witness_keygen(name: str, out: Path, *, post_quantum: bool) -> None:
    """Make a key for a witness, and print the verifier key for logs and for whoever checks proofs.

    \b
    Example:
      timestamp-server witness keygen --name witness.example.com/w1 --out /etc/tsa/witness.key
    """  # noqa: D301 - the backslash is click's mark
    kind = SignatureType.COSIGNATURE_ML_DSA_44 if post_quantum else SignatureType.COSIGNATURE_ED25519
    _make_key(name, kind, out)
