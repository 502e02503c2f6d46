"""Where a timestamp stands in a record."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a timestamp stands in a record, counted from 1."""

    chain: int
    timestamp: int

    def __str__(self) -> str:
        return f"timestamp {self.timestamp} of chain {self.chain}"

    @property
    def kind(self) -> str:
        """What the timestamp is for: `initial`, `timestamp renewal` or `hash tree renewal`."""
        if self.timestamp > 1:
            return "timestamp renewal"
        return "initial" if self.chain == 1 else "hash tree renewal"
