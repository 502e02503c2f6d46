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
from tsa_core.cli.timestamp.many.interruption import Interruption
from tsa_core.cli.timestamp.many.item import Item, shown_name
from tsa_core.cli.timestamp.many.kept import About, Verifiers
from tsa_core.cli.timestamp.many.outcome import Outcome, State, count_words
from tsa_core.cli.timestamp.many.outputs import Outputs
from tsa_core.cli.timestamp.many.places import check_places
from tsa_core.cli.timestamp.many.pool import Pool
from tsa_core.cli.timestamp.many.progress import progress_bar
from tsa_core.cli.timestamp.many.sources import find_items
from tsa_core.cli.timestamp.many.tree import stamp_tree
from tsa_core.cli.timestamp.many_flags import DEFAULT_OUT
from tsa_core.client import TimestampClient
from tsa_core.client.request import RequestError, strong_hash

if TYPE_CHECKING:
    from collections.abc import Callable

    from tsa_core.client import ClientSettings
    from tsa_core.verify import TrustStore

_JOBS: Final = 8
_MAX_WAIT: Final = 600.0
_SINGLE: Final = ("artifact", "digest", "threshold", "token_out")
_SHOWN_WARNINGS: Final = 5


def stamp_many(call: Call, settings: ClientSettings, trust: TrustStore | None) -> int:
    """Get timestamps for all files and return the exit code: 0 when each has one, 1 when not, 130 after Ctrl-C."""
    flags = call.flags
    _check(call)
    try:
        algorithm = strong_hash(flags["hash_name"] or "sha256")
    except RequestError as error:
        raise UsageMistake(str(error)) from None
    verifiers = Verifiers.of(trust, settings.get("verifier"))
    outputs = Outputs(call, verifiers)
    items = find_items(call)
    check_places(items, flags["out_dir"])
    [server] = servers_of(call)
    interruption = Interruption(threading.Event())
    with interruption, outputs as store, TimestampClient(server, **settings) as client:
        asking = Asking(
            client=client,
            algorithm=algorithm,
            asked=Asked(nonce=flags["nonce"], certificate=flags["certificate"], policy=flags["tsa_policy"]),
            verifiers=verifiers,
            store=store,
            convert=outputs.convert,
            force=bool(flags["force"]),
            gate=Gate(flags["max_wait"] or _MAX_WAIT),
            interruption=interruption,
        )
        outcomes = _stamp(items, asking, call)
        outputs.finish(outcomes, client.url)
    _report(outcomes, server=client.url, as_json=call.as_json)
    if asking.fatal:
        console.tell(f"{PROGRAM}: the run ended early: {asking.fatal}")
    if interruption.happened or any(outcome.state is State.UNASKED for outcome in outcomes):
        console.tell(f"{PROGRAM}: the same command again asks for what is missing, and for nothing twice")
    if interruption.happened:
        return 130
    good = all(outcome.state in {State.STAMPED, State.KEPT} for outcome in outcomes)
    return 0 if good else console.EXIT_FAILURE


def _check(call: Call) -> None:
    for name in _SINGLE:
        if call.is_typed(name):
            raise UsageMistake(
                f"--{name.replace('_', '-')} is for one timestamp; it does not go with FILEs, --from-file and --sums"
            )
    if call.is_typed("out") and call.flags["out"] != DEFAULT_OUT:
        raise UsageMistake("--out is for one timestamp; FILEs have theirs beside them, or in --out-dir")
    if len(servers_of(call)) != 1:
        raise UsageMistake("FILEs are timestamped by one --timestamp_server; run the command once for each server")
    if call.is_typed("suffix") and not call.flags["each"]:
        raise UsageMistake("--suffix goes with --each; without it, FILEs get evidence records, which end with .ers")


def _stamp(items: Sequence[Item], asking: Asking, call: Call) -> list[Outcome]:
    """Return what became of each file, in their order."""
    done: dict[str, Outcome] = {}
    jobs = call.flags["jobs"] or _JOBS
    each = bool(call.flags["each"])
    work: Callable[[Item], About | Outcome] = asking.timestamp if each else asking.look_at
    pool: Pool[Item, About | Outcome] = Pool(items, work, jobs=jobs, interruption=asking.interruption)
    abouts: dict[str, About] = {}
    with progress_bar("timestamps" if each else "hashed", len(items)) as advance:
        for found in pool.results():
            advance("the server asks to wait" if asking.gate.waiting else "")
            if isinstance(found, About):
                abouts[found.item.name] = found
            else:
                done[found.item.name] = found
                _tell_failure(found, asking)
    if abouts and not asking.interruption.happened:
        # In the order of the files, so that the same files make the same tree.
        ordered = [abouts[item.name] for item in items if item.name in abouts]
        with progress_bar("evidence records", len(ordered)) as advance:
            for outcome in stamp_tree(asking, ordered):
                done[outcome.item.name] = outcome
                advance("")
                _tell_failure(outcome, asking)
    return [done.get(item.name) or Outcome(item=item, state=State.UNASKED) for item in items]


def _tell_failure(outcome: Outcome, asking: Asking) -> None:
    if outcome.state is State.FAILED and outcome.text != asking.fatal:
        console.tell(f"{PROGRAM}: {shown_name(outcome.item.name)}: {shown_name(outcome.text)}")


def _report(outcomes: Sequence[Outcome], *, server: str, as_json: bool) -> None:
    # One timestamp of a tree stands behind many files; what is odd about it is told once.
    warned = list({outcome.warnings: outcome for outcome in reversed(outcomes) if outcome.warnings}.values())
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
