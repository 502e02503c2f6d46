"""Paths that clients ask beside the routes: bare hosts, guesses, and those that a profile takes over."""

from __future__ import annotations

import json

import pytest

from tests.conformance.plain_encoder import PlainRequest
from tests.serving import running_server
from tsa_core.api import ConfigError
from tsa_core.config import load_settings
from tsa_core.protocol.reply import read_reply
from tsa_core.verify import TrustStore, Verifier

QUERY = {"Content-Type": "application/timestamp-query"}


def test_a_bare_host_issues_timestamps_and_has_a_page() -> None:
    with running_server() as server:
        answer = server.request("POST", "/", body=PlainRequest().encode(), headers=QUERY)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/timestamp-reply")
        assert read_reply(answer.body)[1] is not None
        assert server.request("GET", "/").headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("path", ["/tsr", "/tsa", "/timestamp", "/api/v1/timestamps", "/x" * 500])
def test_a_guess_is_told_the_right_path(path: str) -> None:
    with running_server() as server:
        answer = server.request("POST", path, body=PlainRequest().encode(), headers=QUERY)
    assert answer.status == 404
    assert json.loads(answer.body)["message"].endswith("; timestamps are issued by POST to /api/v1/timestamp")
    assert len(answer.body) < 400


def test_a_profile_answers_at_its_further_paths() -> None:
    profiles: dict[str, dict[str, object]] = {
        "default": {"policies": ["1.2.3"]},
        "old": {"policies": ["1.2.4"], "paths": ["/signserver/tsa", "/tsr"]},
    }
    with running_server(profiles=profiles) as server:
        trust = TrustStore.from_chain(server.request("GET", "/tsa/old/certchain").body)
        for path in ("/signserver/tsa", "/tsr"):
            answer = server.request("POST", path, body=PlainRequest().encode(), headers=QUERY)
            verified = Verifier(trust).verify_response(answer.body, request=PlainRequest().encode())
            assert verified.policy == "1.2.4"
        assert server.request("GET", "/tsr").status == 405


@pytest.mark.parametrize("path", ["tsr", "/", "/a b", "/{x}", "/tsa/old", "/api/v1/timestamp", "/readyz", "/a//b"])
def test_a_path_that_cannot_be_is_refused(path: str) -> None:
    profile = {"signer": "memory:", "paths": [path]}
    with pytest.raises(ConfigError, match="cannot be a path"):
        load_settings(overrides={"profiles": {"default": profile}}, environ={})


def test_a_token_may_be_without_any_certificate() -> None:
    with running_server(profiles={"default": {"include_chain": "none"}}) as server:
        answer = server.request("POST", "/", body=PlainRequest(cert_req=True).encode(), headers=QUERY)
        token = read_reply(answer.body)[1]
        assert token is not None
        assert token.certificates == ()
        trust = TrustStore.from_chain(server.request("GET", "/api/v1/timestamp/certchain").body)
        Verifier(trust).verify_response(answer.body, request=PlainRequest(cert_req=True).encode())
