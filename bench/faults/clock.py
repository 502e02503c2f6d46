"""Faults of the clock: time servers that lie, a clock that is set or drifts, a monitor that cannot run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.faults.fault import Seen, fault
from bench.faults.scene import MEMORY, Scene
from tsa_core.testing.chronyd import find_libfaketime


class WallClock:
    """The time of day of a server that runs with `environ`; its monotonic clock is the system's."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "faketime"
        self.set_by(0)

    def set_by(self, seconds: int) -> None:
        """Set it to so many seconds from the system's."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}s\n")
        fresh.replace(self._file)

    @property
    def environ(self) -> Mapping[str, str]:
        """The variables of the server."""
        return {
            "LD_PRELOAD": str(find_libfaketime()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


@fault("clock-step", "No monitor; the clock is set forward by an hour, and back")
def step(scene: Scene) -> Seen:
    """Closed at once, open again when the clock is where it was."""
    wall = WallClock(scene.folder)
    with scene.serve(MEMORY, environ=wall.environ) as server:
        assert server.grants()
        wall.set_by(3600)
        client = server.ask().words
        assert "timeNotAvailable" in client
        log, readyz = server.logged("clock state=stepped"), server.readyz()
        metric = server.metric("clock_issuing")
        wall.set_by(0)
        healed = server.healed()
    return Seen(client=client, log=log, readyz=readyz, metric=metric, healed=f"{healed} after it was set back")
