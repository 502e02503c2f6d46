"""A KEK in the transit engine of HashiCorp Vault or OpenBao.

Permissions: `update` on MOUNT/decrypt/NAME, and on MOUNT/encrypt/NAME for making keysets. Authentication: a token.
What leaves the machine: the encrypted keyset; when one is made, the keyset itself, over TLS.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import hvac
import requests
import urllib3
from hvac import exceptions

from tsa_core.api import ConfigError, SignerError, SignerUnavailable, within_deadline
from tsa_signer_tink.kek import ATTEMPTS, WRONG_KEY, KeyEncryptionKey, bad_uri, one_line
from tsa_signer_tink.options import TinkOptions

log = logging.getLogger(__name__)

_FORM: Final = "hcvault://HOST:PORT/MOUNT/keys/NAME, or hcvault:///MOUNT/keys/NAME with VAULT_ADDR"
_PATH: Final = re.compile(r"/(?P<mount>[\w.-]+(?:/[\w.-]+)*)/keys/(?P<key>[\w.-]+)", re.ASCII)
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_MAX_TOKEN_OCTETS: Final = 64 * 1024
_UNAVAILABLE: Final = (
    exceptions.RateLimitExceeded,
    exceptions.InternalServerError,
    exceptions.BadGateway,
    exceptions.VaultDown,
    exceptions.VaultNotInitialized,
    exceptions.UnexpectedError,
)


class _Session(requests.Session):
    """Follows a standby's redirect to the active node, but carries neither token nor keyset out of TLS."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Refuse a redirect from https to http, before anything is sent; requests calls this for each."""
        if response.url.startswith("https:") and not str(prepared_request.url).startswith("https:"):
            raise requests.exceptions.InvalidURL("the server redirects from https to http")
        super().rebuild_auth(prepared_request, response)


class VaultKek(KeyEncryptionKey):
    """A key of a transit engine; its derivation must be off, as Tink demands."""

    def __init__(self, client: hvac.Client, *, address: str, mount: str, key: str, timeout: float) -> None:
        self._client = client
        self._address = address
        self._mount = mount
        self._key = key
        self._timeout = timeout

    def wrap(self, plaintext: bytes) -> bytes:
        """Return Vault's ciphertext, a text."""
        return self._ask("encrypt", "plaintext", base64.b64encode(plaintext).decode("ascii"), "ciphertext").encode()

    def unwrap(self, ciphertext: bytes) -> bytes:
        """Return the plaintext; ciphertext that no Vault made is refused here."""
        try:
            text = ciphertext.decode("ascii")
        except UnicodeDecodeError:
            text = ""
        if not text.startswith("vault:"):
            raise SignerError(f"{self._where('decrypt')}: the keyset was not encrypted by a Vault; {WRONG_KEY}")
        try:
            return base64.b64decode(self._ask("decrypt", "ciphertext", text, "plaintext"), validate=True)
        except binascii.Error:
            raise SignerError(f"{self._where('decrypt')}: the plaintext in the answer is not base64") from None

    def _ask(self, operation: str, field: str, value: str, wanted: str) -> str:
        return within_deadline(
            lambda left: self._try(operation, {field: value}, wanted, left), timeout=self._timeout, attempts=ATTEMPTS
        )

    def _try(self, operation: str, body: dict[str, str], wanted: str, timeout: float) -> str:
        where = self._where(operation)
        # urllib3's total covers connecting and waiting together; two numbers would each get the whole time.
        limit = urllib3.Timeout(total=timeout)
        try:
            answer = self._client.adapter.request("post", f"/v1/{self._path(operation)}", json=body, timeout=limit)
        except (exceptions.Forbidden, exceptions.Unauthorized) as error:
            raise SignerError(
                f"{where}: permission denied; the token has ended, or its policy lacks: "
                f'path "{self._path(operation)}" {{ capabilities = ["update"] }} ({_errors(error)})'
            ) from None
        except exceptions.InvalidPath as error:
            raise SignerError(
                f"{where}: not found; is the transit engine mounted there, is the namespace right? ({_errors(error)})"
            ) from None
        except _UNAVAILABLE as error:
            raise SignerUnavailable(f"{where}: {type(error).__name__}: {_errors(error)}") from None
        except exceptions.VaultError as error:
            hint = f"; {WRONG_KEY}" if operation == "decrypt" else ""
            raise SignerError(f"{where}: refused: {_errors(error)}{hint}") from None
        except requests.exceptions.SSLError as error:
            raise SignerError(
                f"{where}: TLS failed: {_root(error)}; check hcvault_ca_file, and whether the server speaks TLS"
            ) from None
        except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
            raise SignerUnavailable(f"{where}: cannot be reached: {_root(error)}") from None
        except requests.exceptions.RequestException as error:
            raise SignerError(f"{where}: {type(error).__name__}: {_root(error)}") from None
        data: Any = answer.get("data") if isinstance(answer, dict) else None
        result = data.get(wanted) if isinstance(data, dict) else None
        if not isinstance(result, str):
            raise SignerError(f"{where}: the answer is not a Vault server's; check the address")
        return result

    def _path(self, operation: str) -> str:
        return f"{self._mount}/{operation}/{self._key}"

    def _where(self, operation: str) -> str:
        return f"{self._address}/v1/{self._path(operation)}"

    def close(self) -> None:
        """Close the connection."""
        self._client.adapter.close()


