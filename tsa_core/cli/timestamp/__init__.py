"""timestamp-cli: get, verify and inspect timestamps."""

from tsa_core.cli.timestamp.program import cli, main, run

__all__ = ["cli", "main", "run"]
