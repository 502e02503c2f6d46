"""Who sends a request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_NAME: Final = re.compile(r"[!-~](?:[ -~]{0,198}[!-~])?", re.ASCII)
_WORD: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who sends a request, as a guard has found out. Raises ValueError for what cannot be logged as it is.

    `name` is the client's, `tenant` that of the customer or department which it belongs to, empty when there are none;
    both are printable ASCII of at most 200 characters. `how` is a word for the way it was recognised, `api-key` or
    `client-certificate` for example. `profiles` are those that it may use, None for all; a request for another one is
    refused (badRequest), whichever way the profile was chosen. `policies` are the OIDs of the policies that its tokens
    may have, None for all; a request that would get another one is refused (unacceptedPolicy).
    """

    name: str
    tenant: str = ""
    how: str = ""
    profiles: frozenset[str] | None = None
    policies: frozenset[str] | None = None

    def __post_init__(self) -> None:
        """Check the texts: they go into logs, and into the audit trail."""
        for label, text in (("name", self.name), *([("tenant", self.tenant)] if self.tenant else [])):
            if not _NAME.fullmatch(text):
                raise ValueError(
                    f"{text!r:.80} cannot be the {label} of an identity: use up to 200 printable characters"
                )
        if self.how and not _WORD.fullmatch(self.how):
            raise ValueError(f"{self.how!r:.80} cannot say how: use a word in lower case, api-key for example")

    def may_use(self, profile: str) -> bool:
        """Say whether this client may use a profile."""
        return self.profiles is None or profile in self.profiles
