"""Requests to one transit engine by whatever token is good now, and what the server's refusals mean."""

from __future__ import annotations

import time
from typing import Any, Final

from tsa_core.api import SignerError, SignerUnavailable
from tsa_signer_hashivault.settings import TransitSettings
from tsa_signer_hashivault.vault_http import VaultHttp, VaultRefusal
from tsa_signer_hashivault.vault_tokens import FileTokens, LoginTokens, Tokens

_REMEDIES: Final = {
    429: "; raise the server's quota for this path, or spread the load",
    503: "; unseal the server, or point address to one that is active",
}


def _left(ends: float) -> float:
    """Return the seconds that are left; the HTTP library takes none of 0."""
    return max(ends - time.monotonic(), 0.001)


class TransitConnection:
    """Talks to one transit engine. Thread-safe.

    `request` raises SignerUnavailable where trying again may help, SignerError otherwise; the texts name the
    operation, the path and what the token's policy must allow, and never the token.
    """

    def __init__(self, settings: TransitSettings, *, connections: int) -> None:
        self._http = VaultHttp(
            settings.address,
            namespace=settings.namespace,
            verify=settings.verify,
            certificate=settings.certificate,
            connections=connections,
        )
        self._tokens: Tokens
        if settings.login is not None:
            self._tokens = LoginTokens(self._http, settings.login)
        elif settings.token_file is not None:
            self._tokens = FileTokens(self._http, settings.token, settings.token_file)
        else:
            self._tokens = Tokens(self._http, settings.token)

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
        ends = time.monotonic() + timeout
        token = self._tokens.current(timeout)
        where = self._http.where(path)
        try:
            return self._http.ask(method, path, token=token, timeout=_left(ends), body=body)
        except VaultRefusal as error:
            if error.status in {401, 403}:
                if self._tokens.replaced(token, error, _left(ends)):
                    raise SignerUnavailable(f"{where}: the token was refused and is replaced") from None
                raise SignerError(
                    f"{where}: permission denied; the token has ended, or its policy lacks: "
                    f'path "{path}" {{ capabilities = ["{needs}"] }} ({error.reason})'
                ) from None
            if error.status == 404:
                # Of a key that is absent the server says nothing; of an engine that is, it does.
                hint = "make the key first"
                if error.reason != "no reason given":
                    hint = f"is the transit engine mounted there? ({error.reason})"
                raise SignerError(f"{where}: not found; {hint}, or is the namespace wrong?") from None
            if error.passes:
                hint = _REMEDIES.get(error.status, "")
                raise SignerUnavailable(f"{where}: {error}{hint}", retry_after=error.wait) from None
            if "requested version for signing" in error.reason:
                refused = "lower the key's min_encryption_version, or take a newer version and its certificate into use"
            hint = f"; {refused}" if refused else ""
            raise SignerError(f"{where}: refused: {error.reason}{hint}") from None

    def keep_token_alive(self, *, timeout: float) -> None:
        """Keep a good token, by a thread where it needs one."""
        self._tokens.keep_alive(timeout)

    def close(self) -> None:
        """Give the token back where it is ours, and close the pool."""
        self._tokens.close()
        self._http.close()
