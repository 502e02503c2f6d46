"""The key in the vault: which version is taken, whether it may sign, and its public half."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from azure.keyvault.keys import KeyVaultKey
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tsa_core.api import ConfigError, PublicKey, SignerError, SignerUnavailable
from tsa_signer_azurekms.options import AzureOptions
from tsa_signer_azurekms.settings import KeyAddress
from tsa_signer_azurekms.vault import Vault

T = TypeVar("T")

_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_CURVES: Final[dict[str, type[ec.EllipticCurve]]] = {
    "P-256": ec.SECP256R1,
    "P-384": ec.SECP384R1,
    "P-521": ec.SECP521R1,
}
_NEEDED: Final = "an EC key on P-256, P-384 or P-521, or an RSA key, is needed"


def read_key(vault: Vault, options: AzureOptions) -> KeyVaultKey:
    """Return the version in the vault's address, else the newest that the certificate certifies, else the newest.

    Raises ConfigError when the newest is not certified and the others may not be listed, SignerUnavailable and
    SignerError when vault or Entra ID cannot be reached or refuse.
    """
    client, address = vault.client, vault.address
    ends = time.monotonic() + options.start_timeout.total_seconds()

    def ask(operation: str, call: Callable[[], T]) -> T:
        return vault.ask(operation, call, timeout=max(ends - time.monotonic(), 0.0))

    def get(version: str | None) -> KeyVaultKey:
        return ask("get", lambda: client.get_key(address.key, version))

    key = get(address.version)
    if address.version is not None or _is_certified(key, address, options):
        return key
    try:
        versions = ask("list", lambda: list(client.list_properties_of_key_versions(address.key)))
    except SignerUnavailable:
        raise
    except SignerError as error:
        raise ConfigError(
            f"the newest version of the key {address.text} is not the one that the certificate certifies, and the "
            f"others cannot be listed; name the version in the key URI, or: {error}"
        ) from None
    for properties in sorted(versions, key=lambda each: each.created_on or _EPOCH, reverse=True):
        older = get(properties.version)
        if _is_certified(older, address, options):
            return older
    return key


def _is_certified(key: KeyVaultKey, address: KeyAddress, options: AzureOptions) -> bool:
    if options.certified_key is None:
        return True
    try:
        return options.is_certified(public_half(key, address))
    except (ConfigError, SignerError):
        return False


def check_usable(key: KeyVaultKey, address: KeyAddress) -> None:
    """Raise ConfigError for a key that the vault would refuse to sign with."""
    properties = key.properties
    now = datetime.now(UTC)
    if properties.enabled is False:
        raise ConfigError(f"the key {address.text} is disabled; enable it, or name another version")
    if properties.expires_on is not None and properties.expires_on <= now:
        raise ConfigError(f"the key {address.text} expired at {properties.expires_on:%Y-%m-%d %H:%M} UTC")
    if properties.not_before is not None and properties.not_before > now:
        raise ConfigError(f"the key {address.text} may not be used before {properties.not_before:%Y-%m-%d %H:%M} UTC")
    operations = [str(getattr(operation, "value", operation)) for operation in key.key_operations or ()]
    if "sign" not in operations:
        raise ConfigError(
            f"the key {address.text} may {', '.join(operations) or 'do nothing'}, but not sign; "
            "create one with the operation sign"
        )


def public_half(key: KeyVaultKey, address: KeyAddress) -> PublicKey:
    """Return the public half from the JSON Web Key; raises ConfigError for kinds that timestamps cannot use."""
    web_key: Any = key.key
    kind = str(getattr(key.key_type, "value", key.key_type))
    try:
        if kind in {"RSA", "RSA-HSM"}:
            return rsa.RSAPublicNumbers(*(int.from_bytes(n, "big") for n in (web_key.e, web_key.n))).public_key()
        if kind in {"EC", "EC-HSM"}:
            curve = str(getattr(web_key.crv, "value", web_key.crv))
            if curve not in _CURVES:
                raise ConfigError(f"the key {address.text} is on the curve {curve}; {_NEEDED}")
            x, y = (int.from_bytes(number, "big") for number in (web_key.x, web_key.y))
            return ec.EllipticCurvePublicNumbers(x, y, _CURVES[curve]()).public_key()
    except (TypeError, ValueError):
        raise SignerError(f"the public key of {address.text} in the vault's answer is damaged") from None
    raise ConfigError(f"the key {address.text} is of type {kind}, which cannot sign timestamps; {_NEEDED}")
