"""A plugin with a backend that takes its time: P-256 in memory, after a pause. Only the benchmark knows it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Literal

from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import Field

from tsa_core.api import Duration, LocalKeySigner, Provider, Signer, SignerOptions, hookimpl
from tsa_core.testing import Pki, shared_key


class SlowOptions(SignerOptions):
    """`[signer.slow]`."""

    pause: Duration = Field(timedelta(milliseconds=50), description="what a network and a backend take")


class SlowSigner(LocalKeySigner):
    """Signs after a pause, in any number of threads at once."""

    latency: Literal["local", "remote"] = "remote"

    def __init__(self, options: SlowOptions) -> None:
        key = shared_key()
        super().__init__(key)
        self._pause_seconds = options.pause.total_seconds()
        self._chain = [certificate.public_bytes(Encoding.DER) for certificate in Pki().chain(key.public_key())]

    def certificate_chain(self) -> Sequence[bytes]:
        return self._chain

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        time.sleep(self._pause_seconds)
        return super().sign(message, timeout=timeout)


@hookimpl
def tsa_signers() -> Iterable[Provider[Signer]]:
    yield Provider(name="slow", summary="A backend that takes its time", options=SlowOptions, open=SlowSigner)
