"""A fault, what was seen of it, and the list of all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from bench.faults.scene import Scene


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was seen. Markdown in one line each; log lines and reasons come from the helpers of Scene, already cleaned.

    `log`, `readyz`, `metric` and `also` (an exit code, a command's line) are what the operator saw, empty when nothing.
    `healed` says how long it took and after what.
    """

    client: str
    healed: str
    log: str = ""
    readyz: str = ""
    metric: str = ""
    also: str = ""

    @property
    def operator(self) -> str:
        """What the operator saw, in one cell."""
        parts = {"log": self.log, "/readyz": self.readyz, "metric": self.metric, "": self.also}
        return "; ".join(f"{name}: {text}" if name else text for name, text in parts.items() if text)


Act: TypeAlias = Callable[[Scene], Seen]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """`kind` is the module's name, `done` what is done to the server."""

    kind: str
    name: str
    done: str
    act: Act


REGISTERED: dict[str, Fault] = {}


def fault(name: str, done: str) -> Callable[[Act], Act]:
    """Register a function as a fault; the name is its row's key in the page, in lower case with hyphens."""

    def register(act: Act) -> Act:
        if name in REGISTERED:
            raise ValueError(f"two faults are called {name}")
        kind = act.__module__.rpartition(".")[2]
        REGISTERED[name] = Fault(kind=kind, name=name, done=done, act=act)
        return act

    return register
