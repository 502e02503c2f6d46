"""A plugin that raises what its contract forbids: the client learns nothing, the log everything, the server lives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from asn1crypto import tsp

from tsa_core.testing import ServerProcess, encode_request

# The failInfo of a rejection: see rule S18.
SYSTEM_FAILURE = bytes.fromhex("03050600000040")

SIGNER = """
from typing import ClassVar
from cryptography.hazmat.primitives.serialization import Encoding
from tsa_core.api import LocalKeySigner, NoOptions, Provider, SignerOptions, hookimpl

class Crashing(LocalKeySigner):
    latency: ClassVar = "{latency}"
    calls = 0

    def __init__(self):
        from tsa_core.testing import Pki, new_key
        super().__init__(new_key())
        self._chain = [certificate.public_bytes(Encoding.DER) for certificate in Pki().chain(self.public_key)]

    def certificate_chain(self):
        return self._chain

    def sign(self, message, *, timeout):
        self.calls += 1
        # The first is the trial signature at start.
        if self.calls == 2:
            return {{}}["hvs.a-secret"]
        return super().sign(message, timeout=timeout)

@hookimpl
def tsa_signers():
    yield Provider(name="crash", summary="Crashes", options=SignerOptions, open=lambda options: Crashing())
"""


@pytest.mark.parametrize("latency", ["local", "remote"])
def test_key_error_in_sign(fake_plugin: Callable[..., Path], tmp_path: Path, latency: str) -> None:
    site = fake_plugin("crash", SIGNER.format(latency=latency))
    config = tmp_path / "tsa.toml"
    config.write_text('[log]\naccess = false\n[profiles.default]\nsigner = "crash:"\n')
    with ServerProcess(config, environ={"PYTHONPATH": str(site)}) as server:
        crashed = server.stamp(encode_request(), headers={"X-Request-Id": "the-unlucky-one"})
        after = server.stamp(encode_request(), headers={"X-Request-Id": "the-next-one"})
        server.wait_for_log("KeyError")
    log = server.log

    assert crashed.status == 200
    assert SYSTEM_FAILURE in crashed.body
    assert b"the timestamp cannot be signed now; try again later" in crashed.body
    assert b"KeyError" not in crashed.body
    assert b"secret" not in crashed.body
    assert tsp.TimeStampResp.load(after.body)["status"]["status"].native == "granted"

    lines = [line for line in log.splitlines() if "the-unlucky-one" in line]
    assert "request the-unlucky-one: the signer plugin 'crash' of profile 'default' crashed" in lines[0]
    assert "KeyError" in log
    assert "the-next-one" not in log
