"""Real chronyd processes for tests of clock monitors: on loopback, without touching the system's clock."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tsa_core.testing.programs import missing, require_program

_STOP_SECONDS = 10


def free_udp_port() -> int:
    """Return a UDP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_libfaketime() -> Path:
    """Return the library of faketime(1); without it, skip or fail as `missing` does."""
    require_program("faketime")
    roots = [Path("/usr"), Path("/usr/local")]
    patterns = ["lib/*/faketime/libfaketime.so.1", "lib*/faketime/libfaketime.so.1"]
    found = [path for root in roots for pattern in patterns for path in sorted(root.glob(pattern))]
    if not found:
        missing("there is a faketime, but no libfaketime.so.1 where it is looked for")
    return found[0]


def moved_clock(file: Path) -> dict[str, str]:
    """Return the variables with which a program's time of day is moved by what `file` says, as `+30s`.

    The monotonic clock stays the system's. Without the last variable, waits on it that have a deadline end at once: a
    thread of Python that waits for the interpreter's lock then uses a core, and slows down the one that has the lock.
    """
    return {
        "LD_PRELOAD": str(find_libfaketime()),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    }


class Chronyd:
    """One chronyd in `folder`; a context manager. It never sets a clock (-x) and needs no root (-U).

    A server of its own time unless `follows` names the port of one to follow, and `also` more, as HOST:PORT. With an
    `offset` it lives that many seconds off, by libfaketime, which serves whole seconds well; it can be changed while it
    runs. `synchronised` False makes a server without a source, which says stratum 0 and leap 3. `lines` are further
    ones of chrony.conf. One that follows a reference clock alone has `follows` 0.
    """

    def __init__(
        self,
        folder: Path,
        *,
        follows: int | None = None,
        also: Sequence[str] = (),
        synchronised: bool = True,
        lines: Sequence[str] = (),
    ) -> None:
        self._program = require_program("chronyd", package="chrony")
        find_libfaketime()
        serves = follows is None
        self.port = free_udp_port() if serves else 0
        self.command_port = 0 if serves else free_udp_port()
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        settings = [
            f"port {self.port}",
            "bindaddress 127.0.0.1",
            f"cmdport {self.command_port}",
            f"bindcmdaddress {'127.0.0.1' if self.command_port else '/'}",
            f"pidfile {folder}/chronyd.pid",
        ]
        if serves:
            settings += ["allow 127.0.0.1", "local stratum 1"] if synchronised else ["allow 127.0.0.1"]
        else:
            for source in (*([f"127.0.0.1:{follows}"] if follows else []), *also):
                host, _, port = source.rpartition(":")
                settings.append(f"server {host} port {port} minpoll -2 maxpoll -2 iburst")
        (folder / "chrony.conf").write_text("\n".join([*settings, *lines]) + "\n")
        self.offset = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def server(self) -> str:
        """What to write into a monitor's settings."""
        return f"127.0.0.1:{self.port}"

    @property
    def offset(self) -> float:
        """By how many seconds it is ahead of the system's clock."""
        return self._offset

    @offset.setter
    def offset(self, seconds: float) -> None:
        self._offset = seconds
        # Replaced whole: it is read for every look at the clock.
        fresh = self._folder / "time.new"
        fresh.write_text(f"{seconds:+f}s\n")
        fresh.replace(self._folder / "time")

    def start(self) -> Self:
        """Start it; it answers within a second or so."""
        environment = {**os.environ, **moved_clock(self._folder / "time")}
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._program), "-U", "-x", "-d", "-u", _user(), "-f", str(self._folder / "chrony.conf")],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def stop(self) -> None:
        """Stop it, by its own pid; it can be started again."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name
