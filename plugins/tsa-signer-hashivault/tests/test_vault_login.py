"""Logging in to a real OpenBao by AppRole, Kubernetes service account and JWT, and what becomes of the tokens."""

from __future__ import annotations

import base64
import http.server
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tsa_backends.openbao import OpenBao
from tsa_core.api import ConfigError, Signer, SignerError, SignerUnavailable
from tsa_core.testing import wait_until
from tsa_signer_hashivault.kek import open_vault_kek
from tsa_signer_hashivault.options import TransitOptions, VaultKekOptions
from tsa_signer_hashivault.plugin import tsa_signers
from tsa_signer_hashivault.settings import complete
from tsa_signer_hashivault.token_files import read_token

MESSAGE = b"a message"
SECRET = "a-secret-to-search-for-5b1d"
POLICY = """
path "transit/keys/*" { capabilities = ["read"] }
path "transit/sign/*" { capabilities = ["update"] }
path "transit/encrypt/*" { capabilities = ["update"] }
path "transit/decrypt/*" { capabilities = ["update"] }
"""
ISSUER_KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def bao(openbao: OpenBao) -> OpenBao:
    openbao.call("PUT", "sys/policies/acl/tsa", {"policy": POLICY})
    for method in ("approle", "jwt", "kubernetes"):
        openbao.call("POST", f"sys/auth/{method}", {"type": method})
    pem = ISSUER_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    openbao.call("POST", "auth/jwt/config", {"jwt_validation_pubkeys": [pem], "jwt_supported_algs": ["ES256"]})
    role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "policies": ["tsa"]}
    openbao.call("POST", "auth/jwt/role/tsa", role)
    openbao.make_key("login")
    return openbao


@pytest.fixture
def open_signer(bao: OpenBao) -> Iterator[Callable[..., Signer]]:
    opened: list[Signer] = []
    (provider,) = (p for p in tsa_signers() if p.name == "hashivault")

    def open_one(**options: Any) -> Signer:
        table = {"uri": "hashivault://login", "address": bao.address, **options}
        opened.append(provider.open(TransitOptions.model_validate(table)))
        return opened[-1]

    yield open_one
    for signer in opened:
        signer.close()


def signs(signer: Signer) -> bool:
    signature = signer.sign(MESSAGE, timeout=5)
    return signer.algorithm.is_valid(signer.public_key, signature, MESSAGE)


def app_role(bao: OpenBao, name: str, **parameters: Any) -> dict[str, str]:
    """Make an AppRole, and return the settings that log in with it."""
    bao.call("POST", f"auth/approle/role/{name}", {"token_policies": ["tsa"], **parameters})
    return {
        "login": "approle",
        "role_id": bao.call("GET", f"auth/approle/role/{name}/role-id")["role_id"],
        "secret_id": bao.call("POST", f"auth/approle/role/{name}/secret-id", {})["secret_id"],
    }


def accessors(bao: OpenBao) -> set[str]:
    return set(bao.call("LIST", "auth/token/accessors")["keys"])


def make_jwt(*, seconds: float = 60, audience: str = "vault", subject: str = "tsa", begins: float = 0) -> str:
    now = time.time() + begins
    claims = {"sub": subject, "aud": audience, "iat": int(now), "nbf": int(now), "exp": int(now + seconds)}
    text = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in ({"alg": "ES256", "typ": "JWT"}, claims)
    )
    r, s = decode_dss_signature(ISSUER_KEY.sign(text.encode(), ec.ECDSA(SHA256())))
    signature = base64.urlsafe_b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).rstrip(b"=").decode()
    return f"{text}.{signature}"


# -- the three ways ---------------------------------------------------------------------------------------------------


def test_app_role_logs_in_and_the_token_is_given_back_at_the_end(
    bao: OpenBao, open_signer: Callable[..., Signer]
) -> None:
    settings = app_role(bao, "plain")
    before = accessors(bao)
    signer = open_signer(**settings)
    assert signs(signer)
    assert len(accessors(bao) - before) == 1
    signer.close()
    assert accessors(bao) <= before


def test_secret_id_in_a_file_is_read_at_each_login(
    bao: OpenBao, open_signer: Callable[..., Signer], tmp_path: Path
) -> None:
    settings = app_role(bao, "file", secret_id_num_uses=1)
    path = tmp_path / "secret-id"
    path.write_text(settings.pop("secret_id") + "\n")
    before = accessors(bao)
    signer = open_signer(**settings, secret_id_file=path)
    (accessor,) = accessors(bao) - before
    path.write_text(bao.call("POST", "auth/approle/role/file/secret-id", {})["secret_id"])
    bao.call("POST", "auth/token/revoke-accessor", {"accessor": accessor})
    assert signs(signer)


