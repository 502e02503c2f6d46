"""Where the replicas record their tokens, and how an operator looks into it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.faults.scene import Scene


class Recorded(NamedTuple):
    """A token in the trail: its serial number, and the digest, both in hexadecimal."""

    serial: str
    digest: str


class Trail(ABC):
    """One way to record tokens, for all replicas of one cluster."""

    @abstractmethod
    def settings(self, number: int) -> str:
        """Return `[audit]` and its tables for a replica."""

    @abstractmethod
    def tokens(self) -> list[Recorded]:
        """Return all tokens that are recorded."""

    @abstractmethod
    def verify(self) -> str:
        """Return `intact`, or what `timestamp-server audit verify` says."""


class Files(Trail):
    """tsa-audit-file: each replica has a trail of its own."""

    def __init__(self, folder: Path, replicas: int) -> None:
        self._scene = Scene(folder)
        self._folders = [folder / f"trail-{number}" for number in range(1, replicas + 1)]

    def settings(self, number: int) -> str:
        """Return `[audit]` and its tables for a replica."""
        path = self._folders[number - 1] / "audit.jsonl"
        return f'[audit]\nsinks = ["auditfile"]\n\n[audit.auditfile]\npath = "{path}"\ndigests = true\n'

    def tokens(self) -> list[Recorded]:
        """Return all tokens that are recorded."""
        texts = [path.read_text(encoding="utf-8") for files in self._files() for path in files]
        lines = [json.loads(line) for text in texts for line in text.splitlines()]
        return [Recorded(line["serial"], line["digest"]) for line in lines if line["type"] == "token"]

    def verify(self) -> str:
        """Return `intact`, or what the command says of the first trail that is not."""
        for files in self._files():
            done = self._scene.run("audit", "verify", *files)
            if done.code != 0:
                return done.output
        return "intact"

    def _files(self) -> list[Sequence[Path]]:
        return [sorted(folder.glob("audit*.jsonl")) for folder in self._folders]
