"""What the doctor finds: one line each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """What a finding means for a server: nothing, worth reading, or it would not issue."""

    GOOD = "good"
    NOTE = "note"
    BAD = "BAD"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One finding about `what`: `text` says what is, `remedy` what to do."""

    section: str
    level: Level
    what: str
    text: str
    remedy: str = ""

    @property
    def whole(self) -> str:
        """Text and remedy in one line."""
        return f"{self.text}; {self.remedy}" if self.remedy else self.text
