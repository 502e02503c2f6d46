"""The demands of tsa-core on every routes plugin, and what each request is answered."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates
from cryptography.x509 import load_pem_x509_certificates

from tsa_authenticode import plugin as authenticode_plugin
from tsa_authenticode.options import AuthenticodeOptions
from tsa_authenticode.request import MAX_VALUE, MIN_VALUE
from tsa_authenticode.routes import MAX_BODY, AuthenticodeRoutes
from tsa_core.api import (
    AuthorityAccess,
    ConfigError,
    Countersigner,
    PKIFailureInfo,
    PluginOptions,
    RequestRejected,
    Route,
    RouteReply,
    RouteRequest,
    new_key,
)
from tsa_core.api.der import OCTET_STRING, SET, explicit, octet_string, oid, sequence, tlv
from tsa_core.testing import FakeSigner, ProviderContract, RoutesContract, SampleAccess, encode_request

TYPE = oid("1.3.6.1.4.1.311.3.2.1")
DATA = oid("1.2.840.113549.1.7.1")
VALUE = bytes(range(256))
OF_SIGNTOOL = """MIIBIwYKKwYBBAGCNwMCATCCARMGCSqGSIb3DQEHAaCCAQQEggEAVVSpOKf9zJYc
tyvqgeHfO9JkobPYihUZcW9TbYzAUiJGEsElNCnLUaO0+MZG0TS7hlzqKKvrdXc7
O/8C7c8YyjYF5YrLiaYS8cw3VbaQ2M1NWsLGzxF1pxsR9sMDJvfrryPaWj4eTi3Y
UqRNS+GTa4quX4xbmB0KqMpCtrvuk4S9cgaJGwxmSE7N3omzvERTUxp7nVSHtms5
lVMb082JFlABT1/o2mL5O6qFG119JeuS1+ZiL1AEy//gRs556OE1TB9UEQU2bFUm
zBD4VHvkOOB/7X944v9lmK5y9sFv+vnf/34catL1A+ZNLwtd1Qq2VirqJxRK/T61
QoSWj4rGpw=="""
"""A request of signtool with an RSA signature of 2048 bits, as several servers' public tests have it."""


def body(value: bytes = VALUE, *, kind: bytes = TYPE, attributes: bytes = b"", content: bytes | None = None) -> bytes:
    inner = sequence(DATA, explicit(0, octet_string(value))) if content is None else content
    return base64.b64encode(sequence(kind, attributes, inner))


ALLOWED: Final[Mapping[str, Any]] = {"paths": {"/authenticode": "default"}}


