"""timestamp-cli timestamp FILE...: timestamps for many files."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from tsa_core.cli import console
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.authorities import servers_of
from tsa_core.cli.timestamp.flags import PROGRAM, Call
from tsa_core.cli.timestamp.many.asking import Asked, Asking
from tsa_core.cli.timestamp.many.gate import Gate
from tsa_core.cli.timestamp.many.item import Item, shown_name
from tsa_core.cli.timestamp.many.outcome import Outcome, State, count_words
from tsa_core.cli.timestamp.many.outputs import Outputs
from tsa_core.cli.timestamp.many.places import check_places
from tsa_core.cli.timestamp.many.pool import Pool
from tsa_core.cli.timestamp.many.progress import progress_bar
from tsa_core.cli.timestamp.many.sources import find_items
from tsa_core.client import TimestampClient
from tsa_core.client.request import RequestError, strong_hash

if TYPE_CHECKING:
    from tsa_core.client import ClientSettings

_JOBS: Final = 8
_MAX_WAIT: Final = 600.0
_SINGLE: Final = ("artifact", "digest", "threshold", "token_out")
_SHOWN_WARNINGS: Final = 5


def stamp_many(call: Call, settings: ClientSettings) -> int:
    """Get timestamps for all files and return the exit code: 0 when each has one, 1 when not, 130 after Ctrl-C."""
    flags = call.flags
    _check(call)
    try:
        algorithm = strong_hash(flags["hash_name"] or "sha256")
    except RequestError as error:
        raise UsageMistake(str(error)) from None
    outputs = Outputs(call, settings.get("verifier"))
    items = find_items(call)
    check_places(items, flags["out_dir"])
    stop = threading.Event()
    [server] = servers_of(call)
    with outputs as store, TimestampClient(server, **settings) as client:
        asking = Asking(
            client=client,
            algorithm=algorithm,
            asked=Asked(nonce=flags["nonce"], certificate=flags["certificate"], policy=flags["tsa_policy"]),
            verifier=settings.get("verifier"),
            store=store,
            force=bool(flags["force"]),
            gate=Gate(flags["max_wait"] or _MAX_WAIT),
            stop=stop,
        )
        outcomes, interrupted = _ask_for_all(items, asking, flags["jobs"] or _JOBS)
        outputs.finish(outcomes, client.url)
    _report(outcomes, server=client.url, as_json=call.as_json)
    if asking.fatal:
        console.tell(f"{PROGRAM}: the run ended early: {asking.fatal}")
    if interrupted or any(outcome.state is State.UNASKED for outcome in outcomes):
        console.tell(f"{PROGRAM}: the same command again asks for what is missing, and for nothing twice")
    if interrupted:
        return 130
    good = all(outcome.state in {State.STAMPED, State.KEPT} for outcome in outcomes)
    return 0 if good else console.EXIT_FAILURE


def _check(call: Call) -> None:
    for name in _SINGLE:
        if call.flags[name] is not None:
            raise UsageMistake(
                f"--{name.replace('_', '-')} is for one timestamp; it does not go with FILEs, --from-file and --sums"
            )
    if call.flags["out"] != "response.tsr":
        raise UsageMistake("--out is for one timestamp; FILEs have theirs beside them, or in --out-dir")
    if len(servers_of(call)) != 1:
        raise UsageMistake("FILEs are timestamped by one --timestamp_server; run the command once for each server")
    if not call.flags["each"]:
        raise UsageMistake("give --each, to ask the server once for every FILE")


def _ask_for_all(items: Sequence[Item], asking: Asking, jobs: int) -> tuple[list[Outcome], bool]:
    """Return what became of each file, in their order, and whether the run was interrupted."""
    pool: Pool[Item, Outcome] = Pool(items, asking.timestamp, jobs=jobs, stop=asking.stop)
    done: dict[str, Outcome] = {}
    with progress_bar("timestamps", len(items)) as advance:
        for outcome in pool.results():
            done[outcome.item.name] = outcome
            advance("the server asks to wait" if asking.gate.waiting else "")
            if outcome.state is State.FAILED and outcome.text != asking.fatal:
                console.tell(f"{PROGRAM}: {shown_name(outcome.item.name)}: {shown_name(outcome.text)}")
    return [done.get(item.name) or Outcome(item=item, state=State.UNASKED) for item in items], pool.interrupted


def _report(outcomes: Sequence[Outcome], *, server: str, as_json: bool) -> None:
    warned = [outcome for outcome in outcomes if outcome.warnings]
    for outcome in warned[:_SHOWN_WARNINGS]:
        console.tell(f"{PROGRAM}: warning: {shown_name(outcome.item.name)}: {'; '.join(outcome.warnings)}")
    if len(warned) > _SHOWN_WARNINGS:
        console.tell(f"{PROGRAM}: warning: the same or others for {len(warned) - _SHOWN_WARNINGS} more files")
    if as_json:
        summary: dict[str, Any] = {
            state.name.lower(): sum(outcome.state is state for outcome in outcomes) for state in State
        }
        console.print_json({"Server": server, "Files": [o.document() for o in outcomes], "Summary": summary})
    else:
        console.echo(count_words(outcomes))
