"""What was found, where, and what it is over as far as the file says it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from tsa_core.protocol.errors import TsaError

MAX_TOKENS: Final = 256
"""Tokens of one file."""


class ExtractError(TsaError):
    """The file is of no kind that is read here, is broken, or is larger than what is read."""


@dataclass(frozen=True, kw_only=True)
class FoundToken:
    """One RFC 3161 token in a file.

    `kind` is its name in its standard, `place` where in the file it stands, `token` the DER TimeStampToken. `covers`
    says in words what it is over. `subject` returns those octets; it is None when they are not in the file or are not
    worked out here, and `unknown` says why.
    """

    kind: str
    place: str
    token: bytes
    covers: str
    subject: Callable[[], bytes] | None = None
    unknown: str = ""


@dataclass(frozen=True, kw_only=True)
class FoundCountersignature:
    """A countersignature (RFC 5652 11.4), as Authenticode's old timestamps are: no RFC 3161 token.

    `place` is where in the file its signature stands.
    """

    place: str
    kind: str = "countersignature"
    covers: str = "the value of the signature"


Found: TypeAlias = FoundToken | FoundCountersignature
"""What is found in a signature."""