class TestAuthenticodeProvider(ProviderContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return authenticode_plugin

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return ALLOWED

    @pytest.fixture
    def distribution_name(self) -> str:
        return "tsa-authenticode"


class TestAuthenticodeRoutes(RoutesContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return authenticode_plugin

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return ALLOWED


class Refusing(Countersigner):
    """Refuses in the way that a test sets."""

    algorithm = "rsa-pkcs1v15-sha256"

    def __init__(self, rejection: RequestRejected) -> None:
        self._rejection = rejection

    def countersign(self, content: bytes, request: RouteRequest) -> bytes:
        raise self._rejection


class Refuses(SampleAccess):
    """An authority that makes no countersignatures now."""

    def __init__(self, folder: Path, rejection: RequestRejected) -> None:
        super().__init__(folder)
        self._rejection = rejection

    def countersigner(self, profile: str, *, protocol: str, sha1: bool = False) -> Countersigner:
        return Refusing(self._rejection)


Post = Callable[..., RouteReply]


def opened(access: AuthorityAccess, **options: Any) -> Sequence[Route]:
    routes = AuthenticodeRoutes(AuthenticodeOptions.model_validate(options or ALLOWED))
    routes.bind(access)
    return routes.routes()


def posted(route: Route, data: bytes, content_type: str = "application/octet-stream") -> RouteReply:
    assert callable(route.answer)
    return route.answer(RouteRequest(method="POST", body=data, content_type=content_type, base_url="http://tsa.test"))


@pytest.fixture
def post(tmp_path: Path) -> Post:
    [route] = opened(SampleAccess(tmp_path))
    return lambda data, *content_type: posted(route, data, *content_type)


@pytest.mark.parametrize(
    "data",
    [
        OF_SIGNTOOL.encode(),
        OF_SIGNTOOL.replace("\n", "\r\n").encode() + b"\r\n",
        OF_SIGNTOOL.replace("\n", "").encode() + b"\x00",
        body(),
        b" \t" + body() + b"\n\n",
        body(bytes(MIN_VALUE)),
        body(bytes(MAX_VALUE)),
        body(attributes=tlv(SET, b"")),
    ],
    ids=["signtool", "crlf", "nul", "plain", "blanks", "smallest", "largest", "attributes"],
)
@pytest.mark.parametrize("content_type", ["application/octet-stream", "", "application/x-www-form-urlencoded"])
def test_what_clients_send_is_countersigned(post: Post, data: bytes, content_type: str, tmp_path: Path) -> None:
    reply = post(data, content_type)
    assert (reply.status, reply.content_type, reply.cache) == (200, "application/octet-stream", "no-store")
    der = base64.b64decode(reply.body, validate=True)
    chain = load_pem_x509_certificates((tmp_path / "chain.pem").read_bytes())
    made = {each.public_bytes(Encoding.DER) for each in load_der_pkcs7_certificates(der)}
    assert made == {each.public_bytes(Encoding.DER) for each in chain[:-1]}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "DER TimeStampRequest"),
        (b"\x00\xff\xfe", "not base64"),
        (b"!!!!", "not base64"),
        (body()[:-1], "not base64"),
        (body() + b"AAAA", "not base64"),
        (b"=" * 1000, "not base64"),
        (base64.b64encode(b"\x30\x84\xff\xff\xff\xff"), "longer than the data"),
        (base64.b64encode(b"\x30\x80\x00\x00"), "indefinite length"),
        (base64.b64encode(base64.b64decode(body()) + b"\x05\x00"), "2 bytes follow it"),
        (body(kind=oid("1.3.6.1.4.1.311.3.2.2")), "the countersignatureType is not 1.3.6.1.4.1.311.3.2.1"),
        (body(kind=octet_string(b"x")), "has the tag 0x04, not 0x06"),
        (body(content=sequence(TYPE, explicit(0, octet_string(VALUE)))), "contentType is not 1.2.840.113549.1.7.1"),
        (body(content=sequence(DATA)), "where a value should begin"),
        (body(content=sequence(DATA, octet_string(VALUE))), "not 0xa0"),
        (body(content=sequence(DATA, explicit(0, sequence()))), "not 0x04"),
        (body(content=sequence(DATA, explicit(0, tlv(OCTET_STRING | 0x20, octet_string(VALUE))))), "not 0x04"),
        (body(content=sequence(DATA, explicit(0, octet_string(VALUE) * 2))), "where none may"),
        (body(content=sequence(DATA, explicit(0, octet_string(VALUE)), DATA)), "where none may"),
        (body(content=sequence(DATA, explicit(0, octet_string(VALUE))) * 2), "where none may"),
        (body(b""), "the content has 0 bytes; the value of a signature has 32 to 2048"),
        (body(bytes(MIN_VALUE - 1)), "the content has 31 bytes"),
        (body(bytes(MAX_VALUE + 1)), "the content has 2049 bytes"),
        (b"A" * MAX_BODY, "the value at byte"),
        (base64.b64encode(b"\x30" * (MAX_BODY // 2)), "bytes follow it"),
    ],
)
def test_garbage_is_400_with_a_reason(post: Post, data: bytes, said: str) -> None:
    reply = post(data)
    assert reply.status == 400
    assert said in reply.body.decode()


@pytest.mark.parametrize("data", [encode_request(b"x"), base64.b64encode(encode_request(b"x"))])
@pytest.mark.parametrize("content_type", ["application/timestamp-query", "application/octet-stream"])
def test_rfc3161_request_is_told_the_right_address(post: Post, data: bytes, content_type: str) -> None:
    reply = post(data, content_type)
    assert reply.status == 400
    assert b"http://tsa.test/api/v1/timestamp (signtool /tr," in reply.body


@pytest.mark.parametrize(
    ("failure", "status", "retry"),
    [
        (PKIFailureInfo.TIME_NOT_AVAILABLE, 503, {"Retry-After": "1"}),
        (PKIFailureInfo.SYSTEM_FAILURE, 503, {"Retry-After": "1"}),
        (PKIFailureInfo.BAD_REQUEST, 403, {}),
        (PKIFailureInfo.UNACCEPTED_POLICY, 403, {}),
    ],
)
def test_refusal_has_a_status_and_its_reason(
    tmp_path: Path, failure: PKIFailureInfo, status: int, retry: dict[str, str]
) -> None:
    [route] = opened(Refuses(tmp_path, RequestRejected(failure, "the reason")))
    reply = posted(route, body())
    assert (reply.status, reply.body, reply.headers) == (status, b"the reason\n", retry)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "no profile is allowed to countersign"),
        ({"paths": {"/a": "x"}, "sha1_paths": {"/a": "x"}}, "the path /a is in paths and in sha1_paths"),
        ({"paths": ["/a"]}, "valid dictionary"),
    ],
)
def test_settings_that_say_nothing_or_contradict(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AuthenticodeOptions.model_validate(options)


def test_default_digest_is_sha256_and_sha1_only_where_it_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    access = SampleAccess(tmp_path, FakeSigner(new_key("rsa-2048")))
    with caplog.at_level(logging.WARNING):
        plain, weak = opened(access, paths={"/a": "default"}, sha1_paths={"/a/sha1": "default"})
    digests = [bytes.fromhex(each) for each in ("608648016503040201", "2b0e03021a")]
    found = [base64.b64decode(posted(route, body()).body) for route in (plain, weak)]
    assert [[digest in der.split(VALUE)[0] for digest in digests] for der in found] == [[True, False], [False, True]]
    [line] = caplog.messages
    assert line.startswith("/a/sha1 makes SHA-1 countersignatures with the profile 'default': SHA-1 is broken")


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("ecdsa-p256", {"paths": {"/a": "other"}}, r'routes.authenticode.paths."/a": there is no profile'),
        ("ecdsa-p256", {"paths": {"a": "default"}}, r'routes.authenticode.paths."a": \'a\' cannot be a path'),
        ("ecdsa-p256", {"sha1_paths": {"/a": "default"}}, r'routes.authenticode.sha1_paths."/a": .*takes an RSA key'),
        ("ed25519", {"paths": {"/a": "default"}}, "signs with ed25519; the clients of this protocol verify RSA"),
        ("ml-dsa-44", {"paths": {"/a": "default"}}, "signs with ml-dsa-44"),
    ],
)
def test_what_cannot_work_is_found_at_start(tmp_path: Path, kind: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        opened(SampleAccess(tmp_path, FakeSigner(new_key(kind))), **options)


def test_options_are_the_plugins() -> None:
    [provider] = authenticode_plugin.tsa_routes()
    assert issubclass(provider.options, PluginOptions)
    assert isinstance(provider.open(AuthenticodeOptions(paths={"/a": "b"})), AuthenticodeRoutes)
