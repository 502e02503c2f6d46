"""SignerContract for signers whose backend listens on a port of 127.0.0.1: it falls silent, or talks nonsense."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tsa_core.api import Signer
from tsa_core.testing import Relay, SignerContract


class RelayedSignerContract(SignerContract):
    """Override `backend_port`, and `relayed` with a signer that was opened through the relay."""

    @pytest.fixture
    def backend_port(self) -> int:
        raise NotImplementedError

    @pytest.fixture
    def relayed(self, relay: Relay) -> Signer:
        raise NotImplementedError

    @pytest.fixture
    def relay(self, backend_port: int) -> Iterator[Relay]:
        with Relay(backend_port) as relay:
            yield relay

    @pytest.fixture
    def silent_signer(self, relay: Relay, relayed: Signer) -> Signer:
        relay.hush()
        return relayed

    @pytest.fixture
    def nonsense_signer(self, relay: Relay, relayed: Signer) -> Signer:
        relay.babble()
        return relayed
