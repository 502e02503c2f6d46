"""The routes that return what verifies timestamps: the certificates, and Sigstore's TrustedRoot of them."""

from __future__ import annotations

import hashlib
import json

import falcon

from tsa_core.certs.trust_documents import trusted_root
from tsa_core.http.sigstore_mode import CHAIN_CACHE
from tsa_core.service import Service
from tsa_core.service.published import published_authorities

CHAIN_TYPE = "application/pem-certificate-chain"
_MAX_AGE = "public, max-age=3600"
_FALSE = frozenset({"", "0", "false", "no"})


class CertificateChainResource:
    """GET and HEAD: the profile's chain as PEM, TSA certificate first, root last.

    With `?all=true` the profile's former chains follow, each complete, the most recent first: so old tokens stay
    verifiable after a rotation. Caches may keep an answer for an hour only, for the same reason.
    """

    def __init__(self, service: Service) -> None:
        as_sigstore = service.settings.server.rejections == "sigstore"
        self._cache = CHAIN_CACHE if as_sigstore else _MAX_AGE
        self._answers: dict[tuple[str, bool], tuple[bytes, str]] = {}
        for name, profile in service.authority.profiles.items():
            current = profile.certificate_chain_pem
            for every, pem in ((False, current), (True, b"".join((current, *service.earlier_chains[name])))):
                self._answers[name, every] = pem, _etag(pem)

    def on_get(self, request: falcon.Request, response: falcon.Response, profile: str = "default") -> None:
        """Answer, with 304 when the client has the chain already."""
        every = (request.get_param("all", default="") or "").lower() not in _FALSE
        answer = self._answers.get((profile, every))
        if answer is None:
            raise falcon.HTTPNotFound(description=f"there is no profile {profile[:64]!r} here")
        _answer(request, response, answer, CHAIN_TYPE, self._cache)

    on_head = on_get


class TrustedRootResource:
    """GET and HEAD: the TrustedRoot of all profiles, JSON, as Sigstore's clients load it."""

    def __init__(self, service: Service) -> None:
        public = service.settings.server.public_url
        urls = {
            name: f"{public.rstrip('/')}{path}" if public else ""
            for name in service.authority.profiles
            for path in ["/api/v1/timestamp" if name == "default" else f"/tsa/{name}"]
        }
        authorities = [
            authority
            for name, profile in service.authority.profiles.items()
            for authority in published_authorities(
                profile.certificate_chain_pem, service.earlier_chains[name], uri=urls[name]
            )
        ]
        document = json.dumps(trusted_root(authorities), separators=(",", ":")).encode()
        self._found = document, _etag(document)

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Answer, with 304 when the client has the document already."""
        _answer(request, response, self._found, falcon.MEDIA_JSON)

    on_head = on_get


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _answer(
    request: falcon.Request, response: falcon.Response, found: tuple[bytes, str], media_type: str, cache: str = _MAX_AGE
) -> None:
    """Answer with these octets and their ETag, or with 304."""
    response.etag = found[1]
    response.set_header("Cache-Control", cache)
    if any(known in {"*", found[1]} for known in request.if_none_match or ()):
        response.status = falcon.HTTP_304
        return
    response.content_type = media_type
    response.data = found[0]
