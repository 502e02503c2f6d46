"""The Azure signer at its edges: what it refuses, what it survives, what it never shows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from tsa_backends.key_vault import ASSERTION, CLIENT_SECRET, IDENTITY_HEADER, TOKEN_MARK, KeyVault
from tsa_core.api import ConfigError, PublicKey, Signer, SignerError, SignerUnavailable
from tsa_core.testing import ends_within, new_key

MESSAGE = b"to be signed"
WRONG_SECRET = "wrong-secret-77b0"

Open = Callable[..., Signer]


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


def test_version_that_the_certificate_certifies_is_found_among_the_others(
    open_signer: Open, key_vault: KeyVault, key: PublicKey
) -> None:
    other = key_vault.make_key("other", fresh=True).public_key()
    for _ in range(4):
        key_vault.make_key("tsa", fresh=True)
    with pytest.raises(ConfigError, match=r"others cannot be listed; name the version in the key URI, or: .*keys/list"):
        open_signer(certified_key=key_info(key))
    key_vault.permissions.add("list")
    signer = open_signer(certified_key=key_info(key))
    assert signer.details()["version"] == f"{1:032x}"
    assert signs(signer)
    # The key of none of them is left to the rules for the chain.
    assert open_signer(certified_key=key_info(other)).details()["version"] == f"{5:032x}"


def key_info(key: PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


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
    with ends_within(1):
        assert "cannot be reached" in refused(open_signer, SignerUnavailable, start_timeout="1s")


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


def test_details_name_key_version_and_end(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    version(key_vault).expires = int(datetime(2099, 1, 2, tzinfo=UTC).timestamp())
    assert open_signer().details() == {
        "key": f"{key_vault.url}/keys/tsa, EC secp256r1 (EC)",
        "version": f"{1:032x}",
        "credential": "service principal",
        "key expires": "2099-01-02 00:00 UTC",
    }
