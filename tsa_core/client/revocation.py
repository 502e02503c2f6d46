"""Fetching CRLs for a path that has been verified; only ever done when the caller asks (rule V9)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from cryptography import x509

from tsa_core.client.deadline import Deadline
from tsa_core.client.errors import ClientError
from tsa_core.client.transport import fetch
from tsa_core.verify import Revocation, RevocationScope

MAX_CRL_OCTETS: Final = 32 << 20
MAX_CRLS: Final = 16


def crl_urls(path: Iterable[x509.Certificate]) -> tuple[str, ...]:
    """Return where the certificates of a path say that their CRLs are, http and https only, each one once."""
    urls: dict[str, None] = {}
    for certificate in path:
        try:
            points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        except x509.ExtensionNotFound:
            continue
        for point in points:
            for name in point.full_name or ():
                if isinstance(name, x509.UniformResourceIdentifier) and name.value.startswith(("http://", "https://")):
                    urls[name.value] = None
    return tuple(urls)[:MAX_CRLS]


def fetch_crls(
    path: Iterable[x509.Certificate],
    *,
    timeout: float = 30.0,
    scope: RevocationScope = RevocationScope.SIGNER,
) -> tuple[Revocation, tuple[ClientError, ...]]:
    """Return the CRLs that a path's certificates point to, and why others could not be had.

    `path` is that of a VerifiedTimestamp: its certificates come from authorities that the caller trusts, so their
    URLs do too. An unreachable CRL is no error here; a signer that nothing covers is one in `Revocation.check`.
    Raises RevocationUnknown when an answer is not a CRL.
    """
    fetched: list[bytes] = []
    failures: list[ClientError] = []
    for url in crl_urls(path):
        try:
            with Deadline(timeout) as deadline:
                fetched.append(fetch(url, deadline=deadline, max_octets=MAX_CRL_OCTETS))
        except ClientError as error:
            failures.append(error)
    return Revocation.from_files(crls=fetched, scope=scope), tuple(failures)
