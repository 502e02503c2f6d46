"""The routes: POST of a request in base64, answered with a countersignature in base64.

Permissions: none. Nothing leaves the machine. The key, the clock and the audit trail are the profile's.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Final

from tsa_authenticode.options import AuthenticodeOptions
from tsa_authenticode.request import MalformedRequest, OtherProtocol, read_request
from tsa_core.api import (
    AuthorityAccess,
    ConfigError,
    Countersigner,
    PKIFailureInfo,
    RequestRejected,
    Route,
    RouteReply,
    RouteRequest,
    Routes,
)

log = logging.getLogger(__name__)

MAX_BODY: Final = 65_536
_OCTETS: Final = "application/octet-stream"
_QUERY: Final = "application/timestamp-query"
_RETRY_SECONDS: Final = "1"
_SCHEMES: Final = ("rsa-pkcs1v15-", "ecdsa-")
"""The signatures that clients of this protocol verify."""
_WEAK: Final = "%s makes SHA-1 countersignatures with the profile %r: SHA-1 is broken; do without sha1_paths if you can"
_LATER: Final = frozenset({PKIFailureInfo.TIME_NOT_AVAILABLE, PKIFailureInfo.SYSTEM_FAILURE})
"""Refusals after which trying again may help."""


class AuthenticodeRoutes(Routes):
    """A route for each path of the settings."""

    def __init__(self, options: AuthenticodeOptions) -> None:
        self._options = options
        self._routes: list[Route] = []

    def bind(self, access: AuthorityAccess) -> None:
        """Get the countersigner of each path; raises ConfigError for a profile that cannot countersign."""
        addresses = {profile.name: profile.path for profile in access.profiles()}
        for setting, paths in (("paths", self._options.paths), ("sha1_paths", self._options.sha1_paths)):
            for path, profile in paths.items():
                where = f'routes.authenticode.{setting}."{path}"'
                try:
                    countersigner = access.countersigner(profile, protocol="authenticode", sha1=setting == "sha1_paths")
                    _refuse_unusual(countersigner, profile)
                    if setting == "sha1_paths":
                        log.warning(_WEAK, path, profile)
                    answer = partial(_answer, countersigner, addresses.get(profile, ""))
                    # Nobody is sent to SHA-1.
                    takes = (_OCTETS,) if setting == "paths" else ()
                    self._routes.append(
                        Route(path=path, answer=answer, methods=("POST",), max_body=MAX_BODY, takes=takes)
                    )
                except (ConfigError, ValueError) as error:
                    raise ConfigError(str(error), path=where) from None

    def routes(self) -> Sequence[Route]:
        """Return the routes."""
        return self._routes


def _refuse_unusual(countersigner: Countersigner, profile: str) -> None:
    """Raise ConfigError for signatures that no client of this protocol verifies."""
    if not countersigner.algorithm.startswith(_SCHEMES):
        raise ConfigError(
            f"the profile {profile!r} signs with {countersigner.algorithm}; the clients of this protocol verify "
            "RSA (PKCS #1 v1.5) and ECDSA only; give a profile with such a key"
        )


def _answer(countersigner: Countersigner, address: str, request: RouteRequest) -> RouteReply:
    if request.content_type.partition(";")[0].strip().lower() == _QUERY:
        return _other_protocol("the body is an RFC 3161 request", request, address)
    try:
        value = read_request(request.body)
    except OtherProtocol as error:
        return _other_protocol(str(error), request, address)
    except MalformedRequest as error:
        return _refused(HTTPStatus.BAD_REQUEST, str(error))
    try:
        countersignature = countersigner.countersign(value, request)
    except RequestRejected as rejection:
        if rejection.failure in _LATER:
            return _refused(HTTPStatus.SERVICE_UNAVAILABLE, rejection.text, retry=True)
        return _refused(HTTPStatus.FORBIDDEN, rejection.text)
    return RouteReply(body=base64.b64encode(countersignature), content_type=_OCTETS)


def _other_protocol(what: str, request: RouteRequest, address: str) -> RouteReply:
    return _refused(
        HTTPStatus.BAD_REQUEST,
        f"{what}, and this address speaks Authenticode's old protocol alone; send it to {request.base_url}{address} "
        "(signtool /tr, osslsigncode -ts, jsign --tsmode RFC3161)",
    )


def _refused(status: HTTPStatus, text: str, *, retry: bool = False) -> RouteReply:
    return RouteReply(
        status=status.value, body=f"{text}\n".encode(), headers={"Retry-After": _RETRY_SECONDS} if retry else {}
    )
