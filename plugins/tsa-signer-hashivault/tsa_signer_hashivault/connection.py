"""The one pooled client, and what the server's refusals mean."""

from __future__ import annotations

import logging
import threading
from typing import Any, Final

import hvac
import requests
import requests.adapters
import urllib3
from hvac import exceptions

from tsa_core.api import ConfigError, SignerError, SignerUnavailable, one_line, retry_after
from tsa_signer_hashivault.settings import TransitSettings, read_token

log = logging.getLogger(__name__)

_VERSION_REFUSED: Final = "requested version for signing"
_UNAVAILABLE = (
    exceptions.RateLimitExceeded,
    exceptions.InternalServerError,
    exceptions.BadGateway,
    exceptions.VaultDown,
    exceptions.VaultNotInitialized,
    exceptions.UnexpectedError,
)


class Session(requests.Session):
    """A session that follows a standby's redirect to the active node, but never carries the token out of TLS."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Refuse a redirect from https to http, before anything is sent; requests calls this for each."""
        if response.url.startswith("https:") and not str(prepared_request.url).startswith("https:"):
            raise requests.exceptions.InvalidURL("the server redirects from https to http")
        super().rebuild_auth(prepared_request, response)

    def __init__(self) -> None:
        super().__init__()
        self._of_thread = threading.local()

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a request and note what the answer's Retry-After says."""
        self._of_thread.retry_after = None
        response = super().send(request, **kwargs)
        self._of_thread.retry_after = retry_after(response.headers.get("Retry-After"))
        return response

    def retry_after(self) -> float | None:
        """Return the seconds that the last answer of this thread asked to wait; hvac's errors have no headers."""
        seconds: float | None = self._of_thread.retry_after
        return seconds


