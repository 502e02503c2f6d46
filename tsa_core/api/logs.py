"""What plugins say of libraries in logs and errors, and what they keep out of them."""

from __future__ import annotations

import logging
from typing import Final

_LONGEST_CHARACTERS: Final = 300


def keep_quiet(*names: str) -> None:
    """Switch off what these loggers, and those below them, log below WARNING.

    For libraries whose debug log holds credentials or what was decrypted.
    """
    for known in {*names, *logging.root.manager.loggerDict}:
        if any(known == name or known.startswith(f"{name}.") for name in names):
            logger = logging.getLogger(known)
            if known in names or logger.level:
                logger.setLevel(max(logger.level, logging.WARNING))


def one_line(text: object) -> str:
    """Return a library's text without line breaks, cut to 300 characters."""
    return " ".join(str(text).split())[:_LONGEST_CHARACTERS]
