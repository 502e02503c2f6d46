"""Reads the key and makes a signer of it.

Permissions: read access to the key's file, for the server's user only. Nothing leaves the machine. After start
the key is in the process's memory, unprotected: whoever can read that memory has the key.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from tsa_core.api import ConfigError, LocalKeySigner, PrivateKey, UnsupportedKey, describe_key, key_file, resolve_path
from tsa_signer_file.encrypted_box import NotReadable, WrongPassword, is_encrypted_box, open_box
from tsa_signer_file.options import FileOptions

log = logging.getLogger(__name__)

_MAX_KEY_OCTETS: Final = 64 * 1024
_EC_PARAMETERS: Final = (b"-----BEGIN EC PARAMETERS-----", b"-----END EC PARAMETERS-----")
_ENCRYPTED: Final = (
    "the private key is encrypted; give its password by [signer.file] password, for example "
    'password = { file = "PATH" }'
)


class FileSigner(LocalKeySigner):
    """Signs with a key read from a file."""

    def __init__(self, private_key: PrivateKey, *, path: Path, digest: str | None, rsa_pss: bool) -> None:
        super().__init__(private_key, digest=digest, rsa_pss=rsa_pss)
        self._path = path

    def files(self) -> Sequence[Path]:
        """Return the key's file."""
        return (self._path,)

    def details(self) -> Mapping[str, str]:
        """Return the key's kind and file."""
        return {"key": describe_key(self.public_key), "file": str(self._path)}


def open_file_signer(options: FileOptions) -> FileSigner:
    """Return the signer; raises ConfigError for a file or password that is wrong, UnsupportedKey for the key."""
    path = key_path(options)
    password = options.password.get_secret_value().encode("utf-8") if options.password else None
    with key_file(path, "private key", limit=_MAX_KEY_OCTETS) as data:
        key = _load(data, password, path)
    try:
        return FileSigner(key, path=path, digest=options.signature_digest, rsa_pss=options.rsa_pss)
    except UnsupportedKey as error:
        raise ConfigError(str(error), path=str(path)) from None


def key_path(options: FileOptions) -> Path:
    """Return the path in `file:key.pem`, `file:/etc/tsa/key.pem` or `file:///etc/tsa/key.pem`, else `path`."""
    parts = urlsplit(options.uri)
    if parts.netloc not in {"", "localhost"}:
        raise ConfigError(
            f"{options.uri!r} names the host {parts.netloc!r}; write file:{parts.netloc}{parts.path} for a "
            f"relative path, file:///PATH for an absolute one"
        )
    if parts.path:
        return resolve_path(Path(unquote(parts.path, errors="surrogateescape")))
    if options.path is not None:
        return options.path
    raise ConfigError(
        "the file signer has no file; write the key URI as file:PATH, or use --file-signer-key-path",
        path="signer.file.path",
    )


def _blank_parameters(data: bytearray) -> None:
    """Replace the EC PARAMETERS block that `openssl ecparam -genkey` puts before the key by spaces, in place."""
    begin, end = _EC_PARAMETERS
    start = data.find(begin)
    stop = data.find(end, start)
    if start >= 0 and stop >= 0:
        stop += len(end)
        data[start:stop] = b" " * (stop - start)


def _load(data: bytearray, password: bytes | None, path: Path) -> PrivateKey:
    where = str(path)
    if is_encrypted_box(data):
        return _check_kind(_open_box(data, password, where), where)
    load = load_pem_private_key if b"-----BEGIN" in data else load_der_private_key
    _blank_parameters(data)
    try:
        try:
            key = load(data, password)
        except TypeError:
            if password is None:
                raise ConfigError(_ENCRYPTED, path=where) from None
            log.warning("the private key %s is not encrypted; its password is not needed", path)
            key = load(data, None)
    except (ValueError, UnsupportedAlgorithm):
        # The library's text could quote what it read, so it is not repeated.
        reason = "the password is wrong or the file is damaged" if password else "it is not a private key"
        raise ConfigError(
            f"{reason}; PEM or DER of PKCS #8, PKCS #1 or SEC 1 is needed, or an encrypted key of Sigstore's tools, "
            "and a key of a supported kind",
            path=where,
        ) from None
    return _check_kind(key, where)


def _open_box(data: bytearray, password: bytes | None, where: str) -> object:
    """Return the key that Sigstore's tools have encrypted; without a password, it is the empty one, as there."""
    try:
        return load_der_private_key(open_box(data, password or b""), None)
    except WrongPassword:
        if password is None:
            raise ConfigError(_ENCRYPTED, path=where) from None
        raise ConfigError("the password is wrong or the file is damaged", path=where) from None
    except NotReadable as error:
        raise ConfigError(
            f"the encrypted private key of Sigstore's tools cannot be read: {error}", path=where
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError("what is encrypted there is no PKCS #8 private key of a supported kind", path=where) from None


def _check_kind(key: object, where: str) -> PrivateKey:
    if not isinstance(key, PrivateKey):
        raise ConfigError(
            f"a key of type {type(key).__name__} cannot sign timestamps; use RSA, ECDSA, Ed25519, Ed448 or ML-DSA",
            path=where,
        )
    return key
