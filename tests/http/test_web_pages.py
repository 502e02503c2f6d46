"""What a browser gets: /, /docs, /openapi.json; and browsers on other sites (CORS)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import import_module

import pytest

from tests.serving import Parts, Server, TestSigner, TestSink, running_server
from tsa_core.api import AuditError
from tsa_core.http.openapi import openapi_document
from tsa_core.protocol.hashes import SHA256
from tsa_core.protocol.request import encode_request
from tsa_core.testing import FakeMonitor

REQUEST = encode_request(algorithm=SHA256, digest=bytes(32), nonce=1, cert_req=True)
PAGES = ["/", "/docs", "/docs/"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


class _Outline(HTMLParser):
    """Collects the tags and their attributes, and complains of what is not closed."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes something else"


@pytest.mark.parametrize("path", PAGES)
def test_a_page_needs_no_script_and_nothing_from_elsewhere(server: Server, path: str) -> None:
    reply = server.request("GET", path)
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    outline = _Outline(reply.body.decode())
    assert not outline.open
    tags = {tag for tag, _ in outline.seen}
    assert not tags & {"script", "link", "img", "iframe", "form"}
    assert {"main", "h1", "title"} <= tags
    assert dict(outline.seen)["html"] == {"lang": "en"}
    links = [str(attributes["href"]) for tag, attributes in outline.seen if tag == "a"]
    assert links
    assert not [link for link in links if "//" in link]
    style = re.search(r"<style>(.*?)</style>", reply.body.decode(), re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = reply.headers["content-security-policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert server.request("HEAD", path).body == b""
    assert server.request("POST", path).status == (415 if path == "/" else 405)


def test_the_landing_page_says_who_signs_and_how_to_ask(server: Server) -> None:
    page = server.request("GET", "/").body.decode()
    host, port = server.address
    assert f"http://{host}:{port}/api/v1/timestamp -o response.tsr" in page
    assert "openssl ts -verify" in page
    assert "1.3.6.1.4.1.57264.2" in page
    assert "It issues timestamps." in page
    assert "No monitor watches the clock" in page


def test_the_commands_of_the_landing_page_are_the_ones_that_work(server: Server) -> None:
    """awk's $0 survives the template."""
    page = server.request("GET", "/").body.decode()
    assert "pem = pem $0" in page


@pytest.mark.parametrize(
    "host",
    [
        "<script>alert(1)</script>",
        '"onmouseover="x',
        "a b",
        "evil.example/path",
        "x" * 300,
        "user@evil.example",
        "-xyzzy",
    ],
)
def test_a_host_that_is_none_never_reaches_the_page(server: Server, host: str) -> None:
    reply = server.request("GET", "/", headers={"Host": host})
    if reply.status == 400:
        return
    page = reply.body.decode()
    assert host not in page
    assert "http://this-server/api/v1/timestamp" in page
    assert reply.headers["cache-control"] == "no-store"


def test_a_host_that_is_one_is_what_the_client_sees(server: Server) -> None:
    for host in ("tsa.example", "tsa.example:8443", "[2001:db8::1]:80"):
        assert f"http://{host}/api/v1/timestamp" in server.request("GET", "/", headers={"Host": host}).body.decode()


def test_public_url_is_believed_instead_of_the_host() -> None:
    with running_server(public_url="https://time.example/tsa/") as server:
        page = server.request("GET", "/", headers={"Host": "other.example"}).body.decode()
    assert "https://time.example/tsa/api/v1/timestamp" in page
    assert "other.example" not in page


def test_the_landing_page_says_when_it_cannot_issue() -> None:
    with running_server(Parts(monitors=[FakeMonitor(trusted=False, reason="off by an hour")])) as server:
        page = server.request("GET", "/").body.decode()
    assert "It cannot issue timestamps now." in page
    assert "The clock cannot be trusted now." in page
    assert "off by an hour" not in page


def test_the_landing_page_says_what_stops_tokens_in_no_words_of_a_plugin() -> None:
    sink = TestSink()
    with running_server(Parts(sinks=[sink])) as server:
        assert 'class="state good">It issues timestamps.' in server.request("GET", "/").body.decode()
        sink.failure = AuditError("token s.secret")
        server.post(REQUEST)
        page = server.request("GET", "/").body.decode()
        assert 'class="state bad">It cannot issue timestamps now. The audit trail takes no records.' in page
        assert "secret" not in page
        assert not _Outline(page).open
        sink.failure = None
        server.post(REQUEST)
        assert "It issues timestamps." in server.request("GET", "/").body.decode()


def test_the_landing_page_says_which_profiles_issue() -> None:
    signers = {"p256": TestSigner(), "ed25519": TestSigner("ed25519")}
    with running_server(Parts(signers=signers), profiles={"other": {"signer": "test:ed25519"}}) as server:
        signers["ed25519"].go_down()
        server.post(REQUEST, path="/tsa/other")
        page = server.request("GET", "/").body.decode()
    assert "Some of its profiles cannot issue now. The signer cannot sign." in page
    assert "other</a><br>cannot issue now</td>" in page
    assert "default</a></td>" in page


@pytest.mark.package("openapi_spec_validator")
def test_swagger_has_the_references_routes_and_ids(server: Server) -> None:
    document = server.request("GET", "/swagger.json").json
    validator = import_module("openapi_spec_validator")
    validator.validate(document, cls=validator.OpenAPIV2SpecValidator)
    operations = {path: each["operationId"] for path, item in document["paths"].items() for each in item.values()}
    assert operations == {
        "/api/v1/timestamp": "getTimestampResponse",
        "/api/v1/timestamp/certchain": "getTimestampCertChain",
    }
    described = openapi_document()
    validator.validate(described, cls=validator.OpenAPIV31SpecValidator)
    for path, operation in operations.items():
        assert operation in {each["operationId"] for each in described["paths"][path].values()}


def test_openapi_describes_every_route(server: Server) -> None:
    reply = server.request("GET", "/openapi.json")
    assert reply.headers["content-type"] == "application/json"
    assert reply.json == openapi_document()
    for path in reply.json["paths"]:
        assert server.request("GET", path.replace("{profile}", "default")).status in {200, 405}


def test_docs_shows_every_operation(server: Server) -> None:
    page = server.request("GET", "/docs").body.decode()
    for path, operations in openapi_document()["paths"].items():
        for operation in operations.values():
            assert path in page
            assert f'id="{operation["operationId"]}"' in page


# -- other origins ----------------------------------------------------------------------------------------------


def preflight(server: Server, method: str, headers: str) -> dict[str, str]:
    reply = server.request(
        "OPTIONS",
        "/api/v1/timestamp",
        headers={
            "Origin": "https://a.example",
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": headers,
        },
    )
    assert reply.status == 204
    assert reply.body == b""
    return {name: value for name, value in reply.headers.items() if name.startswith("access-control")}


def test_a_preflight_is_204_and_allows_what_the_reference_does(server: Server) -> None:
    allowed = preflight(server, "POST", "Content-Type, accept, x-requested-with")
    assert allowed["access-control-allow-origin"] == "*"
    assert set(allowed["access-control-allow-methods"].split(", ")) == {"GET", "POST", "HEAD"}
    assert set(allowed["access-control-allow-headers"].split(", ")) == {"accept", "content-type", "x-requested-with"}
    assert preflight(server, "DELETE", "") == {}
    assert preflight(server, "POST", "authorization") == {}


def test_replies_may_be_read_by_every_site_and_say_so_only_when_asked(server: Server) -> None:
    headers = {"Content-Type": "application/timestamp-query"}
    plain = server.request("POST", "/api/v1/timestamp", REQUEST, headers)
    assert "access-control-allow-origin" not in plain.headers
    asked = server.request("POST", "/api/v1/timestamp", REQUEST, {**headers, "Origin": "https://a.example"})
    assert asked.headers["access-control-allow-origin"] == "*"
    assert asked.status == 200
    assert server.request("GET", "/nowhere", headers={"Origin": "null"}).headers["access-control-allow-origin"] == "*"


def test_a_cache_does_not_give_a_page_the_reply_to_another_origin(server: Server) -> None:
    for origin in ({}, {"Origin": "https://a.example"}):
        assert server.request("GET", "/api/v1/timestamp/certchain", headers=origin).headers["vary"] == "Origin"


def test_options_without_a_preflight_lists_the_methods(server: Server) -> None:
    reply = server.request("OPTIONS", "/api/v1/timestamp")
    assert "POST" in reply.headers["allow"]
