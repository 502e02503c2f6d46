"""What `chronyc -c` prints, as values (chronyc(1): tracking, sources and sourcestats)."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import NamedTuple

from tsa_core.api import ConfigError, LeapWarning
from tsa_monitor_chrony.options import ChronyOptions

_USUAL_PATH = "/usr/bin:/usr/sbin:/usr/local/bin"
_TRACKING_FIELDS = 14
_SOURCE_FIELDS = 10
_STATISTICS_FIELDS = 8
_ATTEMPTS = 3
_VARIABLES = ("PATH", "LD_LIBRARY_PATH")
"""What chronyc is told of the server's environment: where programs and libraries are."""
_REFCLOCK = "#"
_LEAPS: dict[str, LeapWarning] = {"Normal": "none", "Insert second": "insert", "Delete second": "delete"}


class ChronydSilent(Exception):
    """chronyd did not say; the text is for the operator."""


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """chronyd's estimate of the system clock. Seconds; `offset` is the system clock minus chronyd's.

    chronyd's own clock is the system clock with the correction that chronyd has decided upon, and is still making.
    `leap` is None when chronyd is not synchronised.
    """

    updated_at: str
    stratum: int
    offset: float
    leap: LeapWarning | None


@dataclass(frozen=True, kw_only=True)
class Source:
    """One source and its last measurement, in seconds; a measurement holds the truth when the source is right.

    `state` is chronyd's mark for it, `offset` chronyd's clock minus the source's, `error` half of the whole delay and
    all dispersion at the measurement. `age` is its age at most, `growth` how fast the error may have grown since, in
    seconds a second. `recent` says whether one of the last three questions was answered. `refclock` says that it is
    hardware of this machine, such as a PPS signal or the clock of a network card (PHC), and not a time server.
    """

    name: str
    state: str
    stratum: int
    recent: bool
    offset: float
    error: float
    age: float
    growth: float
    refclock: bool = False


class Report(NamedTuple):
    """All that chronyd said at one moment."""

    tracking: Tracking
    sources: tuple[Source, ...]


class Chronyc:
    """Runs chronyc; raises ConfigError when there is no such program."""

    def __init__(self, options: ChronyOptions) -> None:
        program = shutil.which(options.program) or shutil.which(options.program, path=_USUAL_PATH)
        if program is None:
            raise ConfigError(
                f"there is no program {options.program!r}; install chrony, or give its path",
                path="clock.chrony.program",
            )
        address = ["-h", options.address] if options.address else []
        # Several commands in one run; `tracking` again at the end tells whether all are of the same moment.
        questions = ["-m", "tracking", "sources", "sourcestats", "tracking"]
        self._command = [program, "-c", "-n", "-p", str(options.port), *address, *questions]
        self._timeout = options.timeout.total_seconds()

    def report(self) -> Report:
        """Return what chronyd knows of the system clock and of its sources; raises ChronydSilent."""
        for _ in range(_ATTEMPTS):
            rows = [line.split(",") for line in self._run().splitlines()]
            try:
                first, *between, last = rows
                if first[3] == last[3]:
                    return _report(first, between)
            except (ValueError, OverflowError, IndexError) as error:
                printed = "; ".join(",".join(row) for row in rows)
                raise ChronydSilent(f"chronyc printed {printed[:200]!r}, which cannot be read: {error}") from None
        raise ChronydSilent(f"chronyd measured during each of {_ATTEMPTS} looks at it")

    def _run(self) -> str:
        # The figures' decimal point must not depend on where the server runs. Any process of the same user can read the
        # variables of this one, and the server's may hold passwords.
        environment = {name: os.environ[name] for name in _VARIABLES if name in os.environ} | {"LC_ALL": "C"}
        try:
            result = subprocess.run(  # noqa: S603 - the operator's own program, and nothing of a client's
                self._command,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self._timeout,
                check=False,
                env=environment,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            raise ChronydSilent(f"chronyd did not answer within {self._timeout:g} s") from None
        except OSError as error:
            raise ChronydSilent(f"chronyc could not be run: {error.strerror}") from None
        if result.returncode != 0:
            said = " ".join((result.stdout + result.stderr).split())
            raise ChronydSilent(f"chronyc failed: {said[:200] or f'exit code {result.returncode}'}")
        return result.stdout


def _report(tracking: list[str], rows: list[list[str]]) -> Report:
    """Read the lines; raises ValueError, OverflowError or IndexError for others than chronyc's."""
    if len(tracking) < _TRACKING_FIELDS:
        raise ValueError("too few fields")
    # Both lists are in the same order: sources and their statistics.
    sources, statistics = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    if len(sources) != len(statistics):
        raise ValueError("sources without statistics")
    return Report(
        Tracking(
            updated_at=tracking[3],
            stratum=int(tracking[2]),
            # chronyc prints how far the system clock is behind.
            offset=-float(tracking[4]),
            leap=_LEAPS.get(tracking[13]),
        ),
        tuple(_source(*pair) for pair in zip(sources, statistics, strict=True)),
    )


def _source(fields: list[str], statistics: list[str]) -> Source:
    """Read mode, state, name, stratum, poll, reach, seconds since the measurement, offset now and then, error.

    The offset of now has all corrections since. Statistics: name, samples, runs, span, frequency (ppm), skew (ppm), ...
    """
    if len(fields) < _SOURCE_FIELDS or len(statistics) < _STATISTICS_FIELDS or fields[2] != statistics[0]:
        raise ValueError("sources and statistics that do not fit each other")
    return Source(
        name=fields[2],
        state=fields[1],
        stratum=int(fields[3]),
        recent=int(fields[5], 8) & 0b111 != 0,
        offset=float(fields[7]),
        error=float(fields[9]),
        age=int(fields[6]) + 1.0,
        growth=(abs(float(statistics[4])) + float(statistics[5]) + 1.0) * 1e-6,
        refclock=fields[0] == _REFCLOCK,
    )
