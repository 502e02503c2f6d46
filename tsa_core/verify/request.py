"""Checks of a TimeStampReq before it is sent or when it is inspected (rule S5)."""

from __future__ import annotations

from tsa_core.protocol.errors import RequestRejected
from tsa_core.protocol.reply import MAX_REPLY_OCTETS
from tsa_core.protocol.request import TimeStampReq, read_request
from tsa_core.sources import Source, octets
from tsa_core.verify.errors import (
    InconsistentDigestLength,
    RequestInvalid,
    UnsupportedRequestHash,
    WeakRequestHash,
)


def verify_request(request: Source) -> TimeStampReq:
    """Return the request when an authority may grant it; raises a RequestInvalid that says why not.

    `request` is a path, bytes or an open file.

    WeakRequestHash, UnsupportedRequestHash and InconsistentDigestLength are told apart; RequestInvalid
    itself is for bytes that are not a TimeStampReq (RFC 3161 2.4.1).
    """
    try:
        parsed = read_request(octets(request, "the request", MAX_REPLY_OCTETS))
    except RequestRejected as error:
        raise RequestInvalid(error.text) from None
    algorithm = parsed.hash_algorithm
    if algorithm is None:
        raise UnsupportedRequestHash(f"the hash algorithm {parsed.hash_oid} is not supported")
    if algorithm.weak:
        raise WeakRequestHash(f"{algorithm.name.upper()} is too weak for a timestamp")
    if len(parsed.digest) != algorithm.digest_size:
        raise InconsistentDigestLength(
            f"a {algorithm.name} digest has {algorithm.digest_size} bytes, not {len(parsed.digest)}"
        )
    return parsed
