"""A vault and the key in it that a URI names: the client, and every question to it within its time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from azure.core.exceptions import AzureError, HttpResponseError
from azure.keyvault.keys import KeyClient

from tsa_core.api import ConfigError, within_deadline
from tsa_signer_azurekms.connection import BoundedTransport, SharedCredential, make_credential, within
from tsa_signer_azurekms.failures import explain, one_line
from tsa_signer_azurekms.options import AzureOptions
from tsa_signer_azurekms.settings import KeyAddress, choose_authority, choose_identity, read_key_uri

T = TypeVar("T")

_QUIET_LOGGERS: Final = ("azure", "msal")


@dataclass(frozen=True, kw_only=True)
class Vault:
    """The way to the key `address`; `identity` is the kind of credential. Whoever opened it closes `client`."""

    client: KeyClient
    credential: SharedCredential
    address: KeyAddress
    identity: str
    attempts: int | None

    def ask(self, operation: str, call: Callable[[], T], *, timeout: float, attempts: int | None = None) -> T:
        """Return the call's result within `timeout` seconds, tried again where that may help.

        `operation` is for messages. `attempts` are the most tries, those of the settings unless given. Raises
        SignerUnavailable, SignerError, or ConfigError for settings by which nothing can be asked.
        """

        def once(seconds: float) -> T:
            with within(seconds):
                try:
                    return call()
                except AzureError as error:
                    if isinstance(error, HttpResponseError) and error.status_code == 401:
                        self.credential.forget()
                    raise explain(error, operation, self.address.text) from None
                except ValueError as error:
                    raise ConfigError(f"{self.address.text}: {one_line(error)}", path="signer.azurekms") from None

        return within_deadline(once, timeout=timeout, attempts=attempts or self.attempts)


def open_vault(options: AzureOptions) -> Vault:
    """Return the vault of the options' URI; nothing is sent yet. Raises ConfigError."""
    address, cloud = read_key_uri(options.uri, options.environment)
    identity = choose_identity(options)
    if options.ca_file is not None and not options.ca_file.is_file():
        raise ConfigError(f"the file {options.ca_file} does not exist", path="signer.azurekms.ca_file")
    for name in _QUIET_LOGGERS:
        # At INFO they write several lines for each request.
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(logging.WARNING)
    transport = BoundedTransport(options)
    credential = make_credential(identity, options, transport, choose_authority(options, cloud))
    version: dict[str, Any] = {"api_version": options.api_version} if options.api_version else {}
    client = KeyClient(
        address.vault_url,
        credential,
        transport=transport,
        # within_deadline tries again, inside the time that it was given; the library would not know of it.
        retry_total=0,
        verify_challenge_resource=options.verify_challenge_resource,
        **version,
    )
    return Vault(
        client=client, credential=credential, address=address, identity=identity.kind, attempts=options.attempts
    )
