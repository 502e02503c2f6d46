"""Keysets in files: Tink's JSON and binary forms, encrypted by a KEK or, dangerously, not at all."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from tink.proto import tink_pb2

from tsa_core.api import WRONG_KEK, ConfigError, OpenKek, read_file
from tsa_signer_tink.kek import open_kek_aead
from tsa_signer_tink.options import TinkOptions

log = logging.getLogger(__name__)

_MAX_KEYSET_OCTETS: Final = 256 * 1024
_TYPE_PREFIX: Final = "type.googleapis.com/"
_STATUS: Final = {tink_pb2.DISABLED: "disabled", tink_pb2.DESTROYED: "destroyed"}


def read_primary_key(path: Path, options: TinkOptions, open_kek: OpenKek) -> tuple[Any, str]:
    """Return the primary key of the keyset in a file, a tink_pb2.Keyset.Key, and the URI of the KEK.

    The URI is empty for a keyset in clear text. Raises ConfigError for a file or keyset that cannot be used,
    SignerUnavailable and SignerError of the KMS.
    """
    where = str(path)
    encrypted, cleartext = _parse(read_file(path, "keyset", limit=_MAX_KEYSET_OCTETS), where)
    if encrypted is not None:
        keyset, kek = _decrypt(encrypted, options, open_kek, where), options.key_resource or ""
    elif not options.dangerously_allow_cleartext_keyset:
        raise ConfigError(
            "the keyset is not encrypted: whoever has read the file has the key. Make a new one with 'timestamp-server "
            "tink create-keyset'; signer.tink.dangerously_allow_cleartext_keyset = true uses this one all the same",
            path=where,
        )
    else:
        log.warning("the keyset %s is not encrypted: whoever reads the file, or a backup of it, has the key", path)
        keyset, kek = cleartext, ""
    return primary_key(keyset, where), kek


def _parse(data: bytes, where: str) -> tuple[Any, Any]:
    """Return an EncryptedKeyset or, second, a Keyset in clear text; the other is None."""
    try:
        encrypted, cleartext = _parse_json(data) if data.lstrip().startswith(b"{") else _parse_binary(data)
    except (ValueError, RecursionError, DecodeError, json_format.ParseError):
        # The libraries' texts quote what they read, so they are not repeated.
        encrypted = cleartext = None
    if cleartext is None and (encrypted is None or not encrypted.encrypted_keyset):
        raise ConfigError(
            "this is no Tink keyset; an encrypted one, JSON or binary, is made by 'timestamp-server tink "
            "create-keyset' or 'tinkey create-keyset'",
            path=where,
        )
    return encrypted, cleartext


def _parse_json(data: bytes) -> tuple[Any, Any]:
    members = json.loads(data)
    if "key" in members:
        return None, json_format.ParseDict(members, tink_pb2.Keyset())
    # keysetInfo is for people, and newer Tinks may say more there.
    return json_format.ParseDict(members, tink_pb2.EncryptedKeyset(), ignore_unknown_fields=True), None


def _parse_binary(data: bytes) -> tuple[Any, Any]:
    """Tell the two apart by what only a keyset in clear text has: keys with a type, in the ciphertext's field."""
    try:
        keyset = tink_pb2.Keyset.FromString(data)
    except DecodeError:
        keyset = tink_pb2.Keyset()
    if any(key.key_data.type_url.startswith(_TYPE_PREFIX) for key in keyset.key):
        return None, keyset
    return tink_pb2.EncryptedKeyset.FromString(data), None


def _decrypt(encrypted: Any, options: TinkOptions, open_kek: OpenKek, where: str) -> Any:
    kek = open_kek_aead(options, open_kek)
    try:
        plaintext = kek.decrypt(encrypted.encrypted_keyset, b"")
    finally:
        kek.close()
    try:
        return tink_pb2.Keyset.FromString(plaintext)
    except DecodeError:
        raise ConfigError(f"what {options.key_resource} decrypted is no keyset; {WRONG_KEK}", path=where) from None


def primary_key(keyset: Any, where: str) -> Any:
    """Return the key that signs; raises ConfigError when there is not exactly one, enabled."""
    found = [key for key in keyset.key if key.key_id == keyset.primary_key_id]
    if not keyset.key:
        raise ConfigError("the keyset is empty", path=where)
    if not found:
        ids = ", ".join(str(key.key_id) for key in keyset.key)
        raise ConfigError(f"the keyset has no primary key; promote one of its keys ({ids}) to be it", path=where)
    if len(found) > 1:
        raise ConfigError(f"the keyset has {len(found)} primary keys of the id {found[0].key_id}", path=where)
    if found[0].status != tink_pb2.ENABLED:
        status = _STATUS.get(found[0].status, "of an unknown status")
        raise ConfigError(
            f"the keyset's primary key {found[0].key_id} is {status}; enable it, or promote another", path=where
        )
    return found[0]