def test_jwt_logs_in_and_is_read_from_its_file_at_each_login(
    bao: OpenBao, open_signer: Callable[..., Signer], tmp_path: Path
) -> None:
    path = tmp_path / "jwt"
    path.write_text(make_jwt())
    assert signs(open_signer(login="jwt", role="tsa", jwt_file=path))
    assert signs(open_signer(login="jwt", role="tsa", jwt=make_jwt()))
    path.write_text(make_jwt(audience="another"))
    with pytest.raises(SignerError, match=r"auth/jwt/login: the login was refused: HTTP 400: .*aud.*is the JWT valid"):
        open_signer(login="jwt", role="tsa", jwt_file=path)


@pytest.mark.parametrize("begins", [-7200, 7200])
def test_jwt_of_another_time_is_refused_with_the_question_for_the_clocks(
    open_signer: Callable[..., Signer], begins: float
) -> None:
    with pytest.raises(SignerError, match="are both machines' clocks right") as caught:
        open_signer(login="jwt", role="tsa", jwt=make_jwt(begins=begins))
    assert "\n" not in str(caught.value)


class ApiServer(http.server.BaseHTTPRequestHandler):
    """The part of a Kubernetes API server that reviews tokens."""

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        good = review["spec"]["token"] == _service_account_token(SECRET)
        user = {"username": "system:serviceaccount:pki:tsa", "uid": "1", "groups": []}
        review["status"] = {"authenticated": good, **({"user": user} if good else {"error": "unknown"})}
        text = json.dumps(review).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def kubernetes(bao: OpenBao) -> Iterator[None]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ApiServer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        config = {
            "kubernetes_host": f"http://127.0.0.1:{server.server_address[1]}",
            "kubernetes_ca_cert": "unused without TLS",
            "token_reviewer_jwt": _service_account_token("reviewer"),
        }
        bao.call("POST", "auth/kubernetes/config", config)
        names = {"bound_service_account_names": ["tsa"], "bound_service_account_namespaces": ["pki"]}
        bao.call("POST", "auth/kubernetes/role/tsa", {**names, "policies": ["tsa"]})
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.usefixtures("kubernetes")
def test_kubernetes_logs_in_with_the_service_accounts_token(open_signer: Callable[..., Signer], tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(_service_account_token(SECRET))
    assert signs(open_signer(login="kubernetes", role="tsa", jwt_file=path))
    path.write_text(_service_account_token("another"))
    with pytest.raises(SignerError, match=r"auth/kubernetes/login: the login was refused: .*may this service account"):
        open_signer(login="kubernetes", role="tsa", jwt_file=path)


def _service_account_token(mark: str) -> str:
    """Return a JWT that the API server, not OpenBao, judges; its claims name the service account."""
    claims = {
        "iss": "kubernetes/serviceaccount",
        "iat": 1700000000,
        "nbf": 1700000000,
        "exp": 4102444800,
        "sub": "system:serviceaccount:pki:tsa",
        "kubernetes.io": {"namespace": "pki", "serviceaccount": {"name": "tsa", "uid": "1"}},
    }
    header = base64.urlsafe_b64encode(json.dumps({"alg": "ES256", "x": mark}).encode()).rstrip(b"=").decode()
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{header}.{body}.AAAA"


# -- the token's life -------------------------------------------------------------------------------------------------


def test_token_that_was_revoked_is_replaced_by_one_login_for_all_threads(
    bao: OpenBao, open_signer: Callable[..., Signer]
) -> None:
    signer = open_signer(**app_role(bao, "revoked"))
    before = accessors(bao)
    bao.call("POST", "auth/token/revoke-accessor", {"accessor": _only(bao, "revoked")})
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(signs(signer))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [True] * 8
    assert len(accessors(bao) - before) == 1


def test_token_that_reaches_its_longest_life_is_replaced_before_it_ends(
    bao: OpenBao, open_signer: Callable[..., Signer], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    signer = open_signer(**app_role(bao, "short", token_ttl="2s", token_max_ttl="3s"))
    wait_until(
        lambda: sum("logged in by approle" in message for message in caplog.messages) > 1,
        seconds=60,
        what="the signer logs in again",
    )
    assert signs(signer)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_login_that_is_refused_later_is_not_asked_for_with_each_request(
    bao: OpenBao, open_signer: Callable[..., Signer]
) -> None:
    settings = app_role(bao, "withdrawn")
    signer = open_signer(**settings)
    accessor = _only(bao, "withdrawn")
    bao.call("DELETE", "auth/approle/role/withdrawn")
    bao.call("POST", "auth/token/revoke-accessor", {"accessor": accessor})
    for _ in range(3):
        with pytest.raises(
            SignerError, match=r"login was refused: HTTP 400.*are role_id and secret_id right"
        ) as caught:
            signer.sign(MESSAGE, timeout=5)
        assert not isinstance(caught.value, SignerUnavailable)
        assert settings["secret_id"] not in str(caught.value)


def test_policy_that_lacks_a_path_is_named_and_causes_no_second_login(
    bao: OpenBao, open_signer: Callable[..., Signer]
) -> None:
    bao.call("PUT", "sys/policies/acl/read-only", {"policy": 'path "transit/keys/*" { capabilities = ["read"] }'})
    before = accessors(bao)
    signer = open_signer(**app_role(bao, "lacking", token_policies=["read-only"]))
    for _ in range(3):
        with pytest.raises(SignerError, match=r'path "transit/sign/login/sha2-256" { capabilities = \["update"\] }'):
            signer.sign(MESSAGE, timeout=5)
    assert len(accessors(bao) - before) == 1


def test_key_encryption_key_logs_in_too(bao: OpenBao) -> None:
    name = bao.make_key("kek-by-login", "aes256-gcm96")
    table = {
        "uri": f"hcvault:///transit/keys/{name}",
        "uri_setting": "signer.tink.key_resource",
        "settings_prefix": "signer.tink.kek.",
        "address": bao.address,
    }
    kek = open_vault_kek(VaultKekOptions.model_validate({**table, **app_role(bao, "kek")}))
    assert kek.decrypt(kek.encrypt(b"a keyset", timeout=5), timeout=5) == b"a keyset"
    kek.close()
    with pytest.raises(ConfigError, match=r"^signer.tink.kek.role_id: login = \"approle\" needs it"):
        open_vault_kek(VaultKekOptions.model_validate({**table, "login": "approle"}))


def _only(bao: OpenBao, role: str) -> str:
    """Return the accessor of the one token that an AppRole got."""
    found = []
    for accessor in accessors(bao):
        token = bao.call("POST", "auth/token/lookup-accessor", {"accessor": accessor})
        if (token.get("meta") or {}).get("role_name") == role:
            found.append(accessor)
    (only,) = found
    return only


# -- settings ---------------------------------------------------------------------------------------------------------


def options(**table: Any) -> TransitOptions:
    return TransitOptions.model_validate({"uri": "hashivault://tsa", "address": "https://v", **table})


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"role_id": "x"}, "role_id: has no effect without login"),
        ({"login": "approle"}, 'role_id: login = "approle" needs it'),
        ({"login": "kubernetes"}, 'role: login = "kubernetes" needs it'),
        ({"login": "kubernetes", "role": "r", "jwt": SECRET}, 'jwt: has no effect with login = "kubernetes"'),
        ({"login": "approle", "role_id": "x", "role": "r"}, 'role: has no effect with login = "approle"'),
        ({"login": "jwt", "role": "r"}, 'jwt_file: login = "jwt" needs it, or jwt'),
        ({"login": "jwt", "jwt": SECRET, "jwt_file": "f"}, "jwt_file: jwt is given too"),
        ({"login": "approle", "role_id": "x", "token": SECRET}, "login: a token is given too"),
        ({"login": "approle", "role_id": "x", "token_file": "f"}, "login: a token is given too"),
    ],
)
def test_setting_that_is_missing_or_in_vain_is_named(table: Mapping[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        complete(options(**table), {})
    assert str(caught.value).startswith(f"signer.hashivault.{problem}")
    assert SECRET not in str(caught.value)


def test_login_goes_over_the_environments_token_and_its_secrets_are_in_no_repr() -> None:
    found = complete(options(login="approle", role_id="x", secret_id=SECRET), {"VAULT_TOKEN": "a-token"})
    assert found.token == ""
    assert found.login is not None
    assert found.login.body() == {"role_id": "x", "secret_id": SECRET}
    assert found.login.path == "auth/approle/login"
    assert SECRET not in repr(found) + repr(options(login="jwt", jwt=SECRET))


def test_kubernetes_reads_the_service_accounts_own_token_unless_told() -> None:
    found = complete(options(login="kubernetes", role="tsa", login_mount="k8s/prod"), {}).login
    assert found is not None
    assert found.path == "auth/k8s/prod/login"
    assert str(found.secret_file) == "/var/run/secrets/kubernetes.io/serviceaccount/token"
    with pytest.raises(ConfigError, match=r"^signer.hashivault.jwt_file: /var/.*: the token cannot be read"):
        found.body()


def test_a_token_file_that_nobody_writes_to_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token")
    with pytest.raises(
        ConfigError, match=r"^where: .*token: the token cannot be read: it is a FIFO that nobody writes"
    ):
        read_token(tmp_path / "token", "where")
