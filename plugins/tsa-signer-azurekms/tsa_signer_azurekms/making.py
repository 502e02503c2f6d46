"""Makes a key in Azure Key Vault or Managed HSM; it cannot be exported."""

from __future__ import annotations

from typing import Any, Final

from tsa_core.api import ConfigError, SignerError, SignerUnavailable
from tsa_signer_azurekms.options import AzureOptions
from tsa_signer_azurekms.vault import Vault, open_vault

_KINDS: Final[dict[str, dict[str, Any]]] = {
    "ecdsa-p256": {"curve": "P-256"},
    "ecdsa-p384": {"curve": "P-384"},
    "ecdsa-p521": {"curve": "P-521"},
    "rsa-2048": {"size": 2048},
    "rsa-3072": {"size": 3072},
    "rsa-4096": {"size": 4096},
}


def make_key(options: AzureOptions, kind: str) -> str:
    """Make a key for signing, in the module that `new_keys` says; return its URI.

    The identity needs keys/create and keys/get. Raises ConfigError for a kind that the vault does not have, a URI that
    names a version and a key that is there, SignerUnavailable when vault or Entra ID cannot be reached, SignerError
    when they refuse.
    """
    if kind not in _KINDS:
        raise ConfigError(f"Azure Key Vault has no keys of the kind {kind}; choose among {', '.join(_KINDS)}")
    vault = open_vault(options)
    address, timeout = vault.address, options.start_timeout.total_seconds()
    key_type = f"{'EC' if 'curve' in _KINDS[kind] else 'RSA'}{'-HSM' if options.new_keys == 'hsm' else ''}"
    try:
        if address.version is not None:
            raise ConfigError("the vault chooses the version of a new key; leave it out of the key URI")
        # Who creates a key that is there gets another version of it.
        if _is_there(vault, timeout):
            raise ConfigError(f"the key {address.text} is there already; name a new one")
        _create(vault, key_type, kind, timeout)
    finally:
        vault.client.close()
    return options.uri


def _create(vault: Vault, key_type: str, kind: str, timeout: float) -> None:
    def create() -> object:
        return vault.client.create_key(vault.address.key, key_type, key_operations=["sign", "verify"], **_KINDS[kind])

    try:
        vault.ask("create", create, timeout=timeout, attempts=1)  # once: what has no answer may have been done
    except SignerUnavailable:
        raise
    except SignerError as error:
        if key_type.endswith("-HSM") and "HTTP 400" in str(error):
            raise SignerError(f'{error}; has the vault modules (Premium)? Else: new_keys = "software"') from None
        raise


def _is_there(vault: Vault, timeout: float) -> bool:
    try:
        vault.ask("get", lambda: vault.client.get_key(vault.address.key), timeout=timeout)
    except SignerUnavailable:
        raise
    except SignerError as error:
        if "KeyNotFound" in str(error):
            return False
        raise
    return True
