"""Makes a key in a file, encrypted with the password of the settings."""

from __future__ import annotations

import os

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from tsa_core.api import KEY_KINDS, ConfigError, new_key
from tsa_signer_file.options import FileOptions
from tsa_signer_file.signer import key_path


def make_key(options: FileOptions, kind: str) -> str:
    """Write a new key, PKCS #8 in PEM, which only its owner can read, and return its URI.

    Raises ConfigError for a file that is there already, and without a password.
    """
    if kind not in KEY_KINDS:
        raise ConfigError(f"there is no kind {kind}; choose among {', '.join(KEY_KINDS)}")
    path = key_path(options)
    if options.password is None:
        raise ConfigError(
            "a key in a file is made encrypted; give a password, { file = ... } or { env = ... }",
            path="signer.file.password",
        )
    encryption = BestAvailableEncryption(options.password.get_secret_value().encode("utf-8"))
    data = new_key(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError("it is there already; name a new file for a new key", path=str(path)) from None
    except OSError as error:
        raise ConfigError(f"it cannot be written: {error.strerror}", path=str(path)) from None
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    return options.uri
