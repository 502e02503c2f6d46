"""`--rejections=sigstore`: texts, codes and headers of the reference server, as version 2.1.3 answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.plain_encoder import PlainRequest
from tests.serving import Server, running_server

ROUTE = "/api/v1/timestamp"
CHAIN = f"{ROUTE}/certchain"
QUERY = {"Content-Type": "application/timestamp-query"}
ONLY = "only [application/timestamp-query application/json] are allowed"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server(rejections="sigstore") as running:
        yield running


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/nope", 404, "path /nope was not found"),
        ("POST", "/tsr", 404, "path /tsr was not found"),
        ("GET", ROUTE, 405, "method GET is not allowed, but [POST] are"),
        ("PUT", ROUTE, 405, "method PUT is not allowed, but [POST] are"),
        ("OPTIONS", ROUTE, 405, "method OPTIONS is not allowed, but [POST] are"),
        ("DELETE", CHAIN, 405, "method DELETE is not allowed, but [GET] are"),
        ("POST", "/Ping", 404, "path /Ping was not found"),
        ("GET", "/a%22b%c3%a4?c", 404, "path /a%22b%c3%a4 was not found"),
    ],
)
def test_what_is_not_there_is_said_in_its_words(
    server: Server, method: str, path: str, status: int, message: str
) -> None:
    answer = server.request(method, path)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert json.loads(answer.body) == {"code": status, "message": message}
    assert answer.headers.get("allow") == ({ROUTE: "POST", CHAIN: "GET"}[path] if status == 405 else None)


@pytest.mark.parametrize(
    "path", [f"{ROUTE}/", f"{ROUTE}//", f"/{ROUTE}", "/api/./v1/timestamp", "/x/../api/v1/timestamp"]
)
def test_paths_are_resolved(server: Server, path: str) -> None:
    assert server.request("POST", path, body=PlainRequest().encode(), headers=QUERY).status == 200


@pytest.mark.parametrize(("given", "named"), [("text/plain", "text/plain"), (None, "application/octet-stream")])
def test_another_media_type_is_named(server: Server, given: str | None, named: str) -> None:
    headers = {"Content-Type": given} if given else {}
    answer = server.request("POST", ROUTE, body=b"x", headers=headers)
    message = f'unsupported media type "{named}", {ONLY}'
    assert (answer.status, json.loads(answer.body)) == (415, {"code": 415, "message": message})


@pytest.mark.parametrize("kind", ["application/timestamp-query", "application/json", "text/plain"])
def test_an_empty_body_is_a_missing_one(server: Server, kind: str) -> None:
    answer = server.request("POST", ROUTE, body=b"", headers={"Content-Type": kind})
    assert (answer.status, json.loads(answer.body)) == (422, {"code": 602, "message": "request in body is required"})


def test_a_body_that_is_too_large_is_one_that_cannot_be_read() -> None:
    with running_server(rejections="sigstore", max_request_body_size=100) as running:
        answer = running.request("POST", ROUTE, body=bytes(101), headers=QUERY)
    assert answer.headers["content-type"] == "application/timestamp-reply"
    assert (answer.status, json.loads(answer.body)["message"]) == (400, "Error generating timestamp response")


def test_replies_carry_its_cache_headers(server: Server) -> None:
    answer = server.request("POST", ROUTE, body=PlainRequest().encode(), headers=QUERY)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-cache, no-store, no-transform, must-revalidate, private, max-age=0"
    assert answer.headers["pragma"] == "no-cache"
    assert answer.headers["expires"] == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert answer.headers["x-accel-expires"] == "0"
    assert server.request("GET", CHAIN).headers["cache-control"] == "max-age=86400, immutable"


@pytest.mark.parametrize("path", ["/ping", "/PING", "/Ping"])
def test_ping_is_found_however_it_is_written(server: Server, path: str) -> None:
    answer = server.request("GET", path)
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, "text/plain", b".")


def test_without_tls_ping_is_found_however_it_is_written() -> None:
    # The flag is refused where it leaves nothing, so the setting is made beside https, which this server does not open.
    tls: dict[str, Any] = {"schemes": ["http", "https"], "tls_certificate": "cert.pem", "tls_key": "key.pem"}
    with running_server(rejections="sigstore", http_ping_only=True, **tls) as running:
        assert running.request("GET", "/PING").body == b"."
        assert running.request("GET", CHAIN).body == b"http server supports only the /ping entrypoint"
