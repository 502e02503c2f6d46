"""What happens to a transit key, a token and a server while the signer is in use."""

from __future__ import annotations

import http.server
import itertools
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest
import requests

from tsa_backends.openbao import ROOT_TOKEN, OpenBao
from tsa_core.api import ConfigError, Signer, SignerError, SignerUnavailable
from tsa_core.testing import check_token, issue_token, wait_until
from tsa_signer_hashivault.options import TransitOptions
from tsa_signer_hashivault.plugin import tsa_signers
from tsa_signer_hashivault.vault_http import Session, VaultRefusal
from tsa_signer_hashivault.vault_tokens import Tokens

MESSAGE = b"a message"
POLICY = """
path "transit/keys/{key}" {{ capabilities = ["read"] }}
path "transit/sign/{key}/*" {{ capabilities = ["update"] }}
"""


def assert_signs(signer: Signer) -> None:
    signature = signer.sign(MESSAGE, timeout=5)
    assert signer.algorithm.is_valid(signer.public_key, signature, MESSAGE)


# -- the key ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rsa-2048", "rsa-4096"])
def test_pss_signs_with_the_salt_that_cms_announces(
    openbao: OpenBao, open_signer: Callable[..., Signer], kind: str, tmp_path: Path
) -> None:
    signer = open_signer(openbao.make_key(f"pss-{kind}", kind), rsa_pss=True, signature_digest="sha512")
    assert signer.algorithm.name == "rsa-pss-sha512"
    assert_signs(signer)
    check_token(issue_token(signer, tmp_path), signer, tmp_path)


@pytest.mark.parametrize("kind", ["aes256-gcm96", "chacha20-poly1305", "hmac"])
def test_a_key_that_cannot_sign_is_refused_and_named(
    openbao: OpenBao, open_signer: Callable[..., Signer], kind: str
) -> None:
    key = openbao.make_key(f"refused-{kind}", kind, **({"key_size": 32} if kind == "hmac" else {}))
    with pytest.raises(ConfigError, match=rf"transit/keys/{key} is of type {kind}.*create one of ecdsa-p256") as caught:
        open_signer(key)
    assert "\n" not in str(caught.value)


def test_a_derived_key_is_refused(openbao: OpenBao, open_signer: Callable[..., Signer]) -> None:
    with pytest.raises(ConfigError, match="derived"):
        open_signer(openbao.make_key("derived", "ed25519", derived=True))


def test_pss_with_a_key_that_is_not_rsa_is_refused(openbao: OpenBao, open_signer: Callable[..., Signer]) -> None:
    with pytest.raises(ConfigError, match=r"transit/keys/no-pss: RSA-PSS was asked for, but the key is EC secp256r1"):
        open_signer(openbao.make_key("no-pss"), rsa_pss=True)


def test_a_key_that_is_not_there_is_named(open_signer: Callable[..., Signer]) -> None:
    with pytest.raises(SignerError, match="transit/keys/absent: not found; make the key first"):
        open_signer("absent")


def test_a_deleted_key_stops_signing(openbao: OpenBao, open_signer: Callable[..., Signer]) -> None:
    key = openbao.make_key("deleted")
    signer = open_signer(key)
    openbao.call("POST", f"transit/keys/{key}/config", {"deletion_allowed": True})
    openbao.call("DELETE", f"transit/keys/{key}")
    with pytest.raises(SignerError, match="signing key not found"):
        signer.sign(MESSAGE, timeout=5)


# -- the token --------------------------------------------------------------------------------------------------------


def test_the_documented_policy_is_enough(openbao: OpenBao, open_signer: Callable[..., Signer]) -> None:
    key = openbao.make_key("policy")
    assert_signs(open_signer(key, token=openbao.make_token(POLICY.format(key=key))))


def test_a_missing_permission_is_named(openbao: OpenBao, open_signer: Callable[..., Signer]) -> None:
    key = openbao.make_key("denied")
    token = openbao.make_token(f'path "transit/keys/{key}" {{ capabilities = ["read"] }}')
    signer = open_signer(key, token=token)
    with pytest.raises(
        SignerError, match=rf'path "transit/sign/{key}/sha2-256" {{ capabilities = \["update"\] }}'
    ) as e:
        signer.sign(MESSAGE, timeout=5)
    assert not isinstance(e.value, SignerUnavailable)
    assert token not in str(e.value)
    with pytest.raises(SignerError, match=r'path "transit/keys/denied" { capabilities = \["read"\] }'):
        open_signer(key, token=openbao.make_token('path "transit/keys/other" { capabilities = ["read"] }'))


def test_a_token_that_an_agent_replaced_is_read_again(
    openbao: OpenBao, open_signer: Callable[..., Signer], tmp_path: Path
) -> None:
    key = openbao.make_key("agent")
    path = tmp_path / "token"
    first, second = openbao.make_token(POLICY.format(key=key)), openbao.make_token(POLICY.format(key=key))
    path.write_text(first)
    signer = open_signer(key, token=None, token_file=path)
    assert_signs(signer)
    openbao.call("POST", "auth/token/revoke", {"token": first})
    with pytest.raises(SignerError, match="permission denied"):
        signer.sign(MESSAGE, timeout=5)
    path.write_text(second)
    assert_signs(signer)


