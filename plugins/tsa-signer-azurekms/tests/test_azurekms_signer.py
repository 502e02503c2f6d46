"""The Azure signer at its edges: what it refuses, what it survives, what it never shows."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from tsa_backends.key_vault import ASSERTION, CLIENT_ID, CLIENT_SECRET, IDENTITY_HEADER, TENANT, TOKEN_MARK, KeyVault
from tsa_core.api import ConfigError, PublicKey, Signer, SignerError, SignerUnavailable
from tsa_core.testing import new_key
from tsa_signer_azurekms import plugin as azure_plugin
from tsa_signer_azurekms.plugin import AzureOptions

MESSAGE = b"to be signed"
WRONG_SECRET = "wrong-secret-77b0"

Open = Callable[..., Signer]


@pytest.fixture
def open_signer(key_vault: KeyVault) -> Iterator[Open]:
    [provider] = azure_plugin.tsa_signers()
    opened: list[Signer] = []

    def open_one(**options: Any) -> Signer:
        table = {
            "uri": f"azurekms://{key_vault.host}/tsa",
            "tenant_id": TENANT,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "authority": key_vault.url,
            "ca_file": key_vault.ca_file,
            "disable_instance_discovery": True,
            "verify_challenge_resource": False,
            "start_timeout": "3s",
            **options,
        }
        signer = provider.open(AzureOptions.model_validate({k: v for k, v in table.items() if v is not None}))
        opened.append(signer)
        return signer

    yield open_one
    for signer in opened:
        signer.close()


@pytest.fixture
def key(key_vault: KeyVault) -> PublicKey:
    return key_vault.make_key("tsa").public_key()


def version(key_vault: KeyVault, number: int = 1) -> Any:
    return key_vault.keys["tsa"][f"{number:032x}"]


def signs(signer: Signer, *, timeout: float = 5) -> bool:
    return signer.algorithm.is_valid(signer.public_key, signer.sign(MESSAGE, timeout=timeout), MESSAGE)


def spki(public_key: PublicKey) -> bytes:
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def refused(open_signer: Open, kind: type[Exception] = ConfigError, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        open_signer(**options)
    text = str(caught.value)
    assert "\n" not in text
    for secret in (CLIENT_SECRET, TOKEN_MARK, WRONG_SECRET):
        assert secret not in text
    return text


# -- which key ------------------------------------------------------------------------------------------------------


def test_version_of_the_uri_signs(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    key_vault.make_key("tsa", fresh=True)
    signer = open_signer(uri=f"azurekms://{key_vault.host}/tsa/{1:032x}")
    assert spki(signer.public_key) == spki(key)
    assert signs(signer)


def test_rotation_leaves_the_pinned_version_in_place(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    signer = open_signer()
    newer = key_vault.make_key("tsa", fresh=True).public_key()
    assert signs(signer)
    assert spki(signer.public_key) == spki(key)
    assert key_vault.requests[-1] == ("sign", f"tsa/{1:032x}/sign")
    assert spki(open_signer().public_key) == spki(newer)


def test_keys_in_hardware_sign(open_signer: Open, key_vault: KeyVault) -> None:
    key_vault.make_key("tsa", "rsa-2048", hsm=True)
    signer = open_signer()
    assert signs(signer)
    assert signer.details()["key"].endswith("RSA 2048 (RSA-HSM)")


# -- what cannot sign, in one line ----------------------------------------------------------------------------------


def test_key_without_the_operation_is_refused(open_signer: Open, key_vault: KeyVault) -> None:
    key_vault.make_key("tsa", "rsa-2048", operations=("encrypt", "wrapKey"))
    assert "may encrypt, wrapKey, but not sign" in refused(open_signer)


def test_disabled_key_is_refused(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    version(key_vault).enabled = False
    assert f"/keys/tsa/{1:032x} is disabled" in refused(open_signer)


def test_expired_key_and_future_key_are_refused(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    version(key_vault).expires = int(datetime(2020, 1, 2, tzinfo=UTC).timestamp())
    assert "expired at 2020-01-02 00:00 UTC" in refused(open_signer)
    version(key_vault).expires = None
    version(key_vault).not_before = int(datetime(2099, 1, 2, tzinfo=UTC).timestamp())
    assert "may not be used before 2099-01-02" in refused(open_signer)


def test_curve_that_timestamps_cannot_use_is_refused(open_signer: Open, key_vault: KeyVault) -> None:
    key_vault.add_key("tsa", ec.generate_private_key(ec.SECP256K1()))
    assert "is on the curve P-256K; an EC key on P-256" in refused(open_signer)


def test_symmetric_key_is_refused(open_signer: Open, key_vault: KeyVault) -> None:
    key_vault.add_key("tsa", new_key("ed25519"))
    assert "is of type oct-HSM, which cannot sign timestamps" in refused(open_signer)


def test_short_rsa_key_is_refused(open_signer: Open, key_vault: KeyVault) -> None:
    key_vault.add_key("tsa", rsa.generate_private_key(65537, 1024))
    assert "RSA key of 1024 bits is out of range" in refused(open_signer)


def test_digest_that_the_vault_has_no_algorithm_for_is_refused(
    open_signer: Open, key_vault: KeyVault, key: PublicKey
) -> None:
    assert "does not sign with EC secp256r1 and sha512" in refused(open_signer, signature_digest="sha512")


def test_missing_key_and_version_are_errors(open_signer: Open, key_vault: KeyVault) -> None:
    assert "get https://" in refused(open_signer, SignerError)
    key_vault.make_key("tsa")
    text = refused(open_signer, SignerError, uri=f"azurekms://{key_vault.host}/tsa/abc")
    assert "HTTP 404 KeyNotFound" in text


def test_vault_that_is_down_is_unavailable_in_time(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    key_vault.kill()
    assert "the vault cannot be reached" in refused(open_signer, SignerUnavailable)
    key_vault.start()
    key_vault.freeze()
    started = time.monotonic()
    assert "cannot be reached" in refused(open_signer, SignerUnavailable, start_timeout="1s")
    assert time.monotonic() - started < 2


def test_vault_that_is_not_trusted_is_refused(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    assert "CERTIFICATE_VERIFY_FAILED" in refused(open_signer, SignerError, ca_file=None)


def test_challenge_for_another_domain_is_refused(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    text = refused(open_signer, verify_challenge_resource=True)
    assert "challenge resource 'vault.azure.net' does not match the requested domain" in text
    assert not key_vault.requests


def test_missing_ca_file_is_refused(open_signer: Open, key: PublicKey) -> None:
    assert "does not exist" in refused(open_signer, ca_file="/nonexistent/ca.pem")


# -- who we are -----------------------------------------------------------------------------------------------------


def test_wrong_secret_is_an_error_and_not_shown(
    open_signer: Open, key_vault: KeyVault, key: PublicKey, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    text = refused(open_signer, SignerError, client_secret=WRONG_SECRET)
    assert "no access token: Authentication failed: AADSTS7000215" in text
    assert key_vault.token_requests == 1
    assert WRONG_SECRET not in caplog.text


def test_nothing_secret_is_logged(
    open_signer: Open, key_vault: KeyVault, key: PublicKey, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    signer = open_signer()
    assert signs(signer)
    key_vault.revoke_tokens()
    assert signs(signer)
    key_vault.kill()
    with pytest.raises(SignerUnavailable):
        signer.sign(MESSAGE, timeout=1)
    shown = caplog.text + repr(signer) + str(signer.details())
    assert CLIENT_SECRET not in shown
    assert TOKEN_MARK not in shown


def test_certificate_of_a_service_principal_that_is_none_is_refused(
    open_signer: Open, key: PublicKey, tmp_path: Path
) -> None:
    file = tmp_path / "principal.pem"
    file.write_text("-----BEGIN NOTHING-----")
    text = refused(open_signer, client_secret=None, client_certificate=file)
    assert "certificate and private key in PEM" in text


def test_certificate_of_a_service_principal_is_read(open_signer: Open, key: PublicKey, tmp_path: Path) -> None:
    """The stand-in accepts the secret only; that it answers invalid_client shows that a signed assertion was sent."""
    principal = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "principal")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(principal.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2036, 1, 1, tzinfo=UTC))
        .sign(principal, hashes.SHA256())
    )
    file = tmp_path / "principal.pem"
    private = principal.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    assert "AADSTS7000215" in refused(open_signer, SignerError, client_secret=None, client_certificate=file)


def test_managed_identity_signs(
    open_signer: Open, key_vault: KeyVault, key: PublicKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{key_vault.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
    for name in ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    signer = open_signer(tenant_id=None, client_id=None, client_secret=None)
    assert signs(signer)
    assert signer.details()["credential"] == "managed identity"


def test_workload_identity_signs(
    open_signer: Open, key_vault: KeyVault, key: PublicKey, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "assertion").write_text(ASSERTION)
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "assertion"))
    monkeypatch.delenv("AZURE_CLIENT_SECRET", raising=False)
    signer = open_signer(client_secret=None)
    assert signs(signer)
    assert signer.details()["credential"] == "workload identity"


# -- the token ------------------------------------------------------------------------------------------------------


def test_one_token_serves_all_threads(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    signer = open_signer()
    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(lambda _: signs(signer), range(64)))
    assert key_vault.token_requests == 1


def test_revoked_token_is_replaced(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    signer = open_signer()
    key_vault.revoke_tokens()
    assert signs(signer)
    assert key_vault.token_requests == 2


def test_token_near_its_end_is_used_while_there_is_no_new_one(
    open_signer: Open, key_vault: KeyVault, key: PublicKey
) -> None:
    key_vault.token_seconds = 120
    signer = open_signer()
    key_vault.token_fault = 503
    assert all(signs(signer) for _ in range(5))
    assert key_vault.token_requests <= 3


def test_token_service_that_hangs_is_unavailable_in_time(
    open_signer: Open, key_vault: KeyVault, key: PublicKey
) -> None:
    signer = open_signer()
    key_vault.revoke_tokens()
    key_vault.freeze()
    started = time.monotonic()
    with pytest.raises(SignerUnavailable):
        signer.sign(MESSAGE, timeout=0.5)
    assert time.monotonic() - started < 1.5
    key_vault.thaw()
    assert signs(signer)


def test_token_service_that_fails_is_unavailable(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    signer = open_signer()
    key_vault.revoke_tokens()
    key_vault.token_fault = 503
    with pytest.raises(SignerUnavailable, match="no access token"):
        signer.sign(MESSAGE, timeout=2)
    key_vault.token_fault = None
    assert signs(signer)


# -- loss and recovery ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_passing_failures_are_tried_again_within_the_time(
    open_signer: Open, key_vault: KeyVault, key: PublicKey, status: int
) -> None:
    signer = open_signer()
    left = [2]

    def fail_twice(operation: str) -> tuple[int, str, str, dict[str, str]] | None:
        left[0] -= 1
        return (status, "Throttled", "slow down", {"Retry-After": "30"}) if left[0] >= 0 else None

    key_vault.fault = fail_twice
    started = time.monotonic()
    assert signs(signer)
    assert time.monotonic() - started < 3
    key_vault.fault = lambda _: (status, "Throttled", "slow down", {"Retry-After": "30"})
    before = len(key_vault.requests)
    with pytest.raises(SignerUnavailable, match=f"HTTP {status} Throttled: slow down"):
        signer.sign(MESSAGE, timeout=3)
    assert len(key_vault.requests) - before == 3


def test_missing_permission_names_what_is_needed(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    signer = open_signer()
    key_vault.permissions.remove("sign")
    with pytest.raises(SignerError, match=r"403 Forbidden/ForbiddenByRbac.*permission keys/sign \(role") as caught:
        signer.sign(MESSAGE, timeout=2)
    assert not isinstance(caught.value, SignerUnavailable)
    assert [operation for operation, _ in key_vault.requests].count("sign") == 1
    key_vault.permissions.add("sign")
    assert signs(signer)
    key_vault.permissions.remove("get")
    assert "permission keys/get" in refused(open_signer, SignerError)


def test_disabled_key_stops_and_starts_again(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    signer = open_signer()
    version(key_vault).enabled = False
    with pytest.raises(SignerError, match="KeyDisabled: Operation sign is not allowed on a disabled key"):
        signer.sign(MESSAGE, timeout=2)
    version(key_vault).enabled = True
    assert signs(signer)


def test_answer_of_another_key_is_refused(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    signer = open_signer()
    key_vault.answer_kid = f"{key_vault.url}/keys/tsa/{2:032x}"
    with pytest.raises(SignerError, match="was asked to sign, another key answered"):
        signer.sign(MESSAGE, timeout=2)


@pytest.mark.parametrize("value", ["!", "AAAA", "A" * 86, "not base64url%"])
def test_answer_that_is_no_signature_is_refused(
    open_signer: Open, key_vault: KeyVault, key: PublicKey, value: str
) -> None:
    signer = open_signer()
    key_vault.answer_value = value
    with pytest.raises(SignerError, match=r"not base64url|no ES256 signature"):
        signer.sign(MESSAGE, timeout=2)


def test_killed_and_restarted_under_load(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    signer = open_signer()
    stop = threading.Event()
    made: list[tuple[bytes, bytes]] = []
    failed: list[SignerError] = []

    def load(number: int) -> None:
        count = 0
        while not stop.is_set():
            message = b"%d of %d" % (count, number)
            count += 1
            try:
                made.append((message, signer.sign(message, timeout=1)))
            except SignerError as error:
                failed.append(error)

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(load, number) for number in range(8)]
        try:
            stop.wait(0.5)
            key_vault.kill()
            stop.wait(1)
            before = len(made)
            key_vault.start()
            stop.wait(1.5)
        finally:
            stop.set()
        for future in running:
            future.result(timeout=10)
    assert failed
    assert all(isinstance(error, SignerUnavailable) for error in failed)
    assert len(made) > before
    assert all(signer.algorithm.is_valid(signer.public_key, signature, message) for message, signature in made)


def test_slow_vault_is_asked_by_many_threads_at_once(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    signer = open_signer(connections=32)
    key_vault.delay_seconds = 0.3
    started = time.monotonic()
    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(lambda _: signs(signer, timeout=20), range(32)))
    assert time.monotonic() - started < 32 * 0.3 / 2


def test_details_name_key_version_and_end(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    version(key_vault).expires = int(datetime(2099, 1, 2, tzinfo=UTC).timestamp())
    assert open_signer().details() == {
        "key": f"{key_vault.url}/keys/tsa, EC secp256r1 (EC)",
        "version": f"{1:032x}",
        "credential": "service principal",
        "key expires": "2099-01-02 00:00 UTC",
    }
