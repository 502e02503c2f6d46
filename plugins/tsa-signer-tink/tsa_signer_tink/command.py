"""`timestamp-server tink create-keyset`: a new key, encrypted by a KMS before it touches a disk."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
import tink as google_tink
from pydantic import ValidationError
from tink import secret_key_access, signature
from tink.proto import tink_pb2

from tsa_core.api import ConfigError, OpenKek, describe_key, read_file
from tsa_core.api.fields import relative_to
from tsa_core.api.setting_errors import setting_error
from tsa_signer_tink.kek import open_kek_aead
from tsa_signer_tink.keys import load_key
from tsa_signer_tink.keyset import primary_key
from tsa_signer_tink.options import TinkOptions
from tsa_signer_tink.signer import better_template

TEMPLATES: Final = (
    "ECDSA_P256",
    "ECDSA_P256_RAW",
    "ECDSA_P384",
    "ECDSA_P384_SHA384",
    "ECDSA_P384_SHA512",
    "ECDSA_P521",
    "ED25519",
    "ML_DSA_44",
    "ML_DSA_65",
    "ML_DSA_87",
    "RSA_SSA_PKCS1_3072_SHA256_F4",
    "RSA_SSA_PKCS1_4096_SHA512_F4",
    "RSA_SSA_PSS_3072_SHA256_SHA256_32_F4",
    "RSA_SSA_PSS_4096_SHA512_SHA512_64_F4",
)
"""Tink's names of the key templates that can sign timestamps."""

_MAX_CONFIG_OCTETS: Final = 4 * 1024 * 1024
_VARIABLES: Final = "TSA_SIGNER__TINK__"
_NOT_FOR_MAKING: Final = frozenset({"keyset_path", "dangerously_allow_cleartext_keyset"})


@click.group()
def tink() -> None:
    """Make encrypted Tink keysets."""


@tink.command()
@click.option(
    "--key-template",
    type=click.Choice(TEMPLATES),
    required=True,
    metavar="TEMPLATE",
    help=f"Kind of the key, by Tink's name: {', '.join(TEMPLATES)}",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The keyset; a new file.")
@click.option(
    "--out-format",
    type=click.Choice(["json", "binary"]),
    default="json",
    show_default=True,
    help="Tink's format; others than this server may want JSON.",
)
@click.option(
    "--master-key-uri",
    metavar="URI",
    help="The key that encrypts the keyset: gcp-kms://, aws-kms:// or hcvault://; else [signer.tink] key_resource",
)
@click.option(
    "--credential",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A Google service account's key file; AWS and Vault are told by their environment variables.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="TSA_CONFIG",
    metavar="FILE",
    help="Configuration file, whose [signer.tink] says how the KMS is reached.",
)
@click.pass_obj
def create_keyset(
    open_kek: OpenKek,
    *,
    key_template: str,
    out: Path,
    out_format: str,
    master_key_uri: str | None,
    credential: Path | None,
    config: Path | None,
) -> None:
    """Make a key and write it, encrypted, as a keyset that Tink and this server read.

    The key is made in this process and sent to the KMS to be encrypted; it is never on a disk in clear text. Vault's
    token is VAULT_TOKEN, ~/.vault-token or [signer.tink] hcvault_token.

    \b
    Examples:
      timestamp-server tink create-keyset --key-template ECDSA_P384_SHA384 --out enc-keyset.cfg \\
          --master-key-uri gcp-kms://projects/P/locations/global/keyRings/R/cryptoKeys/K
      VAULT_ADDR=http://127.0.0.1:8200 timestamp-server tink create-keyset --key-template ECDSA_P256 \\
          --out enc-keyset.cfg --master-key-uri hcvault:///transit/keys/tsa-kek
    """  # noqa: D301 - the backslashes are click's mark and the shell's
    options = _options(
        config,
        {
            **({"key_resource": master_key_uri} if master_key_uri else {}),
            **({"gcp_credentials_file": credential.absolute()} if credential else {}),
        },
    )
    if out.exists():
        raise ConfigError("the file exists, and a keyset in it would be lost; name another", path=str(out))
    with relative_to(_folder(config)):
        key, keyset = _make(key_template, out_format, options, open_kek, str(out))
    _write(out, keyset)
    click.echo(
        f"Wrote {out}: {describe_key(key.private_key.public_key())}, key {key.key_id}, encrypted by "
        f"{options.key_resource}"
    )
    if advice := better_template(key):
        click.echo(f"{out}: {advice}", err=True)


def _make(template: str, out_format: str, options: TinkOptions, open_kek: OpenKek, where: str) -> tuple[Any, bytes]:
    """Return a new key and the encrypted keyset that holds it."""
    signature.register()
    kek = open_kek_aead(options, open_kek)
    try:
        handle = google_tink.new_keyset_handle(getattr(signature.signature_key_templates, template))
        # Tink has the KMS decrypt what it encrypted, and compares.
        if out_format == "binary":
            keyset: bytes = google_tink.proto_keyset_format.serialize_encrypted(handle, kek, b"")
        else:
            keyset = google_tink.json_proto_keyset_format.serialize_encrypted(handle, kek, b"").encode() + b"\n"
    except google_tink.TinkError as error:
        raise ConfigError(f"the keyset could not be encrypted: {error}", path="signer.tink.key_resource") from None
    finally:
        kek.close()
    serialized = google_tink.proto_keyset_format.serialize(handle, secret_key_access.TOKEN)
    return load_key(primary_key(tink_pb2.Keyset.FromString(serialized), where), where), keyset


def _write(path: Path, keyset: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(keyset)
    except OSError as error:
        raise ConfigError(f"the keyset cannot be written: {error.strerror}", path=str(path)) from None


def _options(config: Path | None, given: Mapping[str, Any]) -> TinkOptions:
    """Return the settings of `[signer.tink]`, over them those of TSA_SIGNER__TINK__..., over them the flags."""
    table = _table(config)
    for name in TinkOptions.model_fields:
        if (value := os.environ.get(_VARIABLES + name.upper())) is not None:
            table[name] = value
    kek = f"{_VARIABLES}KEK__"
    if given_kek := {name.removeprefix(kek).lower(): os.environ[name] for name in os.environ if name.startswith(kek)}:
        table["kek"] = {**table.get("kek", {}), **given_kek}
    table.update(given)
    try:
        with relative_to(_folder(config)):
            return TinkOptions.model_validate({k: v for k, v in table.items() if k not in _NOT_FOR_MAKING})
    except ValidationError as error:
        lines = [
            f"signer.tink.{'.'.join(map(str, problem['loc']))}: {setting_error(problem)}"
            for problem in error.errors(include_url=False, include_input=False)
        ]
        raise ConfigError("\n".join(lines)) from None


def _folder(config: Path | None) -> Path:
    """Return what relative paths in the settings are relative to."""
    return config.absolute().parent if config else Path()


def _table(config: Path | None) -> dict[str, Any]:
    if config is None:
        return {}
    try:
        document: Any = tomllib.loads(read_file(config, "configuration file", limit=_MAX_CONFIG_OCTETS).decode("utf-8"))
    except ValueError as error:
        raise ConfigError(f"the configuration file cannot be read: {error}", path=str(config)) from None
    for key in ("signer", "tink"):
        document = document.get(key, {}) if isinstance(document, dict) else {}
    return dict(document) if isinstance(document, dict) else {}
