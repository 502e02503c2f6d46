"""Remarks about what was accepted although it breaks a rule."""

from __future__ import annotations

from tsa_core.values import Value


class Note(Value):
    """One remark about what was accepted: `code` for programs, which does not change, `text` for people."""

    code: str
    text: str

    def __str__(self) -> str:
        return self.text
