"""timestamp-cli evidence export: the records of files, for other programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from tsa_core.cli import console
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.evidence.directory_flags import STATE_FLAG, all_batches, open_state
from tsa_core.cli.timestamp.files import write_timestamp
from tsa_core.cli.timestamp.flags import Call, flag

FLAGS: Final = (
    STATE_FLAG,
    flag("--out-dir", metavar="DIR", help="Where to put NAME.ers (default: beside each file)."),
    flag("--force", boolean=True, help="Replace records that are there already."),
)


def export(call: Call) -> None:
    """Write the evidence records of files (RFC 4998).

    Each is DER, NAME.ers, and holds all that proves the file: its part of the hash tree, the timestamps and their
    certificates. Files are found by their content; the newest batch that has it counts.

    \b
    Example:
      timestamp-cli evidence export --state proof --out-dir records contract.pdf letter.pdf
    """  # noqa: D301 - the backslash is click's mark
    from tsa_core.evidence.state import record_of
    from tsa_core.evidence.state.hashing import hash_file
    from tsa_core.protocol.hashes import hash_by_name

    if not call.paths:
        raise UsageMistake("name the files whose records are wanted")
    batches = all_batches(open_state(call))
    names = list(dict.fromkeys(name for batch in batches for name in batch.hash_names))
    written = []
    for path in call.paths:
        hashed = hash_file(path, [hash_by_name(name) for name in names])
        if hashed.error is not None:
            raise UsageMistake(f"{path} cannot be read: {hashed.error.strerror}")
        digests = dict(zip(names, hashed.digests, strict=True))
        found = (record_of(batch, digests) for batch in reversed(batches))
        record = next((each for each in found if each is not None), None)
        if record is None:
            raise UsageMistake(f"{path}: no batch of {call.flags['state']} has a file with this content")
        folder = Path(call.flags["out_dir"]) if call.flags["out_dir"] is not None else Path(path).parent
        target = str(folder / f"{os.path.basename(path)}.ers")  # noqa: PTH119 - text in, text out
        data = record.encode()
        write_timestamp(target, data, force=bool(call.flags["force"]))
        written.append({"Path": path, "Record": target, "Octets": len(data)})
    if call.as_json:
        console.print_json(written)
        return
    for each in written:
        console.echo(f"Wrote {each['Record']}, {each['Octets']:,} bytes")
