"""New private keys, by the names that people give to their kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa

from tsa_core.protocol.signatures import PrivateKey

KEY_KINDS: Final[dict[str, Callable[[], PrivateKey]]] = {
    "ecdsa-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ecdsa-p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "rsa-3072": lambda: rsa.generate_private_key(65537, 3072),
    "rsa-4096": lambda: rsa.generate_private_key(65537, 4096),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
    "ml-dsa-44": mldsa.MLDSA44PrivateKey.generate,
    "ml-dsa-65": mldsa.MLDSA65PrivateKey.generate,
    "ml-dsa-87": mldsa.MLDSA87PrivateKey.generate,
}
"""The kinds of keys that can make timestamps, and how a new one is made."""


def new_key(kind: str = "ecdsa-p256") -> PrivateKey:
    """Return a new private key; KeyError for a kind that KEY_KINDS does not have."""
    return KEY_KINDS[kind]()
