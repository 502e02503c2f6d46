"""An NTP server for tests of clock monitors: on loopback, in this process, as right or wrong as a test wants it."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import Self

_NTP_DELTA = 2_208_988_800
_HEADER = struct.Struct("!BBbbII4s8s8s8s8s")


def ntp_timestamp(posix: float) -> bytes:
    """Return the 64-bit NTP timestamp of a POSIX time, in its era."""
    return (int((posix + _NTP_DELTA) * 2**32) % 2**64).to_bytes(8, "big")


class NtpResponder:
    """Answers NTP requests on `host`, an address of 127.0.0.0/8, from a thread of its own; a context manager.

    Assign the attributes at any time: `offset` is its time minus the system's, in seconds; `silent` makes it answer
    nothing. `leap`, `stratum`, `root_delay` and `root_dispersion` (seconds) and `reference` stand in the answer.
    `answers`, when set, is called with the request and the right answer, and returns the packets to send instead.
    """

    def __init__(self, *, offset: float = 0.0, host: str = "127.0.0.1") -> None:
        self.host = host
        self.offset = offset
        self.silent = False
        self.leap = 0
        self.stratum = 1
        self.reference = b"TEST"
        self.root_delay = 0.0
        self.root_dispersion = 0.0
        self.answers: Callable[[bytes, bytes], Sequence[bytes]] | None = None
        self.requests = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self.port: int = self._socket.getsockname()[1]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ntp-responder", daemon=True)

    @property
    def server(self) -> str:
        """What to write into a monitor's settings."""
        return f"{self.host}:{self.port}"

    def start(self) -> Self:
        """Answer until `stop`."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop and free the port."""
        self._stopping.set()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", (self.host, self.port))
        self._thread.join(5)
        self._socket.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._stopping.is_set():
            request, address = self._socket.recvfrom(1024)
            received = time.time()
            if len(request) < _HEADER.size or self.silent:
                continue
            self.requests += 1
            answer = self.answer(request, received)
            for packet in [answer] if self.answers is None else self.answers(request, answer):
                self._socket.sendto(packet, address)

    def answer(self, request: bytes, received: float) -> bytes:
        """Return the answer to a request that came at `received`, a POSIX time."""
        return _HEADER.pack(
            self.leap << 6 | 4 << 3 | 4,
            self.stratum,
            0,
            -20,
            round(self.root_delay * 2**16),
            round(self.root_dispersion * 2**16),
            self.reference,
            ntp_timestamp(received + self.offset - 1),
            request[40:48],
            ntp_timestamp(received + self.offset),
            ntp_timestamp(time.time() + self.offset),
        )
