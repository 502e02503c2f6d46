"""Where the server is and who we are: the options, completed from the environment as vault's own commands do."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tsa_core.api import ConfigError, sends_cleartext
from tsa_signer_hashivault.options import TransitOptions
from tsa_signer_hashivault.token_files import read_token, usable_token
from tsa_signer_hashivault.vault_login import Login, read_login

_KEY_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")


@dataclass(frozen=True, kw_only=True)
class TransitSettings:
    """Everything that the connection needs, complete."""

    scheme: str
    key: str
    address: str
    mount: str
    namespace: str | None
    token: str = field(repr=False)
    """Empty where a login gets it."""
    token_file: Path | None
    """The file that the token came from and may be read again from; None when it came from elsewhere."""
    login: Login | None
    verify: str | bool
    certificate: tuple[str, str] | None

    @property
    def plain_http(self) -> bool:
        """Whether the token crosses a network unprotected."""
        return sends_cleartext(self.address)


def complete(options: TransitOptions, environ: Mapping[str, str] = os.environ) -> TransitSettings:
    """Return the settings; raises ConfigError for what is missing or malformed."""
    scheme, _, rest = options.uri.partition("://")
    where = f"signer.{scheme}"
    prefixes = ("BAO_", "VAULT_") if scheme == "openbao" else ("VAULT_", "BAO_")

    def variable(name: str) -> str | None:
        return variable_of_vault(name, environ, prefixes)

    if not _KEY_NAME.fullmatch(rest):
        raise ConfigError(
            f"{options.uri!r} is not a key URI of this signer; write {scheme}://NAME with the name of a transit key "
            "(the server's address comes from VAULT_ADDR or the setting address)"
        )
    login = read_login(options, f"{where}.", token_given=bool(options.token or options.token_file))
    token, token_file = ("", None) if login else _token(options, variable("TOKEN"), where)
    verify, certificate = tls_files(
        options.ca_file or variable("CACERT"),
        options.client_certificate or variable("CLIENT_CERT"),
        options.client_key or variable("CLIENT_KEY"),
        where,
    )
    return TransitSettings(
        scheme=scheme,
        key=rest,
        address=server_address(options.address or variable("ADDR"), f"{where}.address"),
        mount=(options.mount or environ.get("TRANSIT_SECRET_ENGINE_PATH") or "transit").strip("/"),
        namespace=options.namespace or variable("NAMESPACE"),
        token=token,
        token_file=token_file,
        login=login,
        verify=verify,
        certificate=certificate,
    )


def variable_of_vault(
    name: str, environ: Mapping[str, str] = os.environ, prefixes: Sequence[str] = ("VAULT_", "BAO_")
) -> str | None:
    """Return the first of the variables VAULT_name and BAO_name that is set, to more than nothing."""
    return next((value for prefix in prefixes if (value := environ.get(prefix + name))), None)


def tls_files(
    ca_file: str | Path | None, certificate: str | Path | None, key: str | Path | None, where: str
) -> tuple[str | bool, tuple[str, str] | None]:
    """Return what verifies the server, and certificate and key for the client; raises ConfigError for missing files."""
    for path in (ca_file, certificate, key):
        if path and not Path(path).is_file():
            raise ConfigError(f"the file {path} is needed for TLS and does not exist", path=where)
    if bool(certificate) != bool(key):
        raise ConfigError(
            "client_certificate and client_key (VAULT_CLIENT_CERT and VAULT_CLIENT_KEY) go together; give both or "
            "neither",
            path=where,
        )
    return str(ca_file) if ca_file else True, (str(certificate), str(key)) if certificate and key else None


def server_address(address: str | None, setting: str) -> str:
    """Return a server's URL without the last slash; raises ConfigError for what is none."""
    if not address:
        raise ConfigError("the server's address is not known; set it, or VAULT_ADDR", path=setting)
    parts = urlsplit(address)
    if parts.username is not None:
        # The value is not repeated: it holds a password.
        raise ConfigError("the address must not hold a user or password; use a token", path=setting)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"{address!r} is not a server's URL; write https://vault.example.org:8200", path=setting)
    return address.rstrip("/")


def _token(options: TransitOptions, from_environment: str | None, where: str) -> tuple[str, Path | None]:
    if options.token is not None:
        return usable_token(options.token.get_secret_value(), f"{where}.token"), None
    if options.token_file is not None:
        return read_token(options.token_file, f"{where}.token_file"), options.token_file
    return token_of_environment(from_environment, f"{where}.token", more=" or set token_file")


def token_of_environment(from_environment: str | None, setting: str, *, more: str = "") -> tuple[str, Path | None]:
    """Return the variable's token, else that of `vault login`, and the file that it may be read from again.

    Raises ConfigError that names `setting` when there is none; `more` is another way to give it.
    """
    if from_environment:
        return usable_token(from_environment, "the token in the environment"), None
    helper = Path("~/.vault-token").expanduser()
    if helper.is_file():
        return read_token(helper, str(helper)), helper
    raise ConfigError(f"there is no token; set VAULT_TOKEN, log in (~/.vault-token){more}", path=setting)
