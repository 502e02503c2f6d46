"""The chains that a configuration signs with and has signed with, for the documents that clients trust."""

from __future__ import annotations

from collections.abc import Iterable

from tsa_core.authority import issuing_period, parse_chain
from tsa_core.certs.trust_documents import PublishedAuthority


def published_authorities(current: bytes, former: Iterable[bytes], *, uri: str = "") -> list[PublishedAuthority]:
    """Return a profile's present chain, PEM, and its former ones, the newest first.

    A former chain is trusted until its key could no longer be used: the day of the change-over is in no certificate.
    """
    published: list[PublishedAuthority] = []
    for pem in (current, *former):
        chain = parse_chain(pem, where="a certificate chain")
        period = issuing_period(chain.certificates, until="key-usage")
        ended = period.not_after if published else None
        published.append(PublishedAuthority(chain=chain, uri=uri, begun=period.not_before, ended=ended))
    return published
