"""Rule V6: whether a reply is recent, by this machine's clock (RFC 3161 2.2)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from tsa_core.verify import VerificationError

DEFAULT_CLOCK_WINDOW: Final = timedelta(minutes=5)
"""How far genTime may be from this machine's clock: what Kerberos allows between clocks (RFC 4120 8.2)."""


class OutsideClockWindow(VerificationError):
    """genTime is in the future, or the reply may be an old one: nothing in it is new, and genTime is long past."""

    rule = "V6"


def check_time(gen_time: datetime, *, nonce: bool, sent: datetime, received: datetime, window: timedelta) -> str | None:
    """Return a warning, or None, about a genTime that came between two readings of this machine's clock.

    A nonce proves that the reply was made for this request, so a genTime that is long past only says that one of
    the clocks is wrong. Without one it may be an earlier reply, sent again: raises OutsideClockWindow. So does a
    genTime in the future, for nothing can exist before a time that has not come.
    """
    if gen_time - received > window:
        raise OutsideClockWindow(
            f"genTime is {_words(gen_time - received)} ahead of this machine's clock; one of the two clocks is wrong"
        )
    if sent - gen_time <= window:
        return None
    late = f"genTime is {_words(sent - gen_time)} behind this machine's clock"
    if nonce:
        return f"{late}; one of the two clocks is wrong"
    raise OutsideClockWindow(f"{late}, and without a nonce the reply may be an old one; ask with a nonce")


def _words(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    if seconds < 120:
        return f"{seconds} seconds"
    if seconds < 7200:
        return f"{seconds // 60} minutes"
    return f"{seconds // 3600} hours" if seconds < 172800 else f"{seconds // 86400} days"
