"""timestamp-cli evidence inspect: what a record or a state directory holds; nothing is verified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tsa_core.cli import console
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.evidence.directory_flags import all_batches, open_state
from tsa_core.cli.timestamp.files import read_file
from tsa_core.cli.timestamp.flags import Call, flag

if TYPE_CHECKING:
    from tsa_core.evidence import EvidenceRecord
    from tsa_core.evidence.state import Batch

FLAGS: Final = (flag("--state", metavar="DIR", help="A directory with evidence, instead of records."),)


def inspect(call: Call) -> None:
    """Show evidence records, or a directory with evidence; nothing is verified.

    \b
    Examples:
      timestamp-cli evidence inspect contract.ers
      timestamp-cli evidence inspect --state proof --format json
    """  # noqa: D301 - the backslash is click's mark
    from tsa_core.evidence import EvidenceRecord
    from tsa_core.evidence.syntax import MAX_RECORD_OCTETS

    if bool(call.paths) == (call.flags["state"] is not None):
        raise UsageMistake("name records, or give --state")
    if call.paths:
        documents = [
            {"Record": path, **_record(EvidenceRecord.from_der(read_file(path, MAX_RECORD_OCTETS)))}
            for path in call.paths
        ]
    else:
        documents = [_batch(batch) for batch in all_batches(open_state(call))]
    if call.as_json:
        console.print_json(documents)
        return
    for document in documents:
        timestamps = document.pop("Timestamps")
        console.print_facts(("Fact", "Value"), [(name, str(value)) for name, value in document.items()], fixed=1)
        rows = [tuple(str(value) for value in each.values()) for each in timestamps]
        console.print_table(tuple(timestamps[0]), rows, fixed=4)


def _record(record: EvidenceRecord) -> dict[str, Any]:
    return {
        "Octets": len(record.encode()),
        "Encrypted": bool(record.encryption_info),
        "CryptoInfos": bool(record.crypto_infos),
        "Timestamps": _timestamps(record),
    }


def _batch(batch: Batch) -> dict[str, Any]:
    from tsa_core.evidence import EvidenceRecord

    chains = tuple(
        tuple(batch.stored_timestamp(number, position) for position in range(len(chain.timestamps)))
        for number, chain in enumerate(batch.chains)
    )
    algorithms = tuple(chain.algorithm.identifier for chain in batch.chains)
    return {
        "Batch": batch.name,
        "Objects": batch.objects,
        "Leaves": batch.chains[0].leaves - (batch.link is not None),
        "GroupBy": batch.group_by or "none",
        "Base": batch.base,
        "Created": batch.created,
        "Timestamps": _timestamps(EvidenceRecord(digest_algorithms=algorithms, chains=chains)),
    }


def _timestamps(record: EvidenceRecord) -> list[dict[str, Any]]:
    found = []
    for number, chain in enumerate(record.chains, 1):
        for position, timestamp in enumerate(chain, 1):
            tree = timestamp.reduced_hashtree
            found.append(
                {
                    "Chain": number,
                    "Timestamp": position,
                    "Hash": timestamp.hash_algorithm.name,
                    "Time": f"{timestamp.info.gen_time:%Y-%m-%dT%H:%M:%SZ}",
                    "Octets": len(timestamp.time_stamp),
                    "FirstList": len(tree[0]) if tree else 0,
                    "Levels": len(tree) - 1 if tree else 0,
                    "Serial": f"{timestamp.info.serial_number:x}",
                }
            )
    return found
