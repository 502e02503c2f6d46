"""The keys that logs and witnesses sign with, and their files."""

from __future__ import annotations

import base64
import binascii
import os
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.transparency.checkpoint import Checkpoint, cosigned_message
from tsa_core.protocol.transparency.note import NoteSignature, SignatureType, VerifierKey, check_key_name

_SEED_OCTETS: Final = 32
_PREFIX: Final = "PRIVATE+KEY+"


class NoteSigner:
    """A private key with its name. Its text, PRIVATE+KEY+NAME+HASH+SEED, is the one that Go's note package writes."""

    def __init__(self, name: str, kind: SignatureType, seed: bytes) -> None:
        """Take 32 octets as the key's seed; raises EncodingError for a name that cannot be one."""
        self._seed = seed
        self._key: Ed25519PrivateKey | MLDSA44PrivateKey
        if kind is SignatureType.COSIGNATURE_ML_DSA_44:
            self._key = MLDSA44PrivateKey.from_seed_bytes(seed)
        else:
            self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.key = VerifierKey(check_key_name(name), kind, self._key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, name: str, kind: SignatureType) -> NoteSigner:
        """Return a new key."""
        return cls(name, kind, os.urandom(_SEED_OCTETS))

    @classmethod
    def parse(cls, text: str) -> NoteSigner:
        """Read a private key's text; raises EncodingError, which does not repeat it."""
        name, _, rest = text.strip().removeprefix(_PREFIX).partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            data = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            data = b""
        if not text.startswith(_PREFIX) or len(data) != 1 + _SEED_OCTETS:
            raise EncodingError("a private key is written PRIVATE+KEY+NAME+HASH+SEED, as `log keygen` writes it")
        try:
            signer = cls(name, SignatureType(data[0]), data[1:])
        except ValueError:
            raise EncodingError(f"the private key is of the unknown kind {data[0]}") from None
        if signer.key.key_id.hex() != key_id:
            raise EncodingError("the hash in the private key is not that of its public key")
        return signer

    def text(self) -> str:
        """Return the private key's text, for a file that only its owner may read."""
        seed = base64.b64encode(bytes([self.key.kind]) + self._seed).decode("ascii")
        return f"{_PREFIX}{self.key.name}+{self.key.key_id.hex()}+{seed}"

    def __repr__(self) -> str:
        """Say which key, not what it is."""
        return f"<NoteSigner {self.key.name} {self.key.key_id.hex()}>"

    def sign(self, checkpoint: Checkpoint, *, seconds: int = 0) -> NoteSignature:
        """Sign a checkpoint; a cosignature says that it was at this time, in seconds since 1970."""
        if self.key.kind is SignatureType.ED25519:
            signature = self._key.sign(checkpoint.text.encode())
        else:
            message = cosigned_message(self.key, checkpoint.text, checkpoint, seconds)
            signature = seconds.to_bytes(8, "big") + self._key.sign(message)
        return NoteSignature(self.key.signs_as, signature)
