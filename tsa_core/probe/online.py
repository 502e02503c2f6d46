"""What the places that certificates name answer: CRLs and OCSP responders, asked only when the caller says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.x509.oid import AuthorityInformationAccessOID

from tsa_core.client.issuers import access_urls
from tsa_core.client.revocation import crl_urls, fetch_revocation
from tsa_core.paths.certificate import PathCertificate
from tsa_core.paths.errors import printable
from tsa_core.verify import CertificateRevoked, TrustStore, VerificationError, Verifier


@dataclass(frozen=True, kw_only=True)
class OnlineFacts:
    """What was asked and came. `revoked` is the verifier's text, empty for good, None when it cannot be told.

    `unknown` says why it cannot.
    """

    asked: int
    failures: tuple[str, ...]
    revoked: str | None
    unknown: str = ""


def look(
    path: Sequence[PathCertificate], reply: bytes, request: bytes, trust: TrustStore | None, timeout: float
) -> OnlineFacts:
    """Fetch what the certificates of a path point to, and judge the reply with it; `timeout` bounds all of it.

    The addresses are those of certificates that nobody may have verified: whoever made the token chooses them.
    """
    certificates = [each.certificate for each in path]
    asked = len(crl_urls(certificates)) + len(_responders(path))
    revocation, errors = fetch_revocation(certificates, timeout=timeout)
    failures = tuple(printable(str(each)) for each in errors)
    if trust is None:
        return OnlineFacts(
            asked=asked,
            failures=failures,
            revoked=None,
            unknown="no roots were given, so that nobody can say whose CRL counts",
        )
    revoked, unknown = _judge(reply, request, Verifier(trust, revocation=revocation))
    return OnlineFacts(asked=asked, failures=failures, revoked=revoked, unknown=unknown)


def _responders(path: Sequence[PathCertificate]) -> list[str]:
    return [url for each in path for url in access_urls(each, AuthorityInformationAccessOID.OCSP)]


def _judge(reply: bytes, request: bytes, verifier: Verifier) -> tuple[str | None, str]:
    try:
        verifier.verify_response(reply, request=request)
    except CertificateRevoked as error:
        return printable(str(error)), ""
    except VerificationError as error:
        return None, printable(str(error))
    return "", ""
