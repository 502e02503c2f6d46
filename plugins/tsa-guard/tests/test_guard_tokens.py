"""Bearer tokens: only those of the provider, for us, now; and keys that are replaced while the guard runs."""

from __future__ import annotations

import base64
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tsa_core.api import ConfigError, GuardRefusal, Identity, UnavailableError
from tsa_core.testing import ends_within, shared_key, wait_until
from tsa_guard import bearer
from tsa_guard.guard import open_guard
from tsa_guard.options import GuardOptions

from .test_guard_keys import ask, opened, refusal

ISSUER, AUDIENCE = "https://login.example.org/", "timestamps"
KEYS = {"first": ("ecdsa-p256", "ES256"), "second": ("rsa-2048", "RS256"), "third": ("ed25519", "EdDSA")}


def public_keys(*names: str) -> bytes:
    found = []
    for name in names:
        kind, algorithm = KEYS[name]
        public: Any = shared_key(kind).public_key()
        document = jwt.get_algorithm_by_name(algorithm).to_jwk(public, as_dict=True)
        found.append({**document, "kid": name, "use": "sig", "alg": algorithm})
    return json.dumps({"keys": found}).encode()


def token(name: str = "first", *, headers: dict[str, Any] | None = None, **claims: Any) -> str:
    kind, algorithm = KEYS[name]
    now = int(time.time())
    all_claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": now + 600, "sub": "build server", "org": "acme", **claims}
    private: Any = shared_key(kind)
    present = {claim: value for claim, value in all_claims.items() if value is not None}
    return jwt.encode(present, private, algorithm=algorithm, headers={"kid": name, **(headers or {})})


def table(path: Path | None = None, **more: Any) -> dict[str, Any]:
    source = {"jwks": str(path)} if path else {}
    return {"jwt": {"issuer": ISSUER, "audience": AUDIENCE, **source, **more}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "jwks.json"
    made.write_bytes(public_keys(*KEYS))
    return made


@pytest.mark.parametrize("name", KEYS)
def test_a_token_of_the_provider(name: str, path: Path) -> None:
    with opened(**table(path)) as guard:
        for _ in range(2):
            answer = ask(guard, Authorization=f"Bearer {token(name)}")
            assert answer == Identity(name="build server", how="jwt")


@pytest.mark.parametrize("expires", ["8589934592", 8589934592.5], ids=["text", "fraction"])
def test_a_time_that_is_no_whole_number_counts_each_time(expires: object, path: Path) -> None:
    with opened(**table(path)) as guard:
        sent = token(exp=expires)
        for _ in range(2):
            assert ask(guard, Authorization=f"Bearer {sent}") == Identity(name="build server", how="jwt")


def test_a_claim_names_the_tenant(path: Path) -> None:
    settings = {**table(path, tenant_claim="org"), "tenants": {"acme": {"profiles": ["default"]}}}
    with opened(**settings) as guard:
        answer = ask(guard, Authorization=f"Bearer {token()}")
        assert answer == Identity(name="build server", tenant="acme", how="jwt", profiles=frozenset({"default"}))
        refusal(ask(guard, Authorization=f"Bearer {token(org='other')}"), 403)
        refusal(ask(guard, Authorization=f"Bearer {token(org=None)}"), 401)


def forged() -> str:
    """A token whose signature is made with the public key as a shared secret (RFC 8725 2.1)."""
    parts = (
        {"alg": "HS256", "kid": "first"},
        {"iss": ISSUER, "aud": AUDIENCE, "exp": 2**33, "sub": "x"},
    )
    text = ".".join(encoded(json.dumps(part).encode()) for part in parts)
    pem = shared_key("ecdsa-p256").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return f"{text}.{encoded(hmac.digest(pem, text.encode(), 'sha256'))}"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "bad",
    [
        lambda: token(exp=int(time.time()) - 60),
        lambda: token(exp=None),
        lambda: token(nbf=int(time.time()) + 600),
        lambda: token(iss="https://evil.example.org/"),
        lambda: token(iss=None),
        lambda: token(aud="somebody else"),
        lambda: token(aud=None),
        lambda: token(sub=None),
        lambda: token(sub="a\nb"),
        lambda: token(sub=7),
        lambda: token("second", headers={"kid": "first"}),
        lambda: token(headers={"kid": "unknown"}),
        lambda: token()[:-4] + "AAAA",
        lambda: token().rpartition(".")[0] + ".",
        lambda: jwt.encode({"iss": ISSUER, "aud": AUDIENCE, "exp": 2**33, "sub": "x"}, "", "none"),
        forged,
        lambda: "a.b.c",
        lambda: encoded(b"[" * 5000) + ".e30.e30",
        lambda: encoded(b'{"a":' * 800) + ".e30.e30",
        lambda: token(exp="soon"),
        lambda: encoded(b'{"alg":"ES256","kid":["first"]}') + ".e30.AAAA",
        lambda: "....",
        lambda: "x" * 9000,
    ],
    ids=lambda _: "",
)
def test_no_other_token_counts(bad: Any, path: Path) -> None:
    text = bad()
    with opened(**table(path)) as guard:
        said = refusal(ask(guard, Authorization=f"Bearer {text}"), 401)
        assert text not in said