class TransitConnection:
    """Talks to one transit engine with one token. Thread-safe.

    `request` raises SignerUnavailable where trying again may help, SignerError otherwise; the texts name the
    operation, the path and what the token's policy must allow, and never the token.
    """

    def __init__(self, settings: TransitSettings, *, connections: int) -> None:
        self._settings = settings
        self._session = session = Session()
        session.verify = settings.verify
        session.cert = settings.certificate
        pool = requests.adapters.HTTPAdapter(pool_connections=2, pool_maxsize=connections, max_retries=0)
        session.mount("https://", pool)
        session.mount("http://", pool)
        self._client = hvac.Client(
            url=settings.address, token=settings.token, namespace=settings.namespace, session=session
        )
        self._token_lock = threading.Lock()
        self._closed = threading.Event()
        self._renewal: threading.Thread | None = None

    def request(
        self,
        method: str,
        path: str,
        *,
        timeout: float,
        needs: str,
        body: dict[str, Any] | None = None,
        refused: str = "",
    ) -> dict[str, Any]:
        """Return the `data` of the server's answer.

        `needs` is the capability that the policy must grant, `refused` what to ask when the server refuses the request.
        """
        token = self._client.token
        try:
            return self._request(method, path, timeout, body)
        except (exceptions.Forbidden, exceptions.Unauthorized) as error:
            if self._reread_token(token):
                raise SignerUnavailable(f"{path}: the token was replaced in its file") from None
            raise SignerError(
                f"{self._where(path)}: permission denied; the token has ended, or its policy lacks: "
                f'path "{path}" {{ capabilities = ["{needs}"] }} ({_errors(error)})'
            ) from None
        except exceptions.InvalidPath as error:
            # Of a key that is absent the server says nothing; of an engine that is, it does.
            hint = f"is the transit engine mounted there? ({_errors(error)})" if error.errors else "make the key first"
            raise SignerError(f"{self._where(path)}: not found; {hint}, or is the namespace wrong?") from None
        except _UNAVAILABLE as error:
            if _VERSION_REFUSED in _errors(error):
                # A refusal for good, although its status is 500.
                raise SignerError(
                    f"{self._where(path)}: refused: {_errors(error)}; lower the key's min_encryption_version, or take "
                    "a newer version and its certificate into use"
                ) from None
            raise SignerUnavailable(
                f"{self._where(path)}: {type(error).__name__}: {_errors(error)}",
                retry_after=self._session.retry_after(),
            ) from None
        except exceptions.VaultError as error:
            hint = f"; {refused}" if refused else ""
            raise SignerError(f"{self._where(path)}: refused: {_errors(error)}{hint}") from None
        except requests.exceptions.SSLError as error:
            raise SignerError(
                f"{self._where(path)}: TLS failed: {_root(error)}; check ca_file, and whether the server speaks TLS"
            ) from None
        except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
            raise SignerUnavailable(f"{self._where(path)}: cannot be reached: {_root(error)}") from None
        except requests.exceptions.RequestException as error:
            raise SignerError(f"{self._where(path)}: {type(error).__name__}: {_root(error)}") from None

    def _request(self, method: str, path: str, timeout: float, body: dict[str, Any] | None) -> dict[str, Any]:
        # urllib3's total covers connecting and waiting together; two numbers would each get the whole time.
        limit = urllib3.Timeout(total=timeout)
        answer = self._client.adapter.request(method, f"/v1/{path}", json=body, timeout=limit)
        data = answer.get("data") or answer.get("auth") if isinstance(answer, dict) else None
        if not isinstance(data, dict):
            raise SignerError(f"{self._where(path)}: the answer is not a Vault server's; check address")
        return data

    def _where(self, path: str) -> str:
        return f"{self._settings.address}/v1/{path}"

    # -- the token's life ---------------------------------------------------------------------------------------

    def _reread_token(self, refused: str) -> bool:
        """Take the token that an agent has put into the file since; say whether there is a new one."""
        if self._settings.token_file is None:
            return False
        with self._token_lock:
            if self._client.token == refused:
                try:
                    self._client.token = read_token(self._settings.token_file, str(self._settings.token_file))
                except ConfigError as error:
                    log.warning("the refused token could not be replaced: %s", error)
            return bool(self._client.token != refused)

    def keep_token_alive(self, *, timeout: float) -> None:
        """Renew the token at half its life in a thread, when it is renewable; an agent's file is the agent's."""
        if self._settings.token_file is not None:
            return
        try:
            token = self.request("get", "auth/token/lookup-self", timeout=timeout, needs="read")
        except SignerError as error:
            log.warning("whether the token must be renewed could not be found out: %s", error)
            return
        life = float(token.get("ttl") or 0)
        if not life:
            return
        if not token.get("renewable"):
            log.warning("the token ends in %.0f s and cannot be renewed", life)
            return
        self._renewal = threading.Thread(
            target=self._renew, args=(life, timeout), name="vault-token-renewal", daemon=True
        )
        self._renewal.start()

    def _renew(self, life: float, timeout: float) -> None:
        while not self._closed.wait(max(life / 2, 1.0)):
            try:
                answer = self.request("post", "auth/token/renew-self", timeout=timeout, needs="update", body={})
                life = float(answer.get("lease_duration") or life)
                log.info("the token was renewed for %.0f s", life)
            except SignerUnavailable as error:
                life /= 2
                log.warning("the token, which ends in %.0f s, could not be renewed: %s", life, error)
            except SignerError as error:
                log.error("the token will not be renewed and must be replaced: %s", error)  # noqa: TRY400 - no traceback
                return

    def close(self) -> None:
        """Close the pool and stop renewing."""
        self._closed.set()
        if self._renewal is not None:
            self._renewal.join(timeout=0.1)
        self._client.adapter.close()


def _errors(error: exceptions.VaultError) -> str:
    """Return what the server said, on one line."""
    return one_line((error.args[0] if error.args else None) or error.text or "no reason given")


def _root(error: BaseException) -> str:
    """Return the first cause of an error of requests, whose own text is a nest of object addresses."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return one_line(f"{type(error).__name__}: {error}")
