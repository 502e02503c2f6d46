"""Keys that Sigstore's tools have encrypted are opened, and what is wrong with one is said in one line."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from nacl.secret import SecretBox

from tsa_core.api import ConfigError, Signer
from tsa_core.testing import KEY_KINDS, shared_key
from tsa_signer_file.options import FileOptions
from tsa_signer_file.signer import open_file_signer

PASSWORD = "correct horse"
SALT, NONCE = bytes(range(32)), bytes(range(24))
LABELS = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"]
BY_GO = """\
eyJrZGYiOnsibmFtZSI6InNjcnlwdCIsInBhcmFtcyI6eyJOIjo2NTUzNiwiciI6
OCwicCI6MX0sInNhbHQiOiJPZ3RxZ1BYQTVKVDlzSzdQM05KeWxRckw3SjYwQUVP
MlgzakxVbkpxL2VzPSJ9LCJjaXBoZXIiOnsibmFtZSI6Im5hY2wvc2VjcmV0Ym94
Iiwibm9uY2UiOiJJNUg2LzBSd1l3TWg1U292LytyL3V4U2VUQjZvR0Y5aCJ9LCJj
aXBoZXJ0ZXh0IjoiS01NNWtmTU92V0hVU0c0TFpDN0dLUEhjZXBBTDlBM2JXbU0w
Q2NpVVdNUVNXc2xBdUZDUTd0WnBubjVVZ1VYMFc3TFFMRlVTZDhNdTdhSXlSQWRi
VE5pOWJhYnFiRUlSVWZRMU1QWmhVL2htWE9wbmN6Q3JqbERzQllEUU1MbXlXSGhm
TkFEV2h3WkZ1V0F3YVgyR2EwZ1dGYmdsQUpZT0loVThWQ0tmVHlyUWxlNEcxT2Jm
b25qZEJvcU5KRUhjditXOXdxVGl6MFFSZ1E9PSJ9
"""
"""The inside of the PEM of a P-256 key that sigstore's library (Go, pkg/cryptoutils) encrypted with PASSWORD."""


def pkcs8(kind: str = "ecdsa-p256") -> bytes:
    return shared_key(kind).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def box(secret: bytes, *, password: str = PASSWORD, n: int = 2**15) -> dict[str, Any]:
    """Return the JSON that Sigstore's tools write."""
    key = Scrypt(salt=SALT, length=32, n=n, r=8, p=1).derive(password.encode())
    sealed = SecretBox(key).encrypt(secret, NONCE).ciphertext
    return {
        "kdf": {"name": "scrypt", "params": {"N": n, "r": 8, "p": 1}, "salt": base64.b64encode(SALT).decode()},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(NONCE).decode()},
        "ciphertext": base64.b64encode(sealed).decode(),
    }


def pem(document: Any, label: str = LABELS[0]) -> bytes:
    text = base64.encodebytes(document if isinstance(document, bytes) else json.dumps(document).encode())
    return f"-----BEGIN {label}-----\n".encode() + text + f"-----END {label}-----\n".encode()


def open_key(folder: Path, data: bytes, **options: Any) -> Signer:
    path = folder / "cosign.key"
    path.write_bytes(data)
    path.chmod(0o600)
    return open_file_signer(FileOptions.model_validate({"uri": f"file:{path}", **options}))


@pytest.fixture(scope="module")
def good() -> dict[str, Any]:
    return box(pkcs8())


@pytest.mark.parametrize("label", LABELS)
def test_both_labels_are_read(tmp_path: Path, good: dict[str, Any], label: str) -> None:
    signer = open_key(tmp_path, pem(good, label), password=PASSWORD)
    assert signer.public_key == shared_key("ecdsa-p256").public_key()


@pytest.mark.parametrize("kind", [kind for kind in KEY_KINDS if kind in {"rsa-2048", "ed25519"}])
def test_every_kind_of_key_is_read(tmp_path: Path, kind: str) -> None:
    signer = open_key(tmp_path, pem(box(pkcs8(kind))), password=PASSWORD)
    assert signer.public_key == shared_key(kind).public_key()


def test_a_key_of_sigstores_own_library_is_read(tmp_path: Path) -> None:
    signer = open_key(tmp_path, pem(base64.b64decode(BY_GO)), password=PASSWORD)
    assert signer.details()["key"] == "EC secp256r1"


def test_the_empty_password_need_not_be_given(tmp_path: Path) -> None:
    # COSIGN_PASSWORD= cosign generate-key-pair
    signer = open_key(tmp_path, pem(box(pkcs8(), password="")))
    assert signer.public_key == shared_key("ecdsa-p256").public_key()


def refusal(folder: Path, data: bytes, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        open_key(folder, data, **options)
    text = str(caught.value)
    assert text.startswith(f"{folder}/cosign.key: ")
    assert "\n" not in text
    assert PASSWORD not in text
    return text


def test_a_missing_and_a_wrong_password_are_told_apart(tmp_path: Path, good: dict[str, Any]) -> None:
    assert "the private key is encrypted; give its password by [signer.file] password" in refusal(tmp_path, pem(good))
    text = refusal(tmp_path, pem(good), password="wrong horse")
    assert "the password is wrong or the file is damaged" in text
    assert "wrong horse" not in text


def test_a_changed_box_is_not_opened(tmp_path: Path, good: dict[str, Any]) -> None:
    sealed = bytearray(base64.b64decode(good["ciphertext"]))
    sealed[-1] ^= 1
    changed = {**good, "ciphertext": base64.b64encode(sealed).decode()}
    assert "the password is wrong or the file is damaged" in refusal(tmp_path, pem(changed), password=PASSWORD)


def with_scrypt(**parameters: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda good: {**good, "kdf": {**good["kdf"], "params": {**good["kdf"]["params"], **parameters}}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (with_scrypt(N=2**30), "its parameters of scrypt are not N = 32768, 65536 or 131072"),
        (with_scrypt(p=100), "its parameters of scrypt are not"),
        (with_scrypt(N="many"), "kdf.params.N"),
        (lambda good: {**good, "kdf": {**good["kdf"], "name": "argon2"}}, "kdf.name"),
        (lambda good: {**good, "cipher": {**good["cipher"], "nonce": "AAAA"}}, "cipher.nonce"),
        (lambda good: {**good, "ciphertext": "???"}, "ciphertext"),
        (lambda good: [], "not an object"),
        (lambda good: b"prose", "it is not JSON in base64"),
        (lambda good: b"[" * 40_000, "it is not JSON in base64"),
    ],
)
def test_what_sigstores_tools_do_not_write_is_refused(
    tmp_path: Path, good: dict[str, Any], change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    text = refusal(tmp_path, pem(change(good)), password=PASSWORD)
    assert "the encrypted private key of Sigstore's tools cannot be read" in text
    assert said in text


def test_what_is_no_base64_is_refused(tmp_path: Path, good: dict[str, Any]) -> None:
    data = pem(good).replace(b"\n", b"\n!", 1)
    assert "it is not JSON in base64" in refusal(tmp_path, data, password=PASSWORD)


def test_something_else_than_a_key_in_the_box_is_refused(tmp_path: Path) -> None:
    text = refusal(tmp_path, pem(box(b"no key")), password=PASSWORD)
    assert "what is encrypted there is no PKCS #8 private key of a supported kind" in text
