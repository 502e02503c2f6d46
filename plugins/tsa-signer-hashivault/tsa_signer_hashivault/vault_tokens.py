"""The token's life: given once, kept in a file by an agent, or got by logging in."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Final

from tsa_core.api import ConfigError, SignerError, SignerUnavailable
from tsa_signer_hashivault.token_files import read_token
from tsa_signer_hashivault.vault_http import VaultHttp, VaultRefusal
from tsa_signer_hashivault.vault_login import Login

log = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 10.0
"""Between two logins that refusals ask for: a role that lacks a permission must not log in with each request."""
_REVOKE_SECONDS: Final = 1.0
_POLICY_LACKS: Final = "1 error occurred: * permission denied"
"""What the server says when the token is good and its policy is not."""


class Tokens:
    """A token that does not change; renewed at half its life in a thread, if it may be. Base of the other two."""

    def __init__(self, http: VaultHttp, token: str) -> None:
        self._http = http
        self._token = token
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def current(self, seconds: float) -> str:  # noqa: ARG002 - other tokens take time
        """Return the token to send, got within so many seconds."""
        return self._token

    def replaced(self, refused: str, refusal: VaultRefusal, seconds: float) -> bool:  # noqa: ARG002 - as above
        """Say whether there is another token than the one that the server refused."""
        return False

    def keep_alive(self, seconds: float) -> None:
        """Renew the token before it ends, each time within so many seconds; says so when it cannot be done."""
        try:
            token = self._http.ask("get", "auth/token/lookup-self", token=self._token, timeout=seconds)
        except (SignerError, VaultRefusal) as error:
            log.warning("whether the token must be renewed could not be found out: %s", error)
            return
        life = float(token.get("ttl") or 0)
        if life and not token.get("renewable"):
            log.warning("the token ends in %.0f s and cannot be renewed", life)
        elif life:
            self._start(life, seconds)

    def _start(self, life: float, seconds: float) -> None:
        self._thread = threading.Thread(
            target=self._renew, args=(life, seconds), name="vault-token-renewal", daemon=True
        )
        self._thread.start()

    def _renew(self, life: float, seconds: float) -> None:
        while not self._closed.wait(max(life / 2, 1.0)):
            try:
                life = self._renewed(seconds) or life
            except VaultRefusal as error:
                log.error("the token will not be renewed and must be replaced: %s", error)  # noqa: TRY400 - no traceback
                return
            except SignerError as error:
                life /= 2
                log.warning("the token, which ends in %.0f s, could not be renewed: %s", life, error)

    def _renewed(self, seconds: float) -> float:
        """Renew the token and return its new life; a refusal that may pass is SignerUnavailable."""
        try:
            answer = self._http.ask("post", "auth/token/renew-self", token=self._token, timeout=seconds, body={})
        except VaultRefusal as error:
            if not error.passes:
                raise
            raise SignerUnavailable(str(error), retry_after=error.wait) from None
        life = float(answer.get("lease_duration") or 0)
        log.info("the token was renewed for %.0f s", life)
        return life

    def close(self) -> None:
        """Stop renewing."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(timeout=0.1)


class FileTokens(Tokens):
    """A token that an agent keeps in a file, where it is read again when the server refuses the present one."""

    def __init__(self, http: VaultHttp, token: str, path: Path) -> None:
        super().__init__(http, token)
        self._path = path

    def replaced(self, refused: str, refusal: VaultRefusal, seconds: float) -> bool:  # noqa: ARG002 - a file is quick
        """Read the file again, and say whether it has another token."""
        with self._lock:
            if self._token == refused:
                try:
                    self._token = read_token(self._path, str(self._path))
                except ConfigError as error:
                    log.warning("the refused token could not be replaced: %s", error)
            return self._token != refused

    def keep_alive(self, seconds: float) -> None:
        """Do nothing: the agent renews its token."""


