"""timestamp-cli evidence due: what must be renewed, before when and why; for cron."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from tsa_core.cli import console
from tsa_core.cli.timestamp.evidence.directory_flags import STATE_FLAG, all_batches, open_state
from tsa_core.cli.timestamp.flags import Call, flag, moment

if TYPE_CHECKING:
    from tsa_core.evidence.state import Due

WITHIN_FLAG: Final = flag(
    "--within",
    least=0,
    most=36500,
    default=90,
    shown_default="90",
    metavar="DAYS",
    help="A batch is due when its end is this near.",
)
FLAGS: Final = (
    STATE_FLAG,
    WITHIN_FLAG,
    flag("--time", convert=moment, metavar="TIME", help="Say it for this moment, 2035-01-31T12:00:00Z (default: now)."),
    flag("--quiet", boolean=True, help="Print only what is due."),
)
EXIT_DUE: Final = 1


def due(call: Call) -> int:
    """Say what must be renewed, before when and why: a certificate ends, or an algorithm.

    Certificates are those in the last timestamp. The ends of algorithms are those that NIST has announced (IR 8547 and
    SP 800-131A drafts). Nothing is verified, and nobody is asked.

    Exit code 0: nothing is due. 1: something is. 2: the command cannot be run.

    \b
    Example, for cron:
      timestamp-cli evidence due --state proof --within 180 --quiet || mail -s 'renew the evidence' archive@example.org
    """  # noqa: D301 - the backslash is click's mark
    from tsa_core.evidence.state import due_batches

    flags = call.flags
    now = flags["time"] or datetime.now(UTC)
    limit = now + timedelta(days=flags["within"])
    found = due_batches(all_batches(open_state(call)))
    late = [each for each in found if each.before <= limit]
    shown = late if flags["quiet"] else found
    if call.as_json:
        console.print_json({"Due": bool(late), "Batches": [_document(each, now, limit) for each in shown]})
    elif shown:
        rows = [
            (
                each.batch.name,
                f"{each.batch.objects:,}",
                _state(each, now, limit),
                f"{each.before:%Y-%m-%d}",
                each.renewal,
                each.reasons[0].why,
            )
            for each in shown
        ]
        console.print_table(("batch", "objects", "state", "before", "renewal", "why"), rows, fixed=4)
    elif not flags["quiet"]:
        console.echo("There is no batch.")
    return EXIT_DUE if late else 0


def _state(due: Due, now: datetime, limit: datetime) -> str:
    if due.before <= now:
        return "overdue"
    return "due" if due.before <= limit else "good"


def _document(due: Due, now: datetime, limit: datetime) -> dict[str, Any]:
    return {
        "Batch": due.batch.name,
        "Objects": due.batch.objects,
        "State": _state(due, now, limit),
        "Before": f"{due.before:%Y-%m-%dT%H:%M:%SZ}",
        "Renewal": due.renewal,
        "Time": f"{due.gen_time:%Y-%m-%dT%H:%M:%SZ}",
        "Reasons": [
            {"Moment": f"{each.moment:%Y-%m-%dT%H:%M:%SZ}", "Renewal": each.renewal, "Why": each.why}
            for each in due.reasons
        ],
    }
