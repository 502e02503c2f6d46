"""The way to the vault: one pool of connections, one token for all threads, every exchange within its time."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Final

import requests
from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions
from azure.core.exceptions import ServiceRequestTimeoutError
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import HTTPAdapter

from tsa_core.api import ConfigError
from tsa_signer_azurekms.options import AzureOptions
from tsa_signer_azurekms.settings import Identity

log = logging.getLogger(__name__)

_CONNECT_SHARE: Final = 0.3
"""Of the time that is left: connecting takes at most this share, waiting for the answer the rest."""
_RENEW_SECONDS: Final = 600
"""A token is renewed when it has less than this left; Azure's library asks for a new one 300 s before its end."""
_USABLE_SECONDS: Final = 30
_PAUSE_SECONDS: Final = 10.0

_deadline: ContextVar[float] = ContextVar("azurekms_deadline")
_used: ContextVar[str | None] = ContextVar("azurekms_used", default=None)
_status: ContextVar[int | None] = ContextVar("azurekms_status", default=None)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Bound every exchange that this thread has inside, the token's among them, to end `seconds` from now."""
    deadline, used = _deadline.set(time.monotonic() + seconds), _used.set(None)
    _status.set(None)
    try:
        yield
    finally:
        _deadline.reset(deadline)
        _used.reset(used)


def last_status() -> int | None:
    """Return the HTTP status of this thread's last answer; azure-identity's errors do not hold it."""
    return _status.get()


def seconds_left() -> float:
    """Return how much of the time of `within` is left."""
    return _deadline.get() - time.monotonic()


class BoundedTransport(RequestsTransport):  # type: ignore[misc] # azure.core loads it lazily, as Any
    """Azure's transport with a pool of our size and time-outs from `within`; vault and tokens both go through it."""

    def __init__(self, options: AzureOptions) -> None:
        session = requests.Session()
        session.mount("https://", HTTPAdapter(pool_connections=4, pool_maxsize=options.connections))
        super().__init__(session=session, connection_verify=str(options.ca_file) if options.ca_file else True)

    def send(self, request: Any, **kwargs: Any) -> Any:
        """Send one request with the time that is left."""
        left = seconds_left()
        if left <= 0:
            raise ServiceRequestTimeoutError("no time is left")
        kwargs["connection_timeout"] = left * _CONNECT_SHARE
        kwargs["read_timeout"] = left * (1 - _CONNECT_SHARE)
        _status.set(None)
        response = super().send(request, **kwargs)
        _status.set(response.status_code)
        return response


class SharedCredential:
    """A credential whose token one thread renews for all, and which is used to its end while renewal fails.

    `make` returns a fresh credential of the library's; `forget` drops a token that the vault refused, together with
    the library's own cache of it.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._credential = make()
        self._lock = threading.Lock()
        self._tokens: dict[tuple[str, ...], AccessTokenInfo] = {}
        self._next_try = 0.0

    def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """Return a token, as azure-core's SupportsTokenInfo wants it."""
        token = self._current(*scopes, options=options or {})
        _used.set(token.token)
        return token

    def _current(self, *scopes: str, options: TokenRequestOptions) -> AccessTokenInfo:
        key = (*scopes, str(options.get("tenant_id", "")))
        # A challenge with claims says that the token at hand is not enough.
        known = None if options.get("claims") else self._tokens.get(key)
        if known is not None and self._remaining(known) > _RENEW_SECONDS:
            return known
        usable = known is not None and self._remaining(known) > _USABLE_SECONDS
        if usable and known is not None and time.monotonic() < self._next_try:
            return known
        if not self._lock.acquire(timeout=0 if usable else max(0.0, seconds_left())):
            if usable and known is not None:
                return known
            raise ServiceRequestTimeoutError("the access token did not come in time")
        try:
            fresh = None if options.get("claims") else self._tokens.get(key)
            if fresh is not None and fresh is not known and self._remaining(fresh) > _USABLE_SECONDS:
                return fresh
            token: AccessTokenInfo = self._credential.get_token_info(*scopes, options=options)
            self._tokens[key] = token
            if self._remaining(token) <= _RENEW_SECONDS:
                # Tokens of so short a life exist; do not ask for a new one with each signature.
                self._next_try = time.monotonic() + _PAUSE_SECONDS
        except Exception as error:
            # The library keeps a failure of the token service for a minute; a new credential asks again.
            self._credential = self._make()
            if usable and known is not None:
                self._next_try = time.monotonic() + _PAUSE_SECONDS
                log.warning(
                    "the access token cannot be renewed yet, the present one is good for %d s: %s",
                    self._remaining(known),
                    type(error).__name__,
                )
                return known
            raise
        else:
            return token
        finally:
            self._lock.release()

    def get_token(
        self, *scopes: str, claims: str | None = None, tenant_id: str | None = None, enable_cae: bool = False, **_: Any
    ) -> AccessToken:
        """Return a token, as azure-core's older TokenCredential wants it."""
        options: TokenRequestOptions = {"enable_cae": enable_cae}
        if claims:
            options["claims"] = claims
        if tenant_id:
            options["tenant_id"] = tenant_id
        token = self.get_token_info(*scopes, options=options)
        return AccessToken(token.token, token.expires_on)

    def forget(self) -> None:
        """Drop the tokens, unless another thread has replaced the one that this exchange used; inside `within`.

        One token that is revoked is refused to many threads, and the first one replaces it for all. Nor is there
        anything to drop while another thread gets a token.
        """
        if not self._lock.acquire(timeout=max(0.0, seconds_left())):
            return
        try:
            if _used.get() is None or _used.get() in {token.token for token in self._tokens.values()}:
                self._tokens.clear()
                self._credential = self._make()
        finally:
            self._lock.release()

    @staticmethod
    def _remaining(token: AccessTokenInfo) -> float:
        return token.expires_on - time.time()


def make_credential(
    identity: Identity, options: AzureOptions, transport: BoundedTransport, authority: str
) -> SharedCredential:
    """Return the credential; raises ConfigError for a certificate or an authority that cannot be used."""
    from azure import identity as azure_identity

    common: dict[str, Any] = {"transport": transport, "retry_total": 0, "authority": authority}
    principal = {**common, "disable_instance_discovery": options.disable_instance_discovery}

    def make() -> Any:
        match identity.kind:
            case "cli":
                return azure_identity.AzureCliCredential(tenant_id=identity.tenant_id or "")
            case "managed_identity":
                return azure_identity.ManagedIdentityCredential(
                    client_id=identity.client_id, transport=transport, retry_total=0
                )
            case "workload_identity":
                return azure_identity.WorkloadIdentityCredential(
                    tenant_id=identity.tenant_id,
                    client_id=identity.client_id,
                    token_file_path=str(identity.token_file),
                    **principal,
                )
        if identity.client_secret is not None:
            return azure_identity.ClientSecretCredential(
                identity.tenant_id or "",
                identity.client_id or "",
                identity.client_secret.get_secret_value(),
                **principal,
            )
        return azure_identity.CertificateCredential(
            identity.tenant_id or "", identity.client_id or "", str(identity.client_certificate), **principal
        )

    try:
        return SharedCredential(make)
    except ValueError:
        # The library's text may quote the file.
        raise ConfigError(
            "the service principal's tenant, certificate or authority cannot be used; the certificate's file needs "
            "certificate and private key in PEM",
            path="signer.azurekms",
        ) from None