def test_a_renewable_token_is_renewed(openbao: OpenBao, open_signer: Callable[..., Signer]) -> None:
    key = openbao.make_key("renewed")
    token = openbao.make_token(POLICY.format(key=key), ttl="5s", explicit_max_ttl="1h", renewable=True)
    signer = open_signer(key, token=token)

    def renewed() -> bool:
        assert_signs(signer)
        return "last_renewal" in openbao.call("POST", "auth/token/lookup", {"token": token})

    wait_until(renewed, seconds=60, what="the token is renewed")
    assert_signs(signer)


def test_a_token_that_cannot_be_renewed_any_more_is_an_error_in_the_log_once(
    openbao: OpenBao, open_signer: Callable[..., Signer], caplog: pytest.LogCaptureFixture
) -> None:
    key = openbao.make_key("revoked")
    token = openbao.make_token(POLICY.format(key=key), ttl="2s", renewable=True)
    open_signer(key, token=token)
    openbao.call("POST", "auth/token/revoke", {"token": token})
    (thread,) = (t for t in threading.enumerate() if t.name == "vault-token-renewal" and t.is_alive())
    thread.join(timeout=20)
    assert not thread.is_alive()
    assert [m for m in caplog.messages if "will not be renewed and must be replaced" in m]
    assert token not in caplog.text


def test_a_token_that_ends_and_cannot_be_renewed_is_warned_of(
    openbao: OpenBao, open_signer: Callable[..., Signer], caplog: pytest.LogCaptureFixture
) -> None:
    key = openbao.make_key("ending")
    open_signer(key, token=openbao.make_token(POLICY.format(key=key), ttl="1h", renewable=False))
    assert re.search(r"the token ends in 3[56]\d\d s and cannot be renewed", caplog.text)


def test_nothing_logs_the_token_even_at_debug(
    openbao: OpenBao, open_signer: Callable[..., Signer], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "urllib3.connectionpool"):
        caplog.set_level(logging.DEBUG, name)  # other tests in this process have kept it quieter
    key = openbao.make_key("logged")
    token = openbao.make_token(POLICY.format(key=key))
    signer = open_signer(key, token=token)
    assert_signs(signer)
    openbao.call("POST", "auth/token/revoke", {"token": token})
    with pytest.raises(SignerError):
        signer.sign(MESSAGE, timeout=5)
    assert "urllib3" in caplog.text
    assert token not in caplog.text
    assert token not in repr(signer)


# -- the server -------------------------------------------------------------------------------------------------------


def test_tls_is_checked_against_the_given_ca(tmp_path: Path) -> None:
    server = OpenBao(tmp_path, tls=True)
    server.start()
    (provider,) = (p for p in tsa_signers() if p.name == "openbao")
    table = {"uri": f"openbao://{server.make_key('tls')}", "address": server.address, "token": ROOT_TOKEN}
    try:
        with pytest.raises(SignerError, match=r"TLS failed.*check ca_file"):
            provider.open(TransitOptions.model_validate(table))
        signer = provider.open(TransitOptions.model_validate({**table, "ca_file": server.ca_file}))
        assert_signs(signer)
        signer.close()
    finally:
        server.process.stop()


def test_a_sealed_server_is_unavailable(tmp_path: Path) -> None:
    server = OpenBao(tmp_path)
    server.start()
    (provider,) = (p for p in tsa_signers() if p.name == "openbao")
    table = {"uri": f"openbao://{server.make_key('sealed')}", "address": server.address, "token": ROOT_TOKEN}
    signer = provider.open(TransitOptions.model_validate(table))
    try:
        server.call("PUT", "sys/seal")
        with pytest.raises(SignerUnavailable, match="sealed"):
            signer.sign(MESSAGE, timeout=2)
    finally:
        signer.close()
        server.process.stop()


@pytest.mark.parametrize("headers", [False, True])
def test_all_get_their_signatures_under_a_quota_that_their_time_has_room_for(
    openbao: OpenBao, open_signer: Callable[..., Signer], headers: bool
) -> None:
    mount = f"quota-{headers}"
    openbao.call("POST", f"sys/mounts/{mount}", {"type": "transit"})
    openbao.call("POST", f"{mount}/keys/tsa", {"type": "ecdsa-p256"})
    signer = open_signer("tsa", mount=mount)
    openbao.call("POST", "sys/quotas/config", {"enable_rate_limit_response_headers": headers})
    openbao.call("POST", f"sys/quotas/rate-limit/{mount}", {"path": mount, "rate": 10, "interval": "1s"})
    with ThreadPoolExecutor(20) as pool:
        signatures = list(pool.map(lambda _: signer.sign(MESSAGE, timeout=60), range(20)))
    assert all(signer.algorithm.is_valid(signer.public_key, signature, MESSAGE) for signature in signatures)
    # All of this second's signatures were made: a budget that has no room for the next second is used up to its end.
    with ThreadPoolExecutor(20) as pool:
        failed = list(pool.map(lambda _: _failure(signer, 0.5), range(20)))
    assert any("rate limit quota exceeded" in text and "; tried " in text for text in failed)


