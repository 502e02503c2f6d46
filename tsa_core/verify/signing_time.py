"""The signing-time attribute, exactly as RFC 5652 11.3 has it encoded (rule V3).

Nothing is concluded from it: genTime is the time of a timestamp. But what is signed must say one thing to every
reader, and a time in a form of its own does not.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from tsa_core.protocol import der
from tsa_core.verify.errors import SignedDataError

_FORMS = {der.UTC_TIME: 13, der.GENERALIZED_TIME: 15}
"""Characters of YYMMDDHHMMSSZ and of YYYYMMDDHHMMSSZ; fractions of a second are not allowed."""


@lru_cache(maxsize=256)
def check_signing_time(encoded: bytes) -> None:
    """Raise SignedDataError unless this is a DER Time: UTCTime from 1950 to 2049, GeneralizedTime otherwise."""
    tag, content = encoded[0], encoded[2:]
    if tag not in _FORMS or len(content) != _FORMS[tag] or encoded[1] != len(content) or content[-1:] != b"Z":
        raise SignedDataError("the signing-time attribute is not a UTCTime or GeneralizedTime to the second, in UTC")
    digits = content[:-1].decode("ascii", "replace")
    if tag == der.UTC_TIME:
        digits = ("19" if digits >= "50" else "20") + digits
    elif "1950" <= digits[:4] < "2050":
        raise SignedDataError(f"the signing-time attribute says {digits[:4]} as a GeneralizedTime, not as a UTCTime")
    try:
        # int() alone would also take blanks and signs.
        if not (digits.isascii() and digits.isdigit()):
            raise ValueError
        month, day, hour, minute, second = (int(digits[i : i + 2]) for i in range(4, 14, 2))
        datetime(int(digits[:4]), month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise SignedDataError("the signing-time attribute is not a time") from None
