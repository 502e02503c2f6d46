"""HTTP to a Vault or OpenBao server: one pool of connections, and what went wrong as exceptions of ours."""

from __future__ import annotations

import time
from typing import Any

import requests
import requests.adapters
import urllib3
from hvac.adapters import JSONAdapter

from tsa_core.api import SignerError, SignerUnavailable, one_line, retry_after

_UNAVAILABLE = frozenset({412, 429, 472, 473})
"""Beside 5xx: a standby that has not seen the latest write, a quota, standbys."""
_VERSION_REFUSED = "requested version for signing"


class VaultRefusal(Exception):
    """An answer of 400 or above; `reason` is what the server said, on one line."""

    def __init__(self, status: int, reason: str, wait: float | None) -> None:
        super().__init__(f"HTTP {status}: {reason}")
        self.status = status
        self.reason = reason
        self.wait = wait

    @property
    def passes(self) -> bool:
        """Whether the same request may be granted later."""
        # A version that may not sign is a refusal for good, although its status is 500.
        return self.status in _UNAVAILABLE or (self.status >= 500 and _VERSION_REFUSED not in self.reason)


class Until(urllib3.Timeout):
    """What is left of the time until `ends`, by time.monotonic(), for connecting and waiting together."""

    def __init__(self, ends: float) -> None:
        super().__init__(total=max(ends - time.monotonic(), 0.001))  # the HTTP library takes none of 0
        self.ends = ends


class Session(requests.Session):
    """A session that follows a standby's redirect to the active node, but never carries the token out of TLS."""

    def send(self, request: requests.PreparedRequest, **settings: Any) -> requests.Response:
        """Send a request, or follow a redirect, in the time that is left; requests would give each the whole time."""
        if isinstance(limit := settings.get("timeout"), Until):
            settings["timeout"] = Until(limit.ends)
        return super().send(request, **settings)

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Refuse a redirect from https to http, before anything is sent; requests calls this for each."""
        if response.url.startswith("https:") and not str(prepared_request.url).startswith("https:"):
            raise requests.exceptions.InvalidURL("the server redirects from https to http")
        super().rebuild_auth(prepared_request, response)


class VaultHttp:
    """Asks one server, in one namespace. Thread-safe; the texts of errors name the path and never a token."""

    def __init__(
        self,
        address: str,
        *,
        namespace: str | None,
        verify: str | bool,
        certificate: tuple[str, str] | None,
        connections: int,
    ) -> None:
        self._address = address
        self._session = Session()
        self._session.verify = verify
        self._session.cert = certificate
        pool = requests.adapters.HTTPAdapter(pool_connections=2, pool_maxsize=connections, max_retries=0)
        self._session.mount("https://", pool)
        self._session.mount("http://", pool)
        self._adapter = JSONAdapter(base_uri=address, namespace=namespace, session=self._session)

    def where(self, path: str) -> str:
        """Return the URL of a path, for messages."""
        return f"{self._address}/v1/{path}"

    def ask(
        self, method: str, path: str, *, token: str, timeout: float, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the `data` or `auth` of the answer, `{}` for an answer without content.

        Raises VaultRefusal for what the server refuses, SignerUnavailable when it cannot be reached within `timeout`
        seconds, SignerError for TLS that fails and for answers that no Vault gives.
        """
        headers = {"X-Vault-Token": token} if token else {}
        limit = Until(time.monotonic() + timeout)
        try:
            answer = self._adapter.request(
                method, f"/v1/{path}", headers=headers, json=body, timeout=limit, raise_exception=False
            )
        except requests.exceptions.SSLError as error:
            raise SignerError(
                f"{self.where(path)}: TLS failed: {_root(error)}; check ca_file, and whether the server speaks TLS"
            ) from None
        except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
            raise SignerUnavailable(f"{self.where(path)}: cannot be reached: {_root(error)}") from None
        except requests.exceptions.RequestException as error:
            raise SignerError(f"{self.where(path)}: {type(error).__name__}: {_root(error)}") from None
        if isinstance(answer, requests.Response):
            if answer.status_code == 204:
                return {}
            if answer.status_code >= 400:
                raise _refusal(answer)
        data = answer.get("data") or answer.get("auth") if isinstance(answer, dict) else None
        if not isinstance(data, dict):
            raise SignerError(f"{self.where(path)}: the answer is not a Vault server's; check address")
        return data

    def close(self) -> None:
        """Close the pool."""
        self._session.close()


def _refusal(response: requests.Response) -> VaultRefusal:
    try:
        document = response.json()
        errors = document.get("errors") if isinstance(document, dict) else None
        said = ", ".join(map(str, errors)) if isinstance(errors, list) else response.text
    except ValueError:
        said = response.text
    wait = retry_after(response.headers.get("Retry-After"))
    return VaultRefusal(response.status_code, one_line(said) or "no reason given", wait)


def _root(error: BaseException) -> str:
    """Return the first cause of an error of requests, whose own text is a nest of object addresses."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return one_line(f"{type(error).__name__}: {error}")
