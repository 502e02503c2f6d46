"""The settings of `[signer.memory]`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tsa_core.api import SignerOptions


class MemoryOptions(SignerOptions):
    """`[signer.memory]`."""

    algorithm: Literal[
        "ecdsa-p256",
        "ecdsa-p384",
        "ecdsa-p521",
        "rsa-2048",
        "rsa-3072",
        "rsa-4096",
        "ed25519",
        "ed448",
        "ml-dsa-44",
        "ml-dsa-65",
        "ml-dsa-87",
    ] = Field("ecdsa-p256", description="kind of the key that is made at start")
