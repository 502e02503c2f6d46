"""Passes the verdicts of one process's clock monitors to all workers, through shared memory.

A verdict is plain data, and the monotonic clock of its anchor is the same for all processes. A reader compares the
sequence number with the one that it saw last, and decodes only when it has changed. The writer makes the number odd
while it writes (a seqlock), and a checksum detects writes that a CPU shows in another order. When the writer dies, its
last verdict ages like that of a monitor that has died, and the gate closes.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tsa_core.api import Clock, ClockAnchor, ClockMonitor, ClockVerdict

BANKS = 2
"""A reload with other monitors writes to the bank that is not in use."""
MAX_MONITORS = 16
_SLOT_OCTETS = 4096
_HEAD = struct.Struct("=QII")
_MAX_TEXT = 512
_MAX_BASIS = 120
_TRIES = 100
_NO_VERDICT = ClockVerdict(trusted=False, measured=False, reason="the clock has not been compared with others yet")


def encode_verdict(verdict: ClockVerdict) -> bytes:
    """Return a verdict as JSON, with durations in microseconds, the resolution of timedelta."""
    anchor = verdict.anchor
    return json.dumps(
        {
            "trusted": verdict.trusted,
            "reason": verdict.reason[:_MAX_TEXT],
            "offset": _microseconds(verdict.offset),
            "uncertainty": _microseconds(verdict.uncertainty),
            "checked_at": verdict.checked_at,
            "measured": verdict.measured,
            "anchor": [anchor.time.isoformat(), *anchor[1:]] if anchor else None,
            "valid_for": _microseconds(verdict.valid_for),
            "leap": verdict.leap,
            "basis": verdict.basis[:_MAX_BASIS],
        }
    ).encode("utf-8")


def decode_verdict(data: bytes) -> ClockVerdict:
    """Return the verdict that `encode_verdict` encoded."""
    fields: dict[str, Any] = json.loads(data)
    for name in ("offset", "uncertainty", "valid_for"):
        if fields[name] is not None:
            fields[name] = timedelta(microseconds=fields[name])
    if fields["anchor"] is not None:
        time, *others = fields["anchor"]
        fields["anchor"] = ClockAnchor(datetime.fromisoformat(time), *others)
    return ClockVerdict(**fields)


def _microseconds(duration: timedelta | None) -> int | None:
    return None if duration is None else duration // timedelta(microseconds=1)


class ClockRelay:
    """The shared memory; made by the parent before it forks, or opened by its file descriptor."""

    def __init__(self, descriptor: int | None = None) -> None:
        size = BANKS * MAX_MONITORS * _SLOT_OCTETS
        if descriptor is None:
            descriptor = _anonymous_file()
            os.ftruncate(descriptor, size)
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, size)
        self._monitors: dict[tuple[int, tuple[str, ...]], dict[str, ClockMonitor]] = {}

    def clear(self, bank: int) -> None:
        """Erase the verdicts of a bank, before another process writes to it."""
        for index in range(MAX_MONITORS):
            self.write(bank, index, _NO_VERDICT)

    def monitors(self, bank: int, names: Sequence[str]) -> Mapping[str, ClockMonitor]:
        """Return monitors that read the verdicts of another process; the same objects for the same arguments."""
        key = bank, tuple(names)
        if key not in self._monitors:
            self._monitors[key] = {
                name: RelayedMonitor(self._memory, _offset(bank, index)) for index, name in enumerate(names)
            }
        return self._monitors[key]

    def write(self, bank: int, index: int, verdict: ClockVerdict) -> None:
        """Publish a monitor's verdict; there is one writer."""
        payload = encode_verdict(verdict)
        offset = _offset(bank, index)
        number, _, _ = _HEAD.unpack_from(self._memory, offset)
        number += 1 + number % 2  # odd: being written; so it may be when the former writer died during a write
        _HEAD.pack_into(self._memory, offset, number, 0, 0)
        start = offset + _HEAD.size
        self._memory[start : start + len(payload)] = payload
        _HEAD.pack_into(self._memory, offset, number, len(payload), zlib.crc32(payload))
        _HEAD.pack_into(self._memory, offset, number + 1, len(payload), zlib.crc32(payload))

    def close(self) -> None:
        """Close the descriptor; the memory is freed with its last reader."""
        os.close(self.descriptor)


class RelayedMonitor(ClockMonitor):
    """Reads the verdicts of a monitor in another process. It takes 0.1 us while there is no new verdict."""

    def __init__(self, memory: mmap.mmap, offset: int) -> None:
        self._memory = memory
        self._offset = offset
        self._numbers = memoryview(memory).cast("Q")
        self._index = offset // 8
        # One tuple, so that threads that read at the same time cannot mix two verdicts.
        self._last = 0, _NO_VERDICT

    def start(self, clock: Clock) -> None:
        """Do nothing: the other process watches the same clock."""

    def verdict(self) -> ClockVerdict:
        """Return the last verdict that was written."""
        number, verdict = self._last
        if self._numbers[self._index] == number:
            return verdict
        return self._read(verdict)

    def _read(self, verdict: ClockVerdict) -> ClockVerdict:
        for _ in range(_TRIES):
            number, length, checksum = _HEAD.unpack_from(self._memory, self._offset)
            if number % 2 or length > _SLOT_OCTETS - _HEAD.size:
                continue
            start = self._offset + _HEAD.size
            payload = self._memory[start : start + length]
            if zlib.crc32(payload) == checksum and self._numbers[self._index] == number:
                verdict = decode_verdict(payload)
                self._last = number, verdict
                break
        return verdict


def _offset(bank: int, index: int) -> int:
    return (bank * MAX_MONITORS + index) * _SLOT_OCTETS


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("tsa-core-clock")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
