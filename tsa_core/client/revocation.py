"""Fetching CRLs and OCSP responses for a path that has been verified; only done when the caller asks (rule V9)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID

from tsa_core.client.deadline import Deadline
from tsa_core.client.errors import ClientError
from tsa_core.client.issuers import access_urls
from tsa_core.client.ocsp_request import REQUEST_TYPE, RESPONSE_TYPE, build_ocsp_request, new_nonce
from tsa_core.client.transport import fetch
from tsa_core.paths.certificate import PathCertificate
from tsa_core.paths.crl_reader import FRESHEST_CRL, CertificateList
from tsa_core.paths.distribution_points import read_distribution_points
from tsa_core.paths.evidence import MAX_REVOCATION_OCTETS, read_crls, read_ocsp_responses
from tsa_core.paths.ocsp_reader import OCSPResponse
from tsa_core.protocol.errors import EncodingError
from tsa_core.verify import Revocation, RevocationScope, RevocationUnknown, VerificationError

MAX_CRL_OCTETS: Final = MAX_REVOCATION_OCTETS
MAX_OCSP_OCTETS: Final = 1 << 20
MAX_CRLS: Final = 16
"""Distribution points of one path that are asked, delta CRLs included."""
MAX_RESPONDERS: Final = 16
"""OCSP responders of one path that are asked."""

_WEB: Final = ("http://", "https://")


def crl_urls(path: Iterable[x509.Certificate]) -> tuple[str, ...]:
    """Return where the certificates of a path say that their CRLs are, http and https only, each one once."""
    return tuple([url for url in _point_urls(map(PathCertificate, path)) if url.startswith(_WEB)])[:MAX_CRLS]


def fetch_crls(
    path: Iterable[x509.Certificate],
    *,
    timeout: float = 30.0,
    scope: RevocationScope = RevocationScope.SIGNER,
) -> tuple[Revocation, tuple[ClientError, ...]]:
    """Return the CRLs that a path's certificates point to, and why others could not be had; see fetch_revocation."""
    return fetch_revocation(tuple(path), crls=True, ocsp=False, timeout=timeout, given=Revocation(scope=scope))


def fetch_revocation(
    path: Sequence[x509.Certificate],
    *,
    crls: bool = True,
    ocsp: bool = True,
    timeout: float = 30.0,
    given: Revocation | None = None,
) -> tuple[Revocation, tuple[ClientError, ...]]:
    """Return `given` with the CRLs and OCSP responses that a path's certificates point to, and what failed.

    `path` is that of a VerifiedTimestamp: its certificates come from authorities that the caller trusts, so their
    URLs do too. `timeout`, in seconds, bounds all of it. A place that cannot be reached, does not hold what it
    should, or is no http or https URL is a failure that the others do not suffer from; a signer that nothing
    covers is an error in `Revocation.check` only.
    """
    given = given if given is not None else Revocation()
    certificates = tuple(map(PathCertificate, path))
    failures: list[ClientError] = []
    lists: list[CertificateList] = []
    responses: list[OCSPResponse] = []
    with Deadline(timeout) as deadline:
        if ocsp:
            responses = _fetch_responses(certificates, deadline, failures)
        if crls:
            lists = _fetch_lists(certificates, deadline, failures)
    fetched = replace(
        given,
        crls=(*given.crls, *lists),
        ocsp_responses=(*given.ocsp_responses, *responses),
    )
    return fetched, tuple(failures)


def _point_urls(certificates: Iterable[PathCertificate]) -> list[str]:
    """Return every URL of the distribution points of certificates, of whatever scheme, each once."""
    urls: dict[str, None] = {}
    for certificate in certificates:
        for oid in (ExtensionOID.CRL_DISTRIBUTION_POINTS, ExtensionOID.FRESHEST_CRL):
            try:
                value = certificate.raw_value(oid)
                points = read_distribution_points(value, certificate.issuer) if value is not None else ()
            except (EncodingError, VerificationError):
                continue
            urls.update((url, None) for point in points for url in point.urls)
    return list(urls)


def _fetch_lists(
    certificates: Sequence[PathCertificate], deadline: Deadline, failures: list[ClientError]
) -> list[CertificateList]:
    found: list[CertificateList] = []
    wanted = _point_urls(certificates)
    asked: set[str] = set()
    while wanted and len(asked) < MAX_CRLS:
        url = wanted.pop(0)
        if url in asked:
            continue
        asked.add(url)
        try:
            lists = read_crls([(url, fetch(url, deadline=deadline, max_octets=MAX_CRL_OCTETS))])
        except ClientError as error:
            failures.append(error)
        except RevocationUnknown as error:
            failures.append(ClientError(url, f"its answer does not count: {error}"))
        else:
            found.extend(lists)
            wanted.extend(url for crl in lists for url in _freshest_urls(crl))
    return found


def _freshest_urls(crl: CertificateList) -> list[str]:
    """Return where a CRL says that its delta CRLs are (RFC 5280 5.2.6)."""
    extension = crl.extensions.get(FRESHEST_CRL)
    if extension is None:
        return []
    try:
        return [url for point in read_distribution_points(extension.value, crl.issuer) for url in point.urls]
    except EncodingError:
        return []


def _fetch_responses(
    certificates: Sequence[PathCertificate], deadline: Deadline, failures: list[ClientError]
) -> list[OCSPResponse]:
    found: list[OCSPResponse] = []
    asked = 0
    if len(certificates) == 1:
        failures.extend(
            ClientError(url, "it is not asked: the signer is trusted itself, and its issuer is not in the path")
            for url in access_urls(certificates[0], AuthorityInformationAccessOID.OCSP)
        )
    for certificate, issuer in pairwise(certificates):
        for url in access_urls(certificate, AuthorityInformationAccessOID.OCSP):
            if asked == MAX_RESPONDERS:
                return found
            asked += 1
            try:
                found.append(_ask(url, certificate, issuer, deadline))
            except ClientError as error:
                failures.append(error)
            except VerificationError as error:
                failures.append(ClientError(url, f"its answer does not count: {error}"))
            else:
                break
    return found


def _ask(url: str, certificate: PathCertificate, issuer: PathCertificate, deadline: Deadline) -> OCSPResponse:
    """Return a responder's answer about one certificate; raises ClientError or a VerificationError."""
    nonce = new_nonce()
    data = fetch(
        url,
        deadline=deadline,
        max_octets=MAX_OCSP_OCTETS,
        body=build_ocsp_request(certificate, issuer, nonce),
        headers={"Content-Type": REQUEST_TYPE, "Accept": RESPONSE_TYPE},
    )
    (response,) = read_ocsp_responses([(url, data)])
    if response.status != "successful":
        raise ClientError(url, f"the OCSP responder says {response.status}")
    # Many responders answer from a store and send no nonce (RFC 6960 4.4.1); one that is not ours is a replay.
    if response.nonce not in {None, nonce}:
        raise ClientError(url, "the OCSP response answers another request: its nonce is not the one that was sent")
    return response
