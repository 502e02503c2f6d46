"""adjtimex(2), read only, against what the kernel says by other ways."""

from __future__ import annotations

import ctypes
import sys
import time
from datetime import timedelta

import pytest

from tsa_core.authority import kernel_clock, read_kernel_clock

linux = pytest.mark.needs(sys.platform == "linux", "adjtimex is Linux's")


@linux
def test_tai_offset_is_that_of_clock_tai() -> None:
    kernel = read_kernel_clock()
    assert kernel is not None
    offset = time.clock_gettime(time.CLOCK_TAI) - time.clock_gettime(time.CLOCK_REALTIME)
    assert round(offset) == kernel.tai_offset
    assert kernel.max_error >= timedelta(0)
    assert kernel.leap in {"none", "insert", "delete"}


@linux
def test_struct_has_the_kernels_size() -> None:
    assert ctypes.sizeof(kernel_clock._Timex) == (208 if ctypes.sizeof(ctypes.c_long) == 8 else 128)


@pytest.mark.parametrize(("status", "state", "leap"), [(0x40, 5, "none"), (0x10, 1, "insert"), (0x20, 2, "delete")])
def test_flags_are_understood(monkeypatch: pytest.MonkeyPatch, status: int, state: int, leap: str) -> None:
    def adjtimex(reference: object) -> int:
        timex = reference._obj  # type: ignore[attr-defined] # what byref() made
        assert timex.modes == 0, "nothing may be set"
        timex.status, timex.tai, timex.maxerror = status, 37, 2500
        return state

    monkeypatch.setattr(kernel_clock, "_adjtimex", adjtimex)
    kernel = read_kernel_clock()
    assert kernel is not None
    assert (kernel.leap, kernel.synchronised) == (leap, status != 0x40)
    assert (kernel.tai_offset, kernel.max_error) == (37, timedelta(milliseconds=2.5))


@pytest.mark.parametrize("adjtimex", [None, lambda _: -1])
def test_kernel_that_does_not_say(monkeypatch: pytest.MonkeyPatch, adjtimex: object) -> None:
    monkeypatch.setattr(kernel_clock, "_adjtimex", adjtimex)
    assert read_kernel_clock() is None