class LoginTokens(Tokens):
    """A token got by logging in; logs in again when it cannot be renewed any more, or the server refuses it."""

    def __init__(self, http: VaultHttp, login: Login) -> None:
        super().__init__(http, "")
        self._login = login
        self._life = 0.0
        self._renewable = False
        self._asked = 0.0
        """When a login was last asked for, whatever came of it."""
        self._failure = ""

    def current(self, seconds: float) -> str:
        """Return the token; the first call logs in."""
        if not self._token:
            self._log_in("", seconds)
        return self._token

    def replaced(self, refused: str, refusal: VaultRefusal, seconds: float) -> bool:
        """Log in again unless another thread has, or has been refused, a moment ago."""
        if _POLICY_LACKS in refusal.reason and time.monotonic() - self._asked < _PAUSE_SECONDS:
            return self._token != refused
        self._log_in(refused, seconds)
        return self._token != refused

    def keep_alive(self, seconds: float) -> None:
        """Renew the token, or log in again, at half its life."""
        self.current(seconds)
        if self._life:
            self._start(self._life, seconds)

    def _renew(self, life: float, seconds: float) -> None:
        first, ends = life, time.monotonic() + life
        pause = life / 2
        while not self._closed.wait(max(pause, 1.0)):
            try:
                if self._renewable:
                    life = self._renewed(seconds)
                if not self._renewable or life < first / 2:
                    # Renewals end with the longest life that the server allows for a token.
                    self._log_in(self._token, seconds, anew=True)
                    life = first = self._life or first
                ends = time.monotonic() + life
                pause = life / 2
            except VaultRefusal as error:
                log.info("the token cannot be renewed (%s); logging in again", error)
                self._renewable, pause = False, 0.0
            except SignerError as error:
                left = max(ends - time.monotonic(), 0.0)
                pause = max(left / 2, _PAUSE_SECONDS)
                log.warning("the token, which ends in %.0f s, could not be replaced: %s", left, error)

    def _log_in(self, refused: str, seconds: float, *, anew: bool = False) -> None:
        """Replace the token `refused`, once for all threads that found it refused.

        `anew` does so even if the last login was a moment ago. Raises SignerUnavailable when there is no answer in
        time, SignerError when the login is refused, also for the next seconds, without asking again.
        """
        began = time.monotonic()
        if not self._lock.acquire(timeout=max(seconds, 0.0)):
            raise SignerUnavailable(f"{self._http.where(self._login.path)}: the login did not end in time")
        try:
            if self._token != refused:
                return
            if self._closed.is_set():
                raise SignerError("the signer was closed")
            if self._failure and not anew and time.monotonic() - self._asked < _PAUSE_SECONDS:
                raise SignerError(self._failure)
            self._asked = time.monotonic()
            self._failure = ""
            self._take(seconds - (self._asked - began))
        except SignerUnavailable:
            raise
        except (SignerError, ConfigError) as error:
            self._failure = str(error)
            raise SignerError(self._failure) from None
        finally:
            self._lock.release()

    def _take(self, seconds: float) -> None:
        where = self._http.where(self._login.path)
        body = self._login.body()
        try:
            answer = self._http.ask("post", self._login.path, token="", timeout=max(seconds, 0.001), body=body)
        except VaultRefusal as error:
            if error.passes:
                raise SignerUnavailable(f"{where}: {error}", retry_after=error.wait) from None
            raise SignerError(f"{where}: the login was refused: {error}; {self._login.check}") from None
        token = answer.get("client_token")
        if not isinstance(token, str) or not token:
            raise SignerError(f"{where}: the answer holds no token; is this the path of a login?")
        self._token = token
        self._life = float(answer.get("lease_duration") or 0)
        self._renewable = bool(answer.get("renewable"))
        log.info("logged in by %s; the token is good for %.0f s", self._login.method, self._life)

    def close(self) -> None:
        """Stop renewing, and revoke the token, which nobody else has."""
        super().close()
        if self._token:
            try:
                self._http.ask("post", "auth/token/revoke-self", token=self._token, timeout=_REVOKE_SECONDS, body={})
            except (SignerError, VaultRefusal) as error:
                log.debug("the token could not be revoked: %s", error)
            self._token = ""
