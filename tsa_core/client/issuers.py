"""Fetching the certificates of issuers that a token does not bring (RFC 5280 4.2.2.1, caIssuers); only when asked."""

from __future__ import annotations

from typing import Final

from cryptography import exceptions, x509
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID

from tsa_core.client.deadline import Deadline
from tsa_core.client.errors import ClientError
from tsa_core.client.transport import fetch
from tsa_core.paths.certificate import PathCertificate
from tsa_core.verify import PathError, TrustStore, VerificationError
from tsa_core.verify.signed_data import find_signer
from tsa_core.verify.statement import open_reply, open_token, read_statement, readable
from tsa_core.verify.trust import read_certificates

MAX_ISSUERS: Final = 8
"""Certificates in a path for which issuers are looked for."""
MAX_PLACES: Final = 4
"""URLs of one certificate that are asked."""
MAX_ISSUER_OCTETS: Final = 1 << 18


def fetch_issuers(
    data: bytes, trust: TrustStore, *, bare_token: bool = False, timeout: float = 30.0
) -> tuple[TrustStore, tuple[ClientError, ...]]:
    """Return `trust` with the issuers' certificates that a reply's signer points to, and what failed.

    The certificates carry no trust; they may lead to a root. The URLs are those of certificates that nobody has
    verified yet, so whoever made the token chooses where the requests go. `timeout`, in seconds, bounds all of it.
    Raises a VerificationError when the reply cannot be read or its signer's certificate is not at hand.
    """
    token = open_token(data) if bare_token else open_reply(data)[1]
    signed = read_statement(token)[0]
    at_hand = [*trust.prepared_roots, *trust.prepared_certificates, *readable(token.certificates)]
    roots = {root.der for root in trust.prepared_roots}
    current = find_signer(signed, at_hand)
    failures: list[ClientError] = []
    fetched: list[PathCertificate] = []
    with Deadline(timeout) as deadline:
        for _ in range(MAX_ISSUERS):
            if current.der in roots or current.self_issued:
                break
            issuer = _issuer(current, [*at_hand, *fetched])
            if issuer is None:
                fetched.extend(_fetch_first(current, deadline, failures))
                issuer = _issuer(current, fetched)
            if issuer is None:
                break
            current = issuer
    more = tuple(certificate.certificate for certificate in fetched)
    return TrustStore(roots=trust.roots, certificates=(*trust.certificates, *more)), tuple(failures)


def _issuer(certificate: PathCertificate, candidates: list[PathCertificate]) -> PathCertificate | None:
    for candidate in candidates:
        if candidate.subject == certificate.issuer:
            try:
                certificate.check_signed_by(candidate)
            except VerificationError:
                continue
            return candidate
    return None


def access_urls(certificate: PathCertificate, method: x509.ObjectIdentifier) -> list[str]:
    """Return the URLs of an access method in authorityInfoAccess (RFC 5280 4.2.2.1), at most a few."""
    try:
        places = certificate.value(ExtensionOID.AUTHORITY_INFORMATION_ACCESS) or ()
    except VerificationError:
        return []
    urls = [
        place.access_location.value
        for place in places
        if place.access_method == method and isinstance(place.access_location, x509.UniformResourceIdentifier)
    ]
    return urls[:MAX_PLACES]


def _fetch_first(
    certificate: PathCertificate, deadline: Deadline, failures: list[ClientError]
) -> list[PathCertificate]:
    """Return the certificates at the first of a certificate's places that holds its issuer."""
    for url in access_urls(certificate, AuthorityInformationAccessOID.CA_ISSUERS):
        try:
            data = fetch(url, deadline=deadline, max_octets=MAX_ISSUER_OCTETS)
            found = [PathCertificate(one) for one in _certificates(data)]
        except ClientError as error:
            failures.append(error)
        except (VerificationError, ValueError) as error:
            failures.append(ClientError(url, f"its answer is no certificate: {error}"))
        else:
            if _issuer(certificate, found) is not None:
                return found
            failures.append(ClientError(url, f"it holds no certificate that issued {certificate.name}"))
    return []


def _certificates(data: bytes) -> list[x509.Certificate]:
    """Return the certificates of an answer: one in DER, PEM, or a certs-only CMS message (RFC 5280 4.2.2.1)."""
    try:
        return list(read_certificates(data))
    except PathError:
        try:
            return pkcs7.load_der_pkcs7_certificates(data)
        except (ValueError, exceptions.UnsupportedAlgorithm):
            raise PathError("it is neither a certificate nor a CMS message that holds some") from None
