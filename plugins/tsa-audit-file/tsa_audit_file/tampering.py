"""What was found when the trail was not as a process had left it, and the file that remembers it until it is accepted.

The file is called as the trail, with `.tampered` behind. While it is there, no process issues tokens, a restarted one
included. It is beside the trail, so whoever can write there can remove it; a process that noticed by itself does not
forget because of that.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from tsa_core.api import open_regular
from tsa_core.api.trail import NOTHING, BrokenChainError, Link

log = logging.getLogger(__name__)

_MAX_OCTETS: Final = 65_536


class TamperedError(BrokenChainError):
    """The trail became shorter, was replaced, removed or rolled back while a process wrote to it."""


class Fault(NamedTuple):
    """What is wrong, the last line that should be there, and the time of the acceptance before."""

    reason: str
    expected: Link
    accepted: str

    def error(self, path: Path) -> TamperedError:
        """Return what is raised for each token until an operator accepts."""
        return TamperedError(
            f"{self.reason}; line {self.expected.seq} was the last one written. No token leaves until an operator has "
            f"looked at it and runs: timestamp-server audit accept --reason TEXT {path}"
        )


def fault_path(path: Path) -> Path:
    """Return the name of the file that remembers a fault of this trail."""
    return path.with_name(f"{path.name}.tampered")


def write_fault(path: Path, fault: Fault) -> None:
    """Remember a fault; the first one stays. A disk that takes no more is logged: then only this process knows."""
    document = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "reason": fault.reason,
        "expected": f"{fault.expected.seq}:{fault.expected.digest}",
        "accepted": fault.accepted,
    }
    try:
        descriptor = os.open(fault_path(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, f"{json.dumps(document)}\n".encode("ascii"))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except FileExistsError:
        pass
    except OSError as error:
        log.error("%s cannot be written, so a restart will not know: %s", fault_path(path), error.strerror)  # noqa: TRY400 - no traceback


def read_fault(path: Path) -> Fault | None:
    """Return the fault that is remembered, None when there is none; a file that may not or cannot be read is one.

    Raises OSError for what says nothing about the file: no descriptor is free, or there is no memory.
    """
    try:
        with os.fdopen(open_regular(fault_path(path)), "rb") as stream:
            document = json.loads(stream.read(_MAX_OCTETS))
        number, _, digest = str(document["expected"]).partition(":")
        return Fault(str(document["reason"]), Link(int(number), digest), str(document["accepted"]))
    except FileNotFoundError:
        return None
    except (PermissionError, IsADirectoryError, ValueError, TypeError, KeyError):
        return Fault(f"{fault_path(path).name} is there, and cannot be read", Link(0, NOTHING), "")


def forget_fault(path: Path) -> None:
    """Remove what was remembered."""
    with contextlib.suppress(FileNotFoundError):
        fault_path(path).unlink()
