"""What the Linux kernel knows about its clock, from adjtimex(2). It is read only: this module never sets a clock."""

from __future__ import annotations

import ctypes
import sys
from datetime import timedelta

from tsa_core.api import LeapWarning
from tsa_core.values import Value

_STA_INS, _STA_DEL, _STA_UNSYNC = 0x0010, 0x0020, 0x0040
_TIME_OOP = 3


class _Timex(ctypes.Structure):
    """`struct timex` of <sys/timex.h>."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", ctypes.c_long * 2),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


class KernelClock(Value):
    """The kernel's view. `tai_offset` is TAI minus UTC, 0 when it was never set; `max_error` is its own bound."""

    synchronised: bool
    leap: LeapWarning
    in_leap_second: bool
    tai_offset: int
    max_error: timedelta


def read_kernel_clock() -> KernelClock | None:
    """Return the kernel's view; None without Linux, or in a sandbox that forbids the call."""
    if _adjtimex is None:
        return None
    timex = _Timex(modes=0)
    state = _adjtimex(ctypes.byref(timex))
    if state < 0:
        return None
    leap: LeapWarning = "insert" if timex.status & _STA_INS else "delete" if timex.status & _STA_DEL else "none"
    return KernelClock(
        synchronised=not timex.status & _STA_UNSYNC,
        leap=leap,
        in_leap_second=state == _TIME_OOP,
        tai_offset=timex.tai,
        max_error=timedelta(microseconds=timex.maxerror),
    )


_adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None) if sys.platform == "linux" else None
