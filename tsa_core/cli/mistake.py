"""The mistake of whoever typed a command: exit code 2, one line."""

from __future__ import annotations


class UsageMistake(Exception):
    """Flags that do not fit together, or a file that cannot be read; raised where click is not imported."""