def open_vault_kek(uri: str, options: TinkOptions) -> VaultKek:
    """Return the KEK that a URI `hcvault://HOST:PORT/MOUNT/keys/NAME` names."""
    parts = urlsplit(uri)
    path = _PATH.fullmatch(parts.path)
    if parts.username is not None:
        # The value is not repeated: it may hold a password.
        raise ConfigError("the key's URI must hold no user and password", path="signer.tink.key_resource")
    if path is None or parts.query or parts.fragment:
        raise bad_uri(uri, _FORM)
    address = _address(parts.netloc, options)
    target = urlsplit(address)
    if target.scheme == "http" and target.hostname not in _LOOPBACK:
        log.warning("%s is not HTTPS: token and keyset cross the network unprotected", address)
    session = _Session()
    session.verify = _ca_file(options)
    certificate, key = os.environ.get("VAULT_CLIENT_CERT"), os.environ.get("VAULT_CLIENT_KEY")
    if certificate and key:
        session.cert = (certificate, key)
    client = hvac.Client(
        url=address,
        token=_token(options),
        namespace=options.hcvault_namespace or os.environ.get("VAULT_NAMESPACE") or None,
        session=session,
    )
    return VaultKek(
        client,
        address=address,
        mount=path["mount"],
        key=path["key"],
        timeout=options.start_timeout.total_seconds(),
    )


def _address(host: str, options: TinkOptions) -> str:
    """Return the server's URL: the setting's, else the URI's host over TLS, else VAULT_ADDR.

    VAULT_ADDR goes before the URI's host where both name the same one, so that a server without TLS can be used.
    """
    variable = os.environ.get("VAULT_ADDR", "")
    address = options.hcvault_address
    if not address and (not host or urlsplit(variable).netloc == host):
        address = variable
    address = (address or (f"https://{host}" if host else "")).rstrip("/")
    if not address:
        raise ConfigError(
            "Vault's address is not known; put it into the key's URI, or set VAULT_ADDR",
            path="signer.tink.hcvault_address",
        )
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        # The value is not repeated: it may hold a password.
        raise ConfigError(
            "Vault's address is not a URL without user and password; write https://vault.example.org:8200",
            path="signer.tink.hcvault_address",
        )
    return address


def _ca_file(options: TinkOptions) -> str | bool:
    path = options.hcvault_ca_file or os.environ.get("VAULT_CACERT")
    if path and not Path(path).is_file():
        raise ConfigError(f"the file {path} does not exist", path="signer.tink.hcvault_ca_file")
    return str(path) if path else True


def _token(options: TinkOptions) -> str:
    where = "signer.tink.hcvault_token"
    helper = Path("~/.vault-token").expanduser()
    if options.hcvault_token is not None:
        token = options.hcvault_token.get_secret_value()
    elif not (token := os.environ.get("VAULT_TOKEN", "")) and helper.is_file():
        try:
            with helper.open("rb") as stream:
                token = stream.read(_MAX_TOKEN_OCTETS).decode("ascii", "replace")
        except OSError as error:
            raise ConfigError(f"the token's file {helper} cannot be read: {error.strerror}", path=where) from None
        where = str(helper)
    token = token.strip()
    if not token:
        raise ConfigError("there is no Vault token; set VAULT_TOKEN, or log in (~/.vault-token)", path=where)
    # The header takes printable ASCII only, and the library that refuses the rest repeats the value.
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError("the Vault token has characters that no token has", path=where)
    return token


def _errors(error: exceptions.VaultError) -> str:
    """Return what the server said."""
    return one_line((error.args[0] if error.args else None) or error.text or "no reason given")


def _root(error: BaseException) -> str:
    """Return the first cause of an error of requests, whose own text is a nest of object addresses."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return one_line(f"{type(error).__name__}: {error}")
