"""Bearer tokens of an identity provider: JSON Web Tokens, checked against its public keys."""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import jwt

from tsa_core.api import ConfigError, Identity, UnavailableError, read_file
from tsa_core.api.time_limit import Overdue, within_limit
from tsa_guard.options import Jwt

log = logging.getLogger(__name__)

_MAX_OCTETS: Final = 262_144
_FETCH_SECONDS: Final = 10.0
_STEP_SECONDS: Final = 5.0
_MAX_TOKEN: Final = 8_192
_CACHED: Final = 10_000
_LEEWAY_SECONDS: Final = 30
_OF_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
"""What an RSA key may be for that does not say it (RFC 7517 4.4); the curve of any other key says it."""


class _Key(NamedTuple):
    """A key of the provider, as it verifies each algorithm."""

    identifier: Any
    by_algorithm: Mapping[Any, jwt.PyJWK]


class BearerTokens:
    """Says whose a token is. Thread-safe. The provider's keys are read again periodically, in a thread of its own."""

    def __init__(self, settings: Jwt) -> None:
        self._settings = settings
        self._keys = self._read()
        self._known: OrderedDict[bytes, tuple[int, Identity]] = OrderedDict()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jwks", daemon=True)
        self._thread.start()

    def _read(self) -> list[_Key]:
        """Return the provider's keys; raises ConfigError, or UnavailableError when they may be there later."""
        url, path = self._settings.jwks_url, self._settings.jwks
        where = url or str(path)
        if path is not None:
            data = read_file(path, "JSON Web Key Set", limit=_MAX_OCTETS)
        else:
            try:
                data = _fetch(where)
            except (OSError, http.client.HTTPException) as error:
                raise UnavailableError(f"{where}: the identity provider's keys cannot be fetched: {error}") from None
        if len(data) > _MAX_OCTETS:
            raise ConfigError(f"there are more than {_MAX_OCTETS >> 10} KiB", path=where)
        try:
            return _keys_in(json.loads(data))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ConfigError(f"there is no JSON Web Key Set with a usable key: {error}", path=where) from None

    def _run(self) -> None:
        while not self._ended.wait(self._settings.refresh.total_seconds()):
            try:
                keys = self._read()
            except Exception as error:  # noqa: BLE001 - the thread must go on, and the keys stay as they were
                log.warning("the identity provider's keys stay as they were: %s", error)
                continue
            with self._lock:
                # A key that was taken back makes its tokens worthless, those that were good a moment ago, too.
                self._keys = keys
                self._known.clear()

    def known(self, token: str) -> Identity | None:
        """Return whose token this is when it was checked before, and counts still; None for any other."""
        if len(token) > _MAX_TOKEN:
            return None
        with self._lock:
            known = self._known.get(_digest(token))
        return known[1] if known is not None and known[0] > time.time() else None

    def identity(self, token: str) -> Identity:
        """Return whose token this is; raises ValueError, with a sentence for the client, when it does not count."""
        if len(token) > _MAX_TOKEN:
            raise ValueError("the token is too long")
        with self._lock:
            keys = self._keys
        try:
            key = _key_for(jwt.get_unverified_header(token), keys, self._settings.algorithms)
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.PyJWTError as error:
            raise ValueError(f"the token does not count: {error}") from None
        except (ValueError, TypeError, ArithmeticError, RecursionError):
            # What PyJWT does not expect of JSON: lists in lists in lists, numbers beyond all time.
            raise ValueError("the token does not count: it cannot be read") from None
        identity = self._identity_of(claims)
        with self._lock:
            if keys is self._keys:
                self._known[_digest(token)] = int(claims["exp"]), identity  # PyJWT lets a number in quotes pass
            while len(self._known) > _CACHED:
                self._known.popitem(last=False)
        return identity

    def _identity_of(self, claims: dict[str, Any]) -> Identity:
        name = claims.get(self._settings.name_claim)
        tenant = claims.get(self._settings.tenant_claim) if self._settings.tenant_claim else ""
        if not isinstance(name, str) or not isinstance(tenant, str) or (self._settings.tenant_claim and not tenant):
            raise ValueError("the token does not say who you are, or which tenant you belong to")
        try:
            return Identity(name=name, tenant=tenant, how="jwt")
        except ValueError:
            raise ValueError("the token's name or tenant has characters that cannot be logged") from None

    def close(self) -> None:
        """End the thread."""
        self._ended.set()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _keys_in(document: Any) -> list[_Key]:
    """Return the keys for signatures of a JSON Web Key Set; raises ValueError, TypeError or KeyError without any."""
    found = []
    for each in document["keys"]:
        if not isinstance(each, dict) or each.get("use", "sig") != "sig":
            continue
        named = each.get("alg")
        names = _OF_RSA if each.get("kty") == "RSA" and not named else (named,)
        try:
            keys = [jwt.PyJWK.from_dict(each, name) for name in names]
        except jwt.PyJWTError:  # a kind that is not known here; its text would quote the key
            continue
        found.append(_Key(each.get("kid"), {key.algorithm_name: key for key in keys}))
    if not found:
        raise ValueError("none is for signatures that are known here")
    return found


def _key_for(header: dict[str, Any], keys: Sequence[_Key], algorithms: Sequence[str]) -> jwt.PyJWK:
    identifier, algorithm = header.get("kid"), header.get("alg")
    found = [key for key in keys if identifier is None or key.identifier == identifier]
    if len(found) != 1:
        raise jwt.InvalidTokenError("no key of the identity provider is the one that it names")
    if algorithm not in algorithms or algorithm not in found[0].by_algorithm:
        raise jwt.InvalidAlgorithmError("The specified alg value is not allowed")
    return found[0].by_algorithm[algorithm]


def _fetch(url: str) -> bytes:
    """Return what an address gives; raises OSError or HTTPException. DNS included, it takes ten seconds at most.

    Redirects are not followed, and no proxy is asked: the address in the settings is the one that was checked.
    """
    parts = urlsplit(url)
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.hostname or "", parts.port, timeout=_STEP_SECONDS)
    opened: list[socket.socket] = []

    def ask() -> tuple[int, bytes]:
        try:
            connection.connect()
            opened.append(connection.sock)
            connection.request("GET", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}")
            response = connection.getresponse()
            return response.status, response.read(_MAX_OCTETS + 1)
        finally:
            connection.close()

    try:
        status, data = within_limit(ask, seconds=_FETCH_SECONDS, name="jwks-fetch")
    except Overdue:
        for each in opened:  # which ends the thread; one that waits for a name ends when that is found or not
            with suppress(OSError):  # it has just been closed
                each.shutdown(socket.SHUT_RDWR)
        raise TimeoutError(f"it takes longer than {_FETCH_SECONDS:g} s") from None
    if status != http.HTTPStatus.OK:
        raise OSError(f"the answer is HTTP {status}")
    return data
