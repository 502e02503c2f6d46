"""Keeps the memory of this process, which holds keys, from core dumps and from other processes of the same user."""

from __future__ import annotations

import ctypes
import logging
import os
import resource

log = logging.getLogger(__name__)

_PR_SET_DUMPABLE = 4  # <linux/prctl.h>


def forbid_memory_dumps() -> None:
    """Forbid core dumps, and debuggers without CAP_SYS_PTRACE, to this process and to those that it forks.

    Sets RLIMIT_CORE to 0, and on Linux PR_SET_DUMPABLE to 0 (prctl(2)): a program that handles core dumps gets none
    either, whatever the limit says. What the system refuses is logged.
    """
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError) as error:
        log.warning("core dumps cannot be forbidden: %s", error)
    prctl = getattr(ctypes.CDLL(None, use_errno=True), "prctl", None)
    if prctl is not None and prctl(_PR_SET_DUMPABLE, *map(ctypes.c_ulong, (0, 0, 0, 0))) != 0:
        log.warning("the memory of this process cannot be protected: %s", os.strerror(ctypes.get_errno()))
