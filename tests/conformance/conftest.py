"""The server that most rules are shown on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.serving import Parts, Server, TestSigner, running_server
from tsa_core.testing import require_package

POLICIES = ["1.3.6.1.4.1.57264.2", "1.2.3.4.5"]


@pytest.fixture(scope="session", params=["waitress", "granian", "granian-http2"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of ours with a P-256 key, all defaults and a second policy; on both engines.

    Where it speaks HTTP/2, requests go over that, and what tests send as bytes is HTTP/1.1 on the same port.
    """
    engine, _, http2 = request.param.partition("-")
    if http2:
        require_package("h2")
    signers = {kind: TestSigner(kind) for kind in ("p256", "rsa-2048")}
    profiles = {"default": {"policies": POLICIES}, "rsa": {"signer": "test:rsa-2048", "policies": ["1.2.3.4.6"]}}
    with running_server(Parts(signers=signers), profiles=profiles, engine=engine, http2=bool(http2)) as running:
        if http2:
            from tests.http2_client import Http2Server

            yield Http2Server(url=running.url, service=running.service)
        else:
            yield running
