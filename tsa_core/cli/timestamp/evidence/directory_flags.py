"""What the commands of evidence share: the state directory, the progress line, and digests of files."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.flags import Call, flag

if TYPE_CHECKING:
    from collections.abc import Callable

    from tsa_core.evidence.making import Stamp
    from tsa_core.evidence.state import Batch, StateDirectory
    from tsa_core.verify import Revocation, TrustStore

STATE_FLAG: Final = flag("--state", required=True, metavar="DIR", help="The directory with the evidence.")
WORKERS_FLAG: Final = flag(
    "--workers", least=1, most=256, metavar="N", help="Files to read at once (default: as many as CPUs)."
)
_WIDTH: Final = 30


@contextmanager
def mistakes() -> Iterator[None]:
    """Make mistakes of whoever typed the command of what the room of evidence refuses: files, folders, hashes."""
    from tsa_core.evidence import EvidenceError

    try:
        yield
    except EvidenceError as error:
        raise UsageMistake(str(error)) from None


def open_state(call: Call) -> StateDirectory:
    """Return the directory that --state names; raises UsageMistake."""
    from tsa_core.evidence.state import StateDirectory

    with mistakes():
        return StateDirectory(Path(call.flags["state"]))


def all_batches(state: StateDirectory) -> list[Batch]:
    """Return the batches of a state directory; raises UsageMistake for one that cannot be read."""
    with mistakes():
        return state.batches()


def own_revocation(call: Call) -> Revocation | None:
    """Return the CRLs and OCSP responses that the flags give; None when nothing about revocation was asked for."""
    from tsa_core.cli.timestamp.revocation import given_revocation

    return given_revocation({"fetch_crls": False, "fetch_ocsp": False, **call.flags, "artifact": None})


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[[int, int], None] | None]:
    """Give what shows files and bytes on a terminal: a bar when the number of files is known; else None."""
    if not sys.stderr.isatty():
        yield None
        return
    shown = 0.0

    def show(files: int, octets: int) -> None:
        nonlocal shown
        if time.monotonic() - shown < 0.1:
            return
        shown = time.monotonic()
        bar = ""
        if total:
            done = min(_WIDTH, _WIDTH * files // total)
            bar = f"[{'#' * done}{'.' * (_WIDTH - done)}] {100 * files // total:3} % "
        sys.stderr.write(f"\r\x1b[K{what} {bar}{files:,} files, {octets / 1e6:,.1f} MB")
        sys.stderr.flush()

    try:
        yield show
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


@contextmanager
def stamping(call: Call, trust: TrustStore | None) -> Iterator[Stamp]:
    """Give what asks the one --timestamp_server; its answers are verified when there is trust."""
    from tsa_core.cli.timestamp.connection import connection_settings
    from tsa_core.client import TimestampClient
    from tsa_core.evidence import stamper
    from tsa_core.verify import Verifier

    servers = _servers(call)
    if len(servers) != 1:
        raise UsageMistake("evidence asks one --timestamp_server: renewals are over each other, not side by side")
    settings = connection_settings(call)
    if trust is not None:
        settings["verifier"] = Verifier(trust)
    with TimestampClient(servers[0], **settings) as client:
        yield stamper(client, policy=call.flags["tsa_policy"])


def _servers(call: Call) -> Sequence[str]:
    if not call.flags.get("tsa"):
        return tuple(call.common("timestamp_server"))
    from tsa_core.cli.timestamp.authorities import servers_of

    return servers_of(call)


def optional_trust(call: Call) -> TrustStore | None:
    """Return the trust that the flags name, None when they name none and nobody knows the roots of --tsa."""
    from tsa_core.cli.timestamp.trust import TRUST_FLAGS, trust_in, trust_of

    if any(call.flags[each.name] is not None for each in TRUST_FLAGS):
        return trust_of(call)
    if call.flags["tsa"] is None:
        return None
    from tsa_core.cli.timestamp.authorities import authority_of

    authority = authority_of(call)
    return trust_in(authority, call) if authority is not None else None


def chosen_batches(call: Call, batches: Sequence[Batch]) -> list[Batch]:
    """Return the batches that --batch names, all when it names none."""
    known = {batch.name: batch for batch in batches}
    for name in call.flags["batch"]:
        if name not in known:
            raise UsageMistake(f"there is no batch {name!r}; there are {', '.join(known) or 'none'}")
    return [known[name] for name in call.flags["batch"]] or list(batches)
