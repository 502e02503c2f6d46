"""Certificate authorities: what issues the certificate of an intermediate, at the top of a chain that we make."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import timedelta


class CertificateAuthority(ABC):
    """A CA that answers certification requests. Opened by `fetch-tsa-certs`, never by a server."""

    @abstractmethod
    def issue(self, request: bytes, *, validity: timedelta, timeout: float) -> Sequence[bytes]:
        """Return the certificate for a PKCS #10 request and its issuers up to the root, DER, within `timeout` seconds.

        `request` is DER, signed by the key that it is for; what it asks for stands in its extension request
        (RFC 2985 5.4.2): for an intermediate that issues TSA certificates, basic constraints, key usage and extended
        key usage, which must come into the certificate as they are. `validity` is wished for; a CA whose own
        certificate ends earlier may give less. Raises CertificateAuthorityError with what the CA said, and what the
        operator can do about it.
        """

    def close(self) -> None:  # noqa: B027 - optional: a CA without a connection has nothing to close
        """Release what it holds; called once more than needed does no harm."""
