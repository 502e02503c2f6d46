"""What `chronyc -c` prints, as values (chronyc(1): tracking and sources)."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from datetime import timedelta

from tsa_core.api import ConfigError, LeapWarning, TimeSourceReport
from tsa_monitor_chrony.options import ChronyOptions

_USUAL_PATH = "/usr/bin:/usr/sbin:/usr/local/bin"
_TRACKING_FIELDS = 14
_SOURCE_FIELDS = 10
_LEAPS: dict[str, LeapWarning] = {"Normal": "none", "Insert second": "insert", "Delete second": "delete"}
_SOURCE_STATES = {
    "*": ("selected", True),
    "+": ("combined", True),
    "-": ("not combined", None),
    "?": ("no answer", None),
    "x": ("may be wrong", False),
    "~": ("too variable", False),
}


class ChronydSilent(Exception):
    """chronyd did not say; the text is for the operator."""


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """chronyd's estimate of the system clock. Seconds; `offset` is the system clock minus NTP time.

    `updated_at` identifies the measurement that it rests upon; `leap` is None when chronyd is not synchronised.
    """

    updated_at: str
    stratum: int
    offset: float
    root_delay: float
    root_dispersion: float
    leap: LeapWarning | None


class Chronyc:
    """Runs chronyc; raises ConfigError when there is no such program."""

    def __init__(self, options: ChronyOptions) -> None:
        program = shutil.which(options.program) or shutil.which(
            options.program, path="/usr/bin:/usr/sbin:/usr/local/bin"
        )
        if program is None:
            raise ConfigError(
                f"there is no program {options.program!r}; install chrony, or give its path",
                path="clock.chrony.program",
            )
        self._command = [program, "-c", "-n", "-p", str(options.port)]
        if options.address:
            self._command += ["-h", options.address]
        self._timeout = options.timeout.total_seconds()

    def tracking(self) -> Tracking:
        """Return what chronyd knows of the system clock; raises ChronydSilent."""
        line = self._run("tracking").strip()
        fields = line.split(",")
        try:
            if len(fields) < _TRACKING_FIELDS:
                raise ValueError("too few fields")
            return Tracking(
                updated_at=fields[3],
                stratum=int(fields[2]),
                # chronyc prints how far the system clock is behind.
                offset=-float(fields[4]),
                root_delay=float(fields[10]),
                root_dispersion=float(fields[11]),
                leap=_LEAPS.get(fields[13]),
            )
        except ValueError as error:
            raise ChronydSilent(f"chronyc tracking printed {line[:200]!r}: {error}") from None

    def sources(self) -> list[TimeSourceReport]:
        """Return chronyd's sources; raises ChronydSilent."""
        return [report for line in self._run("sources").splitlines() if (report := _source(line))]

    def _run(self, question: str) -> str:
        # The figures' decimal point must not depend on where the server runs.
        environment = {**os.environ, "LC_ALL": "C"}
        try:
            result = subprocess.run(  # noqa: S603 - the operator's own program, and nothing of a client's
                [*self._command, question],
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


def _source(line: str) -> TimeSourceReport | None:
    """Return one line of `chronyc -c sources`: mode, state, name, stratum, poll, reach, last answer, offsets, error."""
    fields = line.split(",")
    if len(fields) < _SOURCE_FIELDS:
        return None
    outcome, used = _SOURCE_STATES.get(fields[1], (fields[1], None))
    try:
        if int(fields[5], 8) == 0:
            return TimeSourceReport(name=fields[2], outcome="no answer", address=fields[2])
        return TimeSourceReport(
            name=fields[2],
            outcome=outcome,
            used=used,
            address=fields[2],
            stratum=int(fields[3]),
            # As with tracking: chronyc prints how far the system clock is behind this source.
            offset=-timedelta(seconds=float(fields[8])),
            uncertainty=timedelta(seconds=float(fields[9])),
        )
    except (ValueError, OverflowError):
        return None
