"""What timestamp clients send is answered before the framework, exactly as the framework's route would."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import falcon
import pytest

from tests.serving import QUERY, open_service, wsgi_environ
from tsa_core.http import create_app
from tsa_core.protocol.hashes import SHA1, SHA256
from tsa_core.protocol.request import encode_request
from tsa_core.service import Service

ROUTE = "/api/v1/timestamp"
GRANTED = encode_request(algorithm=SHA256, digest=bytes(32), nonce=1, cert_req=True)
REFUSED = encode_request(algorithm=SHA1, digest=bytes(20))
LIMIT = 1000


@pytest.fixture
def service() -> Iterator[Service]:
    with open_service(max_request_body_size=LIMIT) as opened:
        yield opened


@pytest.fixture
def framework(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the paths that the framework has been asked for."""
    asked: list[str] = []
    call = falcon.App.__call__

    def spy(app: Any, environ: dict[str, Any], start_response: Any) -> Any:
        asked.append(environ["PATH_INFO"])
        return call(app, environ, start_response)

    monkeypatch.setattr(falcon.App, "__call__", spy)
    return asked


def ask(service: Service, body: bytes, **variables: str) -> tuple[str, dict[str, str], bytes]:
    answered: list[Any] = []
    parts = create_app(service)(
        wsgi_environ(body, **variables), lambda status, headers: answered.extend((status, dict(headers)))
    )
    return answered[0], answered[1], b"".join(parts)


@pytest.mark.parametrize("body", [GRANTED, REFUSED, b"", b"\x30\x82garbage", bytes(LIMIT)])
@pytest.mark.parametrize("given", ["", "client-7", "two words", "x" * 200])
def test_both_ways_answer_alike(service: Service, framework: list[str], body: bytes, given: str) -> None:
    usual = ask(service, body, HTTP_X_REQUEST_ID=given)
    assert framework == []
    routed = ask(service, body, HTTP_X_REQUEST_ID=given, PATH_INFO=ROUTE + "/")
    assert framework == [ROUTE + "/"]
    assert usual[0] == routed[0]
    ids = usual[1].pop("x-request-id"), routed[1].pop("x-request-id")
    assert (ids == (given, given)) is (given == "client-7")
    assert all(ids)
    assert abs(int(usual[1].pop("content-length")) - int(routed[1].pop("content-length"))) < 5  # the signature's
    assert usual[1] == routed[1]
    if body != GRANTED:
        assert usual[2] == routed[2]


@pytest.mark.parametrize(
    "variables",
    [
        {"REQUEST_METHOD": "GET"},
        {"PATH_INFO": "/tsa/default"},
        {"CONTENT_TYPE": "application/json"},
        {"CONTENT_TYPE": QUERY + "; charset=binary"},
        {"CONTENT_LENGTH": ""},
        {"CONTENT_LENGTH": "-1"},
        {"CONTENT_LENGTH": "٣"},
        {"CONTENT_LENGTH": "9" * 5000},
        {"CONTENT_LENGTH": str(LIMIT + 1)},
        {"HTTP_ORIGIN": "https://example.com"},
    ],
)
def test_whatever_differs_is_the_frameworks(service: Service, framework: list[str], variables: dict[str, str]) -> None:
    ask(service, GRANTED, **variables)
    assert len(framework) == 1


@pytest.mark.parametrize("settings", [{"rejections": "sigstore"}, {"http_ping_only": True, "schemes": ["https"]}])
def test_so_is_all_when_settings_make_replies_unusual(
    framework: list[str], settings: dict[str, Any], tmp_path: Any
) -> None:
    if "schemes" in settings:
        settings = {**settings, "tls_certificate": tmp_path / "c.pem", "tls_key": tmp_path / "k.pem"}
    with open_service(**settings) as service:
        status, _, _ = ask(service, REFUSED)
    assert status.startswith("40")
    assert len(framework) == 1


def test_plugins_read_the_same_headers(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str | None]] = []
    respond = type(service.authority).respond

    def spy(authority: Any, body: bytes, context: Any, trace: Any = None) -> Any:
        seen.append([context.header(name) for name in ("X-Forwarded-For", "content-type", "Content-Length", "Nope")])
        return respond(authority, body, context, trace)

    monkeypatch.setattr(type(service.authority), "respond", spy)
    for path in (ROUTE, ROUTE + "/"):
        ask(service, GRANTED, PATH_INFO=path, HTTP_X_FORWARDED_FOR="198.51.100.7")
    assert seen == [["198.51.100.7", QUERY, str(len(GRANTED)), None]] * 2
