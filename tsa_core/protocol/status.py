"""PKIStatus and PKIFailureInfo (RFC 3161 2.4.2)."""

from __future__ import annotations

import enum


class PKIStatus(enum.IntEnum):
    """The result of a request; a token is present exactly for the first two."""

    GRANTED = 0
    GRANTED_WITH_MODS = 1
    REJECTION = 2
    WAITING = 3
    REVOCATION_WARNING = 4
    REVOCATION_NOTIFICATION = 5


class PKIFailureInfo(enum.IntEnum):
    """Why a request was refused; each value is the number of a bit in a named-bit list."""

    BAD_ALG = 0
    BAD_REQUEST = 2
    BAD_DATA_FORMAT = 5
    TIME_NOT_AVAILABLE = 14
    UNACCEPTED_POLICY = 15
    UNACCEPTED_EXTENSION = 16
    ADD_INFO_NOT_AVAILABLE = 17
    SYSTEM_FAILURE = 25

    @property
    def text(self) -> str:
        """The name in RFC 3161, `badAlg` for example."""
        first, *rest = self.name.lower().split("_")
        return first + "".join(word.capitalize() for word in rest)
