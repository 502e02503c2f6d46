"""A service that conforms to every profile, in parts, for tests that break one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.certs.chains_to_break import Part, case_of, right_chain
from tests.serving import Parts, TestClock, TestSigner, TestSink, open_service
from tsa_core.api import LocalKeySigner, ResponseProcessor
from tsa_core.service import Service
from tsa_core.testing import FakeMonitor

OWN_POLICY = "1.3.6.1.4.1.55555.1"


class ChainSigner(LocalKeySigner):
    """A key with its chain."""

    def __init__(self, private_key: Any, certificates: Sequence[x509.Certificate], **options: Any) -> None:
        super().__init__(private_key, **options)
        self._chain = [certificate.public_bytes(Encoding.DER) for certificate in certificates]

    def certificate_chain(self) -> Sequence[bytes]:
        return self._chain


class Trail(TestSink):
    """A sink that keeps events."""

    keeps_events = True


@dataclass(kw_only=True)
class Conforming:
    """What a service is made of; tests change what they break."""

    chain: list[Part] = field(default_factory=right_chain)
    signer: Mapping[str, Any] = field(default_factory=dict)
    profile: dict[str, Any] = field(default_factory=dict)
    profiles: dict[str, Any] = field(default_factory=dict)
    clock: dict[str, Any] = field(default_factory=dict)
    server: dict[str, Any] = field(default_factory=lambda: {"public_url": "https://tsa.example.org"})
    monitors: list[Any] = field(default_factory=lambda: [FakeMonitor()])
    sinks: list[Any] = field(default_factory=lambda: [Trail()])
    processors: list[ResponseProcessor] = field(default_factory=list)
    time: TestClock = field(default_factory=TestClock)

    def open(self, *conformance: str) -> Service:
        """Open a service whose default profile conforms to these standards."""
        certificates = case_of(self.chain).certificates
        signer = ChainSigner(self.chain[0].key, certificates, **self.signer)
        parts = Parts(
            signers={"p256": signer, "alias": signer, "another": TestSigner("p384")},
            clock=self.time,
            monitors=self.monitors,
            sinks=self.sinks,
            processors=self.processors,
        )
        profile = {"policies": [OWN_POLICY], "conformance": list(conformance), **self.profile}
        return open_service(
            parts, profiles={"default": profile, **self.profiles}, tables={"clock": self.clock}, **self.server
        )
