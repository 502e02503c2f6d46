"""timestamp-cli evidence create and add: one timestamp for any number of files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from tsa_core.cli import console
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.connection import CONNECTION_FLAGS
from tsa_core.cli.timestamp.evidence.directory_flags import (
    STATE_FLAG,
    WORKERS_FLAG,
    mistakes,
    open_state,
    optional_trust,
    progress,
    stamping,
)
from tsa_core.cli.timestamp.flags import PROGRAM, TSA, Call, flag
from tsa_core.cli.timestamp.trust import TRUST_FLAGS

if TYPE_CHECKING:
    from tsa_core.evidence.state import AddedBatch, StateDirectory

ADD_FLAGS: Final = (
    STATE_FLAG,
    flag(
        "--hash",
        name="hash_name",
        metavar="NAME",
        default="sha256",
        shown_default="sha256",
        help="Hash of the files and of the tree: sha256, sha512, sha3-256, ...",
    ),
    flag(
        "--group-by",
        choices=("folder",),
        help="folder: the files of a folder are one data group, proven together and with no others.",
    ),
    TSA,
    flag("--tsa-policy", metavar="OID", help="Ask for this policy."),
    WORKERS_FLAG,
    *TRUST_FLAGS,
    *CONNECTION_FLAGS,
)
CREATE_FLAGS: Final = ADD_FLAGS
_SHOWN: Final = 5


def create(call: Call) -> None:
    """Make a directory with evidence for files: one timestamp, and what proves each.

    Without files, the directory is made and holds nothing yet. With trust flags, the timestamp is verified first.

    \b
    Examples:
      timestamp-cli evidence create --state proof documents/ contract.pdf
      timestamp-cli evidence create --state proof --group-by folder cases/ --timestamp_server https://tsa.example.org
    """  # noqa: D301 - the backslash is click's mark
    from tsa_core.evidence.state import StateDirectory

    with mistakes():
        state = StateDirectory.create(Path(call.flags["state"]))
    if call.paths:
        _add(call, state)
    elif call.as_json:
        console.print_json({"State": str(state.path), "Objects": 0})
    else:
        console.echo(f"Made {state.path}; add files with: {PROGRAM} evidence add --state {state.path} FILE...")


def add(call: Call) -> None:
    """Add files to a directory with evidence.

    They are a new batch, with a timestamp of its own.

    \b
    Example:
      timestamp-cli evidence add --state proof documents/2026
    """  # noqa: D301 - the backslash is click's mark
    if not call.paths:
        raise UsageMistake("name the files or folders to add")
    _add(call, open_state(call))


def _add(call: Call, state: StateDirectory) -> None:
    from tsa_core.evidence.state import add_files

    flags = call.flags
    trust = optional_trust(call)
    with mistakes(), stamping(call, trust) as stamp, progress("hashing") as show:
        added = add_files(
            state,
            call.paths,
            stamp,
            hash_name=flags["hash_name"],
            group_by=flags["group_by"],
            workers=flags["workers"],
            progress=show,
        )
    _report(call, state, added, verified=trust is not None)


def _report(call: Call, state: StateDirectory, added: AddedBatch, *, verified: bool) -> None:
    for path, reason in added.skipped[:_SHOWN]:
        console.tell(f"{PROGRAM}: warning: {path} was left out: {reason}")
    if len(added.skipped) > _SHOWN:
        console.tell(f"{PROGRAM}: warning: {len(added.skipped) - _SHOWN} more were left out")
    if not verified:
        # What the reply says of itself was believed.
        console.tell(f"{PROGRAM}: not verified: no flag says whom to trust; {PROGRAM} evidence verify does it later")
    batch = added.batch
    time = batch.last_chain()[-1].info.gen_time
    if call.as_json:
        console.print_json(
            {
                "State": str(state.path),
                "Batch": batch.name,
                "Objects": batch.objects,
                "Leaves": added.leaves,
                "Octets": added.octets,
                "Time": f"{time:%Y-%m-%dT%H:%M:%SZ}",
                "Verified": verified,
                "Skipped": [{"Path": path, "Reason": reason} for path, reason in added.skipped],
            }
        )
        return
    different = "" if added.leaves == batch.objects else f", {added.leaves:,} different ones"
    if batch.group_by is not None:
        different = f" in {added.leaves:,} data groups"
    console.echo(f"{batch.objects:,} files{different}, timestamped at {time:%Y-%m-%d %H:%M:%S} UTC")
    console.echo(f"Wrote batch {batch.name} of {state.path}")
