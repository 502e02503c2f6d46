"""A signer that returns another signature than that of the message: no token leaves, and the server is not ready."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.pki import key
from tests.serving import Parts, TestSigner, open_service
from tsa_core.api import LocalKeySigner, RequestContext, Signer
from tsa_core.authority import Reply
from tsa_core.service import Service
from tsa_core.testing import encode_request

_OTHER = LocalKeySigner(key("p384"))


class Device(TestSigner):
    """A signer of a plugin that does not wait, and returns what `alter` makes of the right signature."""

    alter: Callable[[bytes, bytes], bytes] | None = None

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        signature = super().sign(message, timeout=timeout)
        return signature if self.alter is None else self.alter(message, signature)


class Earlier:
    """The signature of the first message, for all."""

    def __init__(self) -> None:
        self._first = b""

    def __call__(self, _message: bytes, signature: bytes) -> bytes:
        self._first = self._first or signature
        return self._first


def respond(service: Service, nonce: int) -> Reply:
    return service.authority.respond(encode_request(nonce=nonce), RequestContext(request_id="7"))


@pytest.mark.parametrize(
    "alter",
    [
        pytest.param(lambda _, __: b"", id="empty"),
        pytest.param(lambda _, signature: signature[:-1], id="shortened"),
        pytest.param(lambda _, signature: signature + b"\0", id="longer"),
        pytest.param(lambda _, signature: signature + bytes(2_000_000), id="huge"),
        pytest.param(lambda message, _: _OTHER.sign(message, timeout=5.0), id="another key's"),
        pytest.param(Earlier(), id="an earlier one"),
    ],
)
def test_a_signer_that_does_not_wait_is_not_believed(alter: Callable[[bytes, bytes], bytes]) -> None:
    device = Device()
    with open_service(Parts(signers={"p256": device})) as service:
        assert respond(service, 1).rejection is None
        device.alter = alter
        replies = [respond(service, nonce) for nonce in (2, 3)]
        assert replies[1].rejection is not None
        assert not next(check for check in service.readiness() if check.name == "signer:default").healthy
        device.alter = None
        assert respond(service, 4).rejection is None


@pytest.mark.parametrize(
    ("signer", "verified"), [(LocalKeySigner(key("p256")), False), (Device(), True)], ids=["of the core", "of a plugin"]
)
def test_only_what_the_core_signs_itself_is_sent_unverified(signer: Signer, verified: bool) -> None:
    signer.certificate_chain = TestSigner().certificate_chain  # type: ignore[method-assign] # a signer without a chain file
    with open_service(Parts(signers={"p256": signer})) as service:
        assert service.authority.profiles["default"].verifies is verified
    with open_service(Parts(signers={"p256": signer}), profiles={"default": {"verify_signatures": False}}) as service:
        assert not service.authority.profiles["default"].verifies
