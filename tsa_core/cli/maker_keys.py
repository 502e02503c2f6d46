"""Keys of the Certificate Maker: what its flags say of a key, as a key URI and a plugin's settings."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import click

_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_AZURE: Final = re.compile(r"azurekms:name=\s*([A-Za-z0-9-]+)\s*;vault=\s*([A-Za-z0-9-]+)\s*")
_BEFORE_THE_KEY: Final = {"awskms": "awskms:///", "file": "file:", "pkcs11": "pkcs11:"}
"""How the key URIs of a KMS type begin; others with TYPE://."""
_VAULTS: Final = ("hashivault", "openbao")

PROVIDER_FLAGS: Final[Mapping[str, tuple[Sequence[str], str]]] = {
    "aws_region": (("awskms",), "region"),
    "azure_tenant_id": (("azurekms",), "tenant_id"),
    "gcp_credentials_file": (("gcpkms",), "credentials_file"),
    "vault_token": (_VAULTS, "token"),
    "vault_address": (_VAULTS, "address"),
    "vault_namespace": (_VAULTS, "namespace"),
}
"""The flags about a backend: the schemes that they are for, and the plugins' setting."""


def key_uri(key_id: str, kms_type: str | None, *, option: str) -> str:
    """Return the key URI of a key identifier; raises UsageError.

    The identifier is a key URI already, or, with a KMS type, the backend's name of the key as the reference takes it:
    an ARN or alias/NAME, projects/..., azurekms:name=NAME;vault=VAULT, a transit key's name.
    """
    if key_id.lower().startswith("azurekms:name="):
        found = _AZURE.fullmatch(key_id)
        if found is None:
            raise click.UsageError(f"{option}: write azurekms:name=NAME;vault=VAULT")
        return f"azurekms://{found[2]}.vault.azure.net/{found[1]}"
    if _URI.match(key_id) and not key_id.startswith("arn:"):
        return key_id
    if kms_type is None:
        raise click.UsageError(
            f"{option}: write a key URI, whose scheme names the plugin (file:root.key, awskms:///alias/root), or "
            "give --kms-type"
        )
    return f"{_BEFORE_THE_KEY.get(kms_type, f'{kms_type}://')}{key_id}"


def scheme_of(uri: str) -> str:
    """Return the scheme of a key URI."""
    return uri.partition(":")[0].lower()


def key_file(uri: str | None) -> str | None:
    """Return the file that a key URI names, `file:key.pem` or `file:///etc/key.pem`.

    None for keys elsewhere, and for what is no URI.
    """
    try:
        parts = urlsplit(uri or "")
    except ValueError:
        return None
    return unquote(parts.path) if parts.scheme == "file" else None


def provider_settings(flags: Mapping[str, Any], scheme: str) -> dict[str, Any]:
    """Return the settings of a signer that flags about its backend give."""
    return {
        setting: str(value.absolute()) if isinstance(value, Path) else value
        for flag, (schemes, setting) in PROVIDER_FLAGS.items()
        if scheme in schemes and (value := flags[flag]) is not None
    }


def settings_of(texts: Sequence[str], *, option: str) -> dict[str, Any]:
    """Return the settings of NAME=VALUE texts; a VALUE in braces is TOML's table, { file = "PATH" }.

    Raises UsageError, which repeats no value, because that may be a PIN.
    """
    settings: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch("[a-z][a-z0-9_]*", name):
            raise click.UsageError(f"{option} is NAME=VALUE, a setting that 'plugins show' prints")
        settings[name] = value
        if value.lstrip().startswith("{"):
            try:
                settings[name] = tomllib.loads(f"value = {value}")["value"]
            except tomllib.TOMLDecodeError:
                raise click.UsageError(f'{option} {name}: write {{ file = "PATH" }} or {{ env = "NAME" }}') from None
    return settings
