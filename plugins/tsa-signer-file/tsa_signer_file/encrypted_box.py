"""Decrypts `ENCRYPTED SIGSTORE PRIVATE KEY` and `ENCRYPTED COSIGN PRIVATE KEY`, the forms that Sigstore's tools write.

A PEM block of base64 of JSON: the parameters of scrypt, which makes a key of the password, and a box of NaCl
(XSalsa20 and Poly1305) with the PKCS #8 private key in it. The format is that of go-securesystemslib's `encrypted`.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Annotated, Final, Literal

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

_BLOCK: Final = re.compile(
    rb"-----BEGIN (ENCRYPTED (?:SIGSTORE|COSIGN) PRIVATE KEY)-----\s(.*?)-----END \1-----", re.DOTALL
)
_SCRYPT: Final = frozenset((2**exponent, 8, 1) for exponent in (15, 16, 17))
"""N, r and p that those tools write and accept; others could ask for gigabytes, or for hours."""


class NotReadable(Exception):
    """The block is not what Sigstore's tools write; the text says what is wrong and quotes nothing."""


class WrongPassword(Exception):
    """The password is not that of the key, or the box was changed."""


def _decode(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("not a text")
    return base64.b64decode(text, validate=True)


_Base64 = Annotated[bytes, BeforeValidator(_decode)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class _ScryptParameters(_Model):
    N: int
    r: int
    p: int


class _Kdf(_Model):
    name: Literal["scrypt"]
    params: _ScryptParameters
    salt: Annotated[_Base64, Field(min_length=8, max_length=256)]


class _Cipher(_Model):
    name: Literal["nacl/secretbox"]
    nonce: Annotated[_Base64, Field(min_length=SecretBox.NONCE_SIZE, max_length=SecretBox.NONCE_SIZE)]


class _Box(_Model):
    kdf: _Kdf
    cipher: _Cipher
    ciphertext: _Base64


def is_encrypted_box(data: bytes | bytearray) -> bool:
    """Say whether a key's file is of this kind."""
    return _BLOCK.search(data) is not None


def open_box(data: bytes | bytearray, password: bytes) -> bytes:
    """Return the PKCS #8 private key, DER, of the first such block; raises NotReadable or WrongPassword."""
    box = _read(data)
    scrypt = box.kdf.params
    if (scrypt.N, scrypt.r, scrypt.p) not in _SCRYPT:
        raise NotReadable("its parameters of scrypt are not N = 32768, 65536 or 131072, r = 8 and p = 1")
    key = Scrypt(salt=box.kdf.salt, length=SecretBox.KEY_SIZE, n=scrypt.N, r=scrypt.r, p=scrypt.p).derive(password)
    try:
        return SecretBox(key).decrypt(box.ciphertext, box.cipher.nonce)
    except CryptoError:
        raise WrongPassword from None


def _read(data: bytes | bytearray) -> _Box:
    found = _BLOCK.search(data)
    if found is None:
        raise NotReadable("it has no such block")
    try:
        return _Box.model_validate(json.loads(base64.b64decode(b"".join(found[2].split()), validate=True)))
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise NotReadable(f"its JSON is not that of Sigstore's tools: {place or 'not an object'}") from None
    except (ValueError, RecursionError):
        raise NotReadable("it is not JSON in base64") from None
