"""Remarks about what was accepted although it breaks a rule."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """One remark about what was accepted: `code` for programs, which does not change, `text` for people."""

    code: str
    text: str

    def __str__(self) -> str:
        return self.text
