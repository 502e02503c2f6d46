"""Rule S30: what is down is refused, the process lives, and what comes back works at once."""

from __future__ import annotations

from typing import Literal

import pytest

from tests.conformance.plain_encoder import PlainRequest
from tests.conformance.replies import granted, refused
from tests.serving import QUERY, HttpReply, Parts, Server, TestSigner, TestSink, running_server
from tsa_core.api import AuditError, SignerError

BODY = PlainRequest(nonce=2**63, cert_req=True).encode()
SYSTEM_FAILURE = "03050600000040"
PATH = "/api/v1/timestamp"


def check(reply: HttpReply) -> None:
    assert reply.status == 200
    assert granted(reply.body).tst_info["nonce"].native == 2**63


def readiness(server: Server) -> dict[str, bool]:
    return {check["name"]: check["healthy"] for check in server.request("GET", "/readyz").json["checks"]}


@pytest.mark.parametrize("failure", [None, SignerError("no"), RuntimeError("a bug"), TimeoutError()])
@pytest.mark.parametrize("latency", ["local", "remote"])
def test_s30_a_signer_that_is_down_and_comes_back(
    latency: Literal["local", "remote"], failure: Exception | None
) -> None:
    signer = TestSigner()
    signer.latency = latency
    with running_server(Parts(signers={"p256": signer})) as server:
        check(server.post(BODY))
        assert readiness(server)["signer:default"]
        if failure is None:
            signer.go_down()
        else:
            signer.failure = failure
        for _ in range(3):
            reply = server.post(BODY)
            assert reply.status == 200
            refused(reply.body, SYSTEM_FAILURE)
        assert not readiness(server)["signer:default"]
        assert server.request("GET", "/readyz").status == 503
        assert server.request("GET", "/healthz").status == 200
        assert server.request("GET", "/ping").body == b"."
        signer.come_back()
        check(server.post(BODY))
        assert readiness(server)["signer:default"]


def test_s30_one_profiles_signer_is_down_and_the_other_serves() -> None:
    signers = {"p256": TestSigner(), "ed25519": TestSigner("ed25519")}
    with running_server(Parts(signers=signers), profiles={"other": {"signer": "test:ed25519"}}) as server:
        signers["p256"].go_down()
        refused(server.post(BODY).body, SYSTEM_FAILURE)
        check(server.post(BODY, path="/tsa/other"))


@pytest.mark.parametrize("failure", [AuditError("the disk is full"), OSError(28, "No space left on device")])
def test_s30_an_audit_sink_that_is_down_withholds_the_token(failure: Exception) -> None:
    sinks = [TestSink(), TestSink()]
    with running_server(Parts(sinks=sinks)) as server:
        check(server.post(BODY))
        for sink in sinks:
            sink.failure = failure
            text = refused(server.post(BODY).body, SYSTEM_FAILURE)
            assert "disk" not in text
            assert "device" not in text
            sink.failure = None
        check(server.post(BODY))
    assert [len(sink.records) for sink in sinks] == [3, 2]


def test_s30_what_the_audit_keeps_is_what_was_sent() -> None:
    sink = TestSink()
    with running_server(Parts(sinks=[sink])) as server:
        headers = {"Content-Type": QUERY, "X-Request-Id": "seven"}
        reply = server.request("POST", PATH, BODY, headers)
        (record,) = sink.records
        assert record.response == reply.body
        assert record.serial_number == granted(reply.body).tst_info["serial_number"].native
        assert (record.request_id, record.client_address, record.profile) == ("seven", "127.0.0.1", "default")
        assert record.digest == bytes(32)


def test_s30_what_the_audit_keeps_names_the_policy_and_the_hash() -> None:
    sink = TestSink()
    policies = ["1.3.6.1.4.1.57264.2", "1.2.3.4.5"]
    with running_server(Parts(sinks=[sink]), profiles={"default": {"policies": policies}}) as server:
        for policy in (None, *policies):
            body = PlainRequest(policy=policy, hash_name="sha512", digest=bytes(64), cert_req=True).encode()
            assert granted(server.post(body).body).tst_info["policy"].native == (policy or policies[0])
    assert [record.policy for record in sink.records] == [policies[0], *policies]
    assert {record.hash_oid for record in sink.records} == {"2.16.840.1.101.3.4.2.3"}


def test_s30_a_signature_that_does_not_verify_never_leaves() -> None:
    signer = TestSigner()
    profiles = {"default": {"verify_signatures": True}}
    with running_server(Parts(signers={"p256": signer}), profiles=profiles) as server:
        check(server.post(BODY))
        good = signer._sign
        signer._sign = TestSigner("p384")._sign
        refused(server.post(BODY).body, SYSTEM_FAILURE)
        signer._sign = good
        check(server.post(BODY))
