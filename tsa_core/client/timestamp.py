"""What one authority gave."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from tsa_core.protocol.tstinfo_reader import TSTInfo
from tsa_core.values import Value

if TYPE_CHECKING:
    from tsa_core.verify import VerifiedTimestamp


class Timestamp(Value):
    """A reply that answers the request; `url` is the authority's, without credentials.

    `verified` is None unless the client had a verifier: then nobody has said yet whether to trust the signer.
    `warnings` are sentences about what is odd but no reason to refuse it, a genTime that is long past for example.
    """

    url: str
    request: bytes
    reply: bytes
    tst_info: TSTInfo
    verified: VerifiedTimestamp | None
    warnings: tuple[str, ...] = ()

    @property
    def time(self) -> datetime:
        """The time that the authority states, in UTC."""
        return self.tst_info.gen_time
