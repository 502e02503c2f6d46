"""The words of a boolean flag."""

from __future__ import annotations

from typing import Final

WORDS: Final = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
"""Go's strconv.ParseBool takes exactly these; yes, no, on and off are not among them."""
