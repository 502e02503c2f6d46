"""timestamp-cli: get, verify and inspect timestamps."""

from tsa_core.cli.timestamp.program import main, run

__all__ = ["main", "run"]
