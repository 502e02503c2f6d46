"""What Azure's errors mean for the server, each as one line that holds no secret."""

from __future__ import annotations

from typing import Final

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

from tsa_core.api import SignerError, SignerUnavailable, retry_after
from tsa_signer_azurekms.connection import last_status

_PASSING: Final = frozenset({401, 408, 429, *range(500, 600)})
_MAX_TEXT: Final = 300
_NEEDED: Final = {
    "create": "the permission keys/create (role Key Vault Crypto Officer)",
    "get": "the permission keys/get (role Key Vault Crypto User)",
    "list": "the permission keys/list",
    "sign": "the permission keys/sign (role Key Vault Crypto User)",
}
_REMEDIES: Final = {
    "KeyDisabled": "enable the key's version",
    "KeyExpired": "take a new version and its certificate into use, or set a later end",
    "KeyNotYetValid": "wait for its beginning, or set an earlier one",
    "KeyOperationForbidden": "allow the operation sign",
}


def explain(error: AzureError, operation: str, key: str) -> SignerError:
    """Return what to raise for an error of `get` or `sign`; SignerUnavailable when trying again may help."""
    what = f"Azure Key Vault, {operation} {key}"
    if isinstance(error, ClientAuthenticationError) and not _from_vault(error):
        # A wrong secret is HTTP 400 or 401 of Entra ID, and stays wrong; no answer at all may be another one soon.
        status = error.status_code or last_status()
        wrong = status is not None and status >= 400 and status not in _PASSING - {401}
        text = f"{what}: no access token: {one_line(error.message)}"
        if wrong:
            return SignerError(f"{text}; is the credential right and in force, and is this machine's clock right?")
        return SignerUnavailable(text, retry_after=_wait(error))
    if isinstance(error, HttpResponseError) and error.status_code is not None:
        return _from_status(error, what, operation)
    return SignerUnavailable(f"{what}: the vault cannot be reached: {one_line(error.message)}")


def _from_vault(error: ClientAuthenticationError) -> bool:
    request = getattr(error.response, "request", None)
    return "/keys/" in str(getattr(request, "url", ""))


def _from_status(error: HttpResponseError, what: str, operation: str) -> SignerError:
    status = error.status_code or 0
    code, message = _codes(error)
    said = f"HTTP {status} {code}: {message}" if code else f"HTTP {status}"
    if status == 429:
        said += "; the vault's limit of transactions is reached; spread the load over keys in several vaults"
    if status in _PASSING:
        return SignerUnavailable(f"{what}: {said}", retry_after=_wait(error))
    if status == 403:
        said += f"; {_REMEDIES.get(code.rpartition('/')[2], f'it needs {_NEEDED[operation]}')}"
    return SignerError(f"{what}: {said}")


def _wait(error: HttpResponseError) -> float | None:
    """Return the seconds that the service asks to wait."""
    headers = getattr(error.response, "headers", None) or {}
    return retry_after(headers.get("Retry-After"))


def _codes(error: HttpResponseError) -> tuple[str, str]:
    """Return the error codes, the inner one last, and the message of the vault's answer."""
    details = error.error
    if details is None:
        return "", ""
    inner = (details.innererror or {}).get("code") if isinstance(details.innererror, dict) else None
    codes = [str(code) for code in (details.code, inner) if code]
    return "/".join(codes), one_line(details.message or "")


def one_line(text: object) -> str:
    """Return a text of Azure's on one line, without what would only fill the log."""
    words = " ".join(str(text).split())
    return words if len(words) <= _MAX_TEXT else f"{words[:_MAX_TEXT]}..."