def _failure(signer: Signer, timeout: float) -> str:
    try:
        signer.sign(MESSAGE, timeout=timeout)
    except SignerUnavailable as error:
        return str(error)
    return ""


class Impostor(http.server.BaseHTTPRequestHandler):
    """Passes requests on to the real server and falsifies what comes back."""

    real: ClassVar[OpenBao]
    falsify: ClassVar[Callable[[dict[str, Any]], dict[str, Any]]]

    def do_GET(self) -> None:
        self._answer("GET", None)

    def do_POST(self) -> None:
        self._answer("POST", json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, method: str, body: Any) -> None:
        data = self.real.call(method, self.path.removeprefix("/v1/"), body)
        text = json.dumps({"data": type(self).falsify(data) if method == "POST" else data}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def serve() -> Iterator[Callable[[type[http.server.BaseHTTPRequestHandler]], str]]:
    """Run HTTP servers with given handlers; the function returns the address."""
    running: list[tuple[http.server.HTTPServer, threading.Thread]] = []

    def start(handler: type[http.server.BaseHTTPRequestHandler]) -> str:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_standbys_redirect_to_the_active_node_is_followed(
    openbao: OpenBao,
    open_signer: Callable[..., Signer],
    serve: Callable[[type[http.server.BaseHTTPRequestHandler]], str],
) -> None:
    class Standby(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(307)
            self.send_header("Location", openbao.address + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    assert_signs(open_signer(openbao.make_key("redirected"), address=serve(Standby)))


def test_a_time_limit_is_over_all_redirects(
    open_signer: Callable[..., Signer],
    serve: Callable[[type[http.server.BaseHTTPRequestHandler]], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Circle(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(307)
            self.send_header("Location", self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    given: list[float] = []
    send = requests.adapters.HTTPAdapter.send

    def noting(adapter: Any, *arguments: Any, **settings: Any) -> requests.Response:
        given.append(settings["timeout"].total)
        return send(adapter, *arguments, **settings)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", noting)
    with pytest.raises(SignerError, match="TooManyRedirects"):
        open_signer("circle", address=serve(Circle))
    assert len(given) > 10
    assert all(later < former for former, later in itertools.pairwise(given))


def test_a_redirect_out_of_tls_is_not_followed() -> None:
    answer = requests.Response()
    answer.url = "https://vault.example.org/v1/transit/sign/tsa"
    onward = requests.Request("POST", "http://vault.example.org/v1/transit/sign/tsa").prepare()
    with pytest.raises(requests.exceptions.InvalidURL, match="from https to http"):
        Session().rebuild_auth(onward, answer)


@pytest.mark.parametrize(
    ("falsify", "problem"),
    [
        (lambda data: {"signature": data["signature"].replace(":v1:", ":v2:")}, "version 1 was asked.*'v2' answered"),
        (lambda data: {"signature": "vault:v1:%%%"}, "not base64"),
        (lambda data: {"signature": "vault:v1:\u00e9"}, "not base64"),
        (lambda data: {"unrelated": 1}, "version 1 was asked"),
        (lambda data: {}, "is not a Vault server's"),
    ],
)
def test_an_answer_that_is_not_the_pinned_keys_is_refused(
    openbao: OpenBao,
    open_signer: Callable[..., Signer],
    serve: Callable[[type[http.server.BaseHTTPRequestHandler]], str],
    falsify: Callable[[dict[str, Any]], dict[str, Any]],
    problem: str,
) -> None:
    handler = type("Falsifier", (Impostor,), {"real": openbao, "falsify": staticmethod(falsify)})
    signer = open_signer(openbao.make_key("impostor"), address=serve(handler), renew_token=False)
    with pytest.raises(SignerError, match=problem):
        signer.sign(MESSAGE, timeout=5)


def test_a_refused_token_is_replaced_within_what_is_left_of_the_time(
    openbao: OpenBao,
    open_signer: Callable[..., Signer],
    serve: Callable[[type[http.server.BaseHTTPRequestHandler]], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Refusing(Impostor):
        real = openbao

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            threading.Event().wait(0.5)
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()

    given: list[float] = []

    def replaced(_: Tokens, refused: str, refusal: VaultRefusal, seconds: float) -> bool:
        given.append(seconds)
        return False

    monkeypatch.setattr(Tokens, "replaced", replaced)
    signer = open_signer(openbao.make_key("refusing"), address=serve(Refusing), renew_token=False)
    with pytest.raises(SignerError, match="permission denied"):
        signer.sign(MESSAGE, timeout=60)
    assert len(given) == 1
    assert given[0] <= 59.5
