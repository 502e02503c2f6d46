"""How many CPUs this process may use: `[server] workers = "auto"` is one for each."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

AUTO = "auto"
_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")
_MOST_WORKERS = 256
CPUS_AT_START = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
"""The CPUs that the system lets this process run on; a worker may keep itself to one of them later."""


class OnePerCore(int):
    """A number of workers that was not given but follows from the machine."""


def one_per_core(value: Any, check: Callable[[Any], int]) -> int:
    """Validate a number of workers, which may be `auto` (pydantic's wrap validator)."""
    if value == AUTO:
        return OnePerCore(min(_MOST_WORKERS, usable_cores()))
    if isinstance(value, str) and not value.lstrip("-").isdigit():
        raise ValueError(f"must be a whole number, or {AUTO}")
    return check(value)


def usable_cores() -> int:
    """Return the number of CPUs that the system lets this process run on: its affinity and, in containers, its quota.

    A quota of half a CPU counts as one.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota(_own_group()))))


def has_spare_cpu(workers: int) -> bool:
    """Say whether this server may use a whole CPU more than it has workers, by its affinity at start and its quota."""
    cores = os.cpu_count() or 1 if CPUS_AT_START is None else len(CPUS_AT_START)
    return min(cores, _quota(_own_group())) >= workers + 1


def _own_group() -> PurePosixPath:
    """Return the path of this process's control group (version 2) below the mount."""
    with suppress(OSError):
        for line in _OWN_GROUP.read_text(encoding="utf-8").splitlines():
            if line.startswith("0::/"):
                return PurePosixPath(line[4:])
    return PurePosixPath()


def _quota(group: PurePosixPath) -> float:
    """Return how many CPUs a control group may use: the least that it or a group above it is given."""
    least = math.inf
    for each in (group, *group.parents):
        with suppress(OSError, ValueError):
            quota, period = (_CONTROL_GROUPS / each / "cpu.max").read_text(encoding="ascii").split()
            if quota != "max":
                least = min(least, int(quota) / int(period))
    return least
