"""The directory through which processes share their metrics, prometheus_client's multi-process mode.

The library chooses its mode when it is imported. So this module sets the environment variable before it imports it.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tsa_core.api import ConfigError

log = logging.getLogger(__name__)

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_OF_LIVING_PROCESSES = re.compile(r"gauge_live[a-z]*_(\d+)\.db")
_PREFIX = "tsa-core-metrics-"
_IN_MEMORY = "/dev/shm"  # noqa: S108 - mkdtemp makes the directory there


def directory() -> Path | None:
    """Return the shared directory, None when this process does not share its metrics."""
    path = os.environ.get(VARIABLE)
    return Path(path) if path else None


@contextmanager
def shared_metrics() -> Iterator[None]:
    """Make the directory for the processes that are forked in this block, and remove it at its end.

    A directory that the operator's environment names is used instead, and not removed.
    """
    if directory() is not None:
        yield
        return
    if "prometheus_client" in sys.modules:
        raise ConfigError(
            "prometheus_client was imported before it could be told that processes share the metrics; set "
            f"{VARIABLE} to an empty directory, or leave metrics out with --metrics=false",
            path="metrics.enabled",
        )
    maker = os.getpid()
    made = _make_directory()
    os.environ[VARIABLE] = made
    try:
        yield
    finally:
        if os.getpid() == maker:
            del os.environ[VARIABLE]
            shutil.rmtree(made, ignore_errors=True)


def _make_directory() -> str:
    """Return a new directory; where none can be made, the path of one that may be made later."""
    for place in (None, _IN_MEMORY):
        try:
            return tempfile.mkdtemp(prefix=_PREFIX, dir=place)
        except OSError as error:
            log.debug("no directory for metrics in %s: %s", place or "TMPDIR", error)
    # A name that nobody can guess: others may be able to write there.
    return f"{os.environ.get('TMPDIR') or '/tmp'}/{_PREFIX}{secrets.token_hex(8)}"  # noqa: S108


def forget_dead_processes() -> None:
    """Remove the gauges of processes that have ended; their counters stay."""
    from prometheus_client.multiprocess import mark_process_dead

    shared = directory()
    for path in shared.iterdir() if shared and shared.is_dir() else ():
        found = _OF_LIVING_PROCESSES.fullmatch(path.name)
        if found and not _lives(int(found[1])):
            mark_process_dead(int(found[1]))  # type: ignore[no-untyped-call] # the library lacks this type


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
