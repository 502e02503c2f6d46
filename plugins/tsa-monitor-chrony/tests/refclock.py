"""A reference clock in shared memory, as gpsd and ptp4l have them for chronyd (NTP's driver 28)."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from typing import Any, Final, Self

_KEY: Final = 0x4E545030
_CREATE, _REMOVE, _OURS = 0o1000, 0, 0o600
_PRECISION = -20
_EVERY_SECONDS = 0.1


class _Segment(ctypes.Structure):
    _fields_ = (
        ("mode", ctypes.c_int),
        ("count", ctypes.c_int),
        ("clock_seconds", ctypes.c_long),
        ("clock_microseconds", ctypes.c_int),
        ("received_seconds", ctypes.c_long),
        ("received_microseconds", ctypes.c_int),
        ("leap", ctypes.c_int),
        ("precision", ctypes.c_int),
        ("samples", ctypes.c_int),
        ("valid", ctypes.c_int),
        ("clock_nanoseconds", ctypes.c_uint),
        ("received_nanoseconds", ctypes.c_uint),
        ("dummy", ctypes.c_int * 8),
    )


class ReferenceClock:
    """Writes its time into the segment of a unit until the end of the context.

    `offset` is its time minus the system's, in seconds; `silent` stops it.
    """

    def __init__(self, name: str = "TEST") -> None:
        self.name = name
        self.offset = 0.0
        self.silent = False
        # Other tests, and other clocks of this machine, have other units.
        self.unit = 1000 + os.getpid() % 1_000_000
        self._libc: Any = ctypes.CDLL(None, use_errno=True)
        self._libc.shmat.restype = ctypes.c_void_p
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reference-clock", daemon=True)

    @property
    def line(self) -> str:
        """The line of chrony.conf."""
        return f"refclock SHM {self.unit} refid {self.name} poll -2 dpoll -3 filter 3 precision 1e-6 delay 0.0002"

    def __enter__(self) -> Self:
        self._id = self._libc.shmget(_KEY + self.unit, ctypes.sizeof(_Segment), _CREATE | _OURS)
        assert self._id >= 0, os.strerror(ctypes.get_errno())
        address = self._libc.shmat(self._id, None, 0)
        self._segment = _Segment.from_address(address)
        self._address = ctypes.c_void_p(address)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(5)
        self._libc.shmdt(self._address)
        self._libc.shmctl(self._id, _REMOVE, None)

    def _run(self) -> None:
        segment = self._segment
        while not self._stopping.wait(_EVERY_SECONDS):
            if self.silent:
                continue
            received = time.time_ns()
            clock = received + round(self.offset * 1e9)
            segment.valid = 0
            segment.mode, segment.leap, segment.precision = 1, 0, _PRECISION
            segment.count += 1
            segment.clock_seconds, rest = divmod(clock, 10**9)
            segment.clock_microseconds, segment.clock_nanoseconds = rest // 1000, rest
            segment.received_seconds, rest = divmod(received, 10**9)
            segment.received_microseconds, segment.received_nanoseconds = rest // 1000, rest
            segment.count += 1
            segment.valid = 1
