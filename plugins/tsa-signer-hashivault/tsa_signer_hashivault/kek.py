"""A key encryption key in the transit engine of HashiCorp Vault or OpenBao.

Permissions: `update` on MOUNT/decrypt/NAME, and on MOUNT/encrypt/NAME for encrypting with it. Authentication: a token.
What leaves the machine: the ciphertext; when something is encrypted, the plaintext, over TLS.
"""

from __future__ import annotations

import base64
import logging
import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tsa_core.api import WRONG_KEK, ConfigError, KeyEncryptionKey, SignerError, within_deadline
from tsa_signer_hashivault.connection import TransitConnection
from tsa_signer_hashivault.options import VaultKekOptions
from tsa_signer_hashivault.settings import (
    TransitSettings,
    server_address,
    tls_files,
    token_of_environment,
    variable_of_vault,
)
from tsa_signer_hashivault.token_files import usable_token
from tsa_signer_hashivault.vault_login import read_login

log = logging.getLogger(__name__)

_FORM: Final = "hcvault://HOST:PORT/MOUNT/keys/NAME, or hcvault:///MOUNT/keys/NAME with VAULT_ADDR"
_PATH: Final = re.compile(r"/(?P<mount>[\w.-]+(?:/[\w.-]+)*)/keys/(?P<key>[\w.-]+)", re.ASCII)


class VaultKek(KeyEncryptionKey):
    """A key of a transit engine; its derivation must be off, because nothing is given to derive it with."""

    def __init__(self, connection: TransitConnection, settings: TransitSettings) -> None:
        self._connection = connection
        self._address = settings.address
        self._mount = settings.mount
        self._key = settings.key

    def encrypt(self, plaintext: bytes, *, timeout: float) -> bytes:
        """Return Vault's ciphertext, an ASCII text."""
        value = base64.b64encode(plaintext).decode("ascii")
        return self._ask("encrypt", "plaintext", value, "ciphertext", timeout).encode("ascii")

    def decrypt(self, ciphertext: bytes, *, timeout: float) -> bytes:
        """Return the plaintext; ciphertext that no Vault made is refused here."""
        try:
            text = ciphertext.decode("ascii")
        except UnicodeDecodeError:
            text = ""
        if not text.startswith("vault:"):
            raise SignerError(f"{self._where('decrypt')}: the ciphertext is no Vault's; {WRONG_KEK}")
        try:
            return base64.b64decode(self._ask("decrypt", "ciphertext", text, "plaintext", timeout), validate=True)
        except ValueError:  # binascii.Error, or of letters that are not ASCII
            raise SignerError(f"{self._where('decrypt')}: the plaintext in the answer is not base64") from None

    def _ask(self, operation: str, field: str, value: str, wanted: str, timeout: float) -> str:
        answer = within_deadline(
            lambda left: self._connection.request(
                "post",
                self._path(operation),
                timeout=left,
                needs="update",
                body={field: value},
                refused=WRONG_KEK if operation == "decrypt" else "",
            ),
            timeout=timeout,
        )
        result = answer.get(wanted)
        if not isinstance(result, str) or not result.isascii():
            raise SignerError(f"{self._where(operation)}: the answer is not a Vault server's; check the address")
        return result

    def _path(self, operation: str) -> str:
        return f"{self._mount}/{operation}/{self._key}"

    def _where(self, operation: str) -> str:
        return f"{self._address}/v1/{self._path(operation)}"

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __repr__(self) -> str:
        return f"<VaultKek {self._mount}/keys/{self._key}>"


def open_vault_kek(options: VaultKekOptions) -> VaultKek:
    """Return the KEK that a URI `hcvault://HOST:PORT/MOUNT/keys/NAME` names."""
    settings = complete_kek(options)
    if settings.plain_http:
        log.warning("%s is not HTTPS: token and secrets cross the network unprotected", settings.address)
    return VaultKek(TransitConnection(settings, connections=1), settings)


def complete_kek(options: VaultKekOptions) -> TransitSettings:
    """Return the settings, completed from the environment; raises ConfigError for what is missing or malformed."""
    parts = urlsplit(options.uri)
    path = _PATH.fullmatch(parts.path)
    if parts.username is not None:
        # The value is not repeated: it may hold a password.
        raise ConfigError("the key's URI must hold no user and password", path=options.uri_setting)
    if path is None or parts.query or parts.fragment:
        raise ConfigError(f"{options.uri!r} is not such a key's URI; write {_FORM}", path=options.uri_setting)
    login = read_login(options, options.setting(""), token_given=options.token is not None)
    token_file: Path | None = None
    if login is not None:
        token = ""
    elif options.token is not None:
        token = usable_token(options.token.get_secret_value(), options.setting("token"))
    else:
        token, token_file = token_of_environment(variable_of_vault("TOKEN"), options.setting("token"))
    verify, certificate = tls_files(
        options.ca_file or variable_of_vault("CACERT"),
        variable_of_vault("CLIENT_CERT"),
        variable_of_vault("CLIENT_KEY"),
        options.setting("ca_file"),
    )
    return TransitSettings(
        scheme="hcvault",
        key=path["key"],
        address=server_address(_address(parts.netloc, options.address), options.setting("address")),
        mount=path["mount"],
        namespace=options.namespace or variable_of_vault("NAMESPACE"),
        token=token,
        token_file=token_file,
        login=login,
        verify=verify,
        certificate=certificate,
    )


def _address(host: str, setting: str | None) -> str:
    """Return the server's URL: the setting's, else the URI's host over TLS, else VAULT_ADDR, else nothing.

    VAULT_ADDR goes before the URI's host where both name the same one, so that a server without TLS can be used.
    """
    variable = variable_of_vault("ADDR") or ""
    if setting:
        return setting
    if not host or urlsplit(variable).netloc == host:
        return variable
    return f"https://{host}"