def test_only_the_algorithms_of_the_settings(path: Path) -> None:
    with opened(**table(path, algorithms=["RS256"])) as guard:
        assert isinstance(ask(guard, Authorization=f"Bearer {token('second')}"), Identity)
        refusal(ask(guard, Authorization=f"Bearer {token('first')}"), 401)


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS256", "PS384"])
def test_an_rsa_key_that_names_no_algorithm_is_for_those_of_the_settings(algorithm: str, tmp_path: Path) -> None:
    """`alg` is optional (RFC 7517 4.4), and many providers leave it out."""
    document = json.loads(public_keys("second"))
    del document["keys"][0]["alg"]
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(document))
    now = int(time.time())
    private: Any = shared_key("rsa-2048")
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": now + 600, "sub": "build server"}
    sent = f"Bearer {jwt.encode(claims, private, algorithm=algorithm, headers={'kid': 'second'})}"
    with opened(**table(path, algorithms=[algorithm])) as guard:
        assert isinstance(ask(guard, Authorization=sent), Identity)
    with opened(**table(path, algorithms=["ES256"])) as guard:
        refusal(ask(guard, Authorization=sent), 401)
    path.write_bytes(public_keys("second"))
    with opened(**table(path)) as guard:
        assert isinstance(ask(guard, Authorization=sent), Identity) is (algorithm == "RS256"), "the key names RS256"


def test_a_key_for_encryption_verifies_nothing(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    document = json.loads(public_keys("first", "second"))
    document["keys"][0]["use"] = "enc"
    path.write_text(json.dumps(document))
    with opened(**table(path)) as guard:
        refusal(ask(guard, Authorization=f"Bearer {token('first')}"), 401)
        assert isinstance(ask(guard, Authorization=f"Bearer {token('second')}"), Identity)


class _Provider:
    """An identity provider's address on this machine."""

    def __init__(self) -> None:
        self.body = public_keys("first")
        self.status = 200
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(provider.status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(provider.body)))
                self.end_headers()
                self.wfile.write(provider.body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/jwks"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def provider() -> Iterator[_Provider]:
    made = _Provider()
    yield made
    made.close()


def test_keys_from_an_address_are_replaced_while_it_runs(provider: _Provider, caplog: pytest.LogCaptureFixture) -> None:
    with opened(**table(jwks_url=provider.url, refresh="1s")) as guard:
        first, second = token("first"), token("second")
        assert isinstance(ask(guard, Authorization=f"Bearer {first}"), Identity)
        refusal(ask(guard, Authorization=f"Bearer {second}"), 401)
        provider.status = 500
        wait_until(lambda: "stay as they were" in caplog.text, seconds=60, what="the log says it")
        assert isinstance(ask(guard, Authorization=f"Bearer {first}"), Identity)
        provider.body, provider.status = public_keys("second"), 200
        wait_until(
            lambda: isinstance(ask(guard, Authorization=f"Bearer {second}"), Identity),
            seconds=60,
            what="the new key counts",
        )
        refusal(ask(guard, Authorization=f"Bearer {first}"), 401)


def test_who_forges_tokens_makes_the_server_check_a_bounded_number(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    decode = jwt.decode

    def counting(text: str, *arguments: Any, **named: Any) -> Any:
        checked.append(text)
        return decode(text, *arguments, **named)

    monkeypatch.setattr(jwt, "decode", counting)
    with opened(**table(path), failed_limits=["3/hour"]) as guard:
        good = token(sub="known before")
        assert isinstance(ask(guard, Authorization=f"Bearer {good}"), Identity)
        statuses = []
        for number in range(10):
            answer = ask(guard, Authorization=f"Bearer {token(aud=str(number))}")
            assert isinstance(answer, GuardRefusal)
            statuses.append(answer.status)
        assert statuses == [401] * 3 + [429] * 7
        assert len(checked) == 1 + 3
        assert isinstance(ask(guard, Authorization=f"Bearer {good}"), Identity)
        refusal(ask(guard, Authorization=f"Bearer {token(sub='new')}"), 429)
        assert isinstance(ask(guard, "192.0.2.7", Authorization=f"Bearer {token(sub='new')}"), Identity)


def test_a_provider_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sends an octet of its head from time to time, so no single wait is too long."""
    monkeypatch.setattr(bearer, "_FETCH_SECONDS", 0.5)
    ended = threading.Event()

    def drip(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not ended.wait(0.05):
                connection.sendall(b"a")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip, args=(listening,))
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        try:
            with ends_within(60), pytest.raises(UnavailableError, match=r"takes longer than 0\.5 s"):
                open_guard(GuardOptions.model_validate(table(jwks_url=url)))
        finally:
            ended.set()
            thread.join(60)


def test_a_name_that_is_never_found_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """No timeout of a socket covers DNS."""
    monkeypatch.setattr(bearer, "_FETCH_SECONDS", 0.2)
    found = threading.Event()

    def look_up(*_: object, **__: object) -> list[object]:
        found.wait(60)
        raise socket.gaierror("not found")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        with ends_within(50), pytest.raises(UnavailableError, match=r"takes longer than 0\.2 s"):
            open_guard(GuardOptions.model_validate(table(jwks_url="https://id.example.org/keys")))
    finally:
        found.set()


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"{}", 200, ConfigError),
        (b"nonsense", 200, ConfigError),
        (b'{"keys": []}', 200, ConfigError),
        (b'{"keys": 7}', 200, ConfigError),
        (b'["keys"]', 200, ConfigError),
        (b'{"keys": [7, {"kty": "RSA"}, {"kty": "EC", "alg": ["ES256"]}]}', 200, ConfigError),
        (b"x" * 300_000, 200, ConfigError),
        (public_keys("first"), 302, UnavailableError),
        (public_keys("first"), 404, UnavailableError),
    ],
)
def test_what_cannot_be_used_at_start_is_one_line(
    provider: _Provider, body: bytes, status: int, error: type[Exception]
) -> None:
    provider.body, provider.status = body, status
    with pytest.raises(error) as caught:
        open_guard(GuardOptions.model_validate(table(jwks_url=provider.url)))
    assert provider.url in str(caught.value)
    assert "\n" not in str(caught.value)
