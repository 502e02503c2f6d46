"""Keysets in files: both forms, encrypted and not, and what is wrong with those that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tink
from tink import aead, cleartext_keyset_handle, secret_key_access, signature
from tink.proto import tink_pb2

from tsa_backends.tink_keks import Kek
from tsa_core.api import ConfigError, Signer, SignerError, resolve_path
from tsa_core.host import PluginHost
from tsa_core.testing import check_token, issue_token
from tsa_signer_tink.options import TinkOptions
from tsa_signer_tink.plugin import tsa_signers

MESSAGE = b"a message"


def open_tink(uri: str, **options: Any) -> Signer:
    (provider,) = tsa_signers()
    return provider.open(TinkOptions.model_validate({"uri": uri, **options}), open_kek=PluginHost().open_kek)


def signs_for(signer: Signer, handle: Any) -> bool:
    """Say whether Tink, with the keyset's public half, verifies what the signer signs."""
    keyset_id = handle.keyset_info().primary_key_id
    verifier = handle.public_keyset_handle().primitive(signature.PublicKeyVerify)
    try:
        verifier.verify(b"\x01" + keyset_id.to_bytes(4, "big") + signer.sign(MESSAGE, timeout=5), MESSAGE)
    except tink.TinkError:
        return False
    return True


def new_handle(*templates: str) -> Any:
    """Return a keyset of several keys; the last is primary."""
    signature.register()
    keyset = tink_pb2.Keyset()
    for template in templates:
        made = to_proto(tink.new_keyset_handle(getattr(signature.signature_key_templates, template)))
        keyset.key.append(made.key[0])
        keyset.primary_key_id = made.primary_key_id
    return cleartext_keyset_handle.from_keyset(keyset)


def to_proto(handle: Any) -> Any:
    return tink_pb2.Keyset.FromString(tink.proto_keyset_format.serialize(handle, secret_key_access.TOKEN))


# -- the forms, and where the keyset is -------------------------------------------------------------------------------


@pytest.mark.parametrize("binary", [False, True], ids=["JSON", "binary"])
def test_tinks_own_keysets_are_read(kek: Kek, tmp_path: Path, binary: bool) -> None:
    path = tmp_path / "keyset.cfg"
    handle = kek.write_keyset(path, "ECDSA_P256", binary=binary)
    signer = open_tink(f"tink:{path}", key_resource=kek.uri, **kek.settings)
    assert signs_for(signer, handle)
    check_token(issue_token(signer, tmp_path), signer, tmp_path)
    assert signer.details() == {
        "key": f"EC secp256r1, key {handle.keyset_info().primary_key_id} of the keyset, in memory",
        "keyset": f"{path}, encrypted by {kek.uri}",
    }


def test_primary_key_of_several_signs(vault: Kek, tmp_path: Path) -> None:
    handle = new_handle("ED25519", "ECDSA_P384_SHA384", "ECDSA_P256")
    path = tmp_path / "keyset.cfg"
    path.write_text(tink.json_proto_keyset_format.serialize_encrypted(handle, vault.aead(), b""))
    signer = open_tink(f"tink:{path}", key_resource=vault.uri, **vault.settings)
    assert signer.algorithm.name == "ecdsa-sha256"
    assert signs_for(signer, handle)


def test_keyset_may_be_named_by_uri_or_setting(vault: Kek, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a keyset.cfg"
    handle = vault.write_keyset(path, "ECDSA_P256")
    monkeypatch.chdir(tmp_path)
    assert resolve_path(Path("a keyset.cfg")) == Path("a keyset.cfg")
    quoted = str(path).replace(" ", "%20")
    settings = {"key_resource": vault.uri, **vault.settings}
    for uri in ("tink:a%20keyset.cfg", f"tink:{quoted}", f"tink://{quoted}"):
        assert signs_for(open_tink(uri, **settings), handle), uri
    assert signs_for(open_tink("tink:", keyset_path=str(path), **settings), handle)
    with pytest.raises(ConfigError, match=r"names the host 'a'; write tink:a/b for a relative path"):
        open_tink("tink://a/b", **settings)
    with pytest.raises(ConfigError, match=r"signer\.tink\.keyset_path: there is no keyset; write the key URI as"):
        open_tink("tink:", **settings)


def test_newer_facts_about_keys_do_not_disturb(vault: Kek, tmp_path: Path) -> None:
    path = tmp_path / "keyset.cfg"
    handle = vault.write_keyset(path, "ECDSA_P256")
    document = json.loads(path.read_text())
    document["keysetInfo"]["keyInfo"][0]["creationTime"] = "2031-01-01"
    path.write_text(json.dumps(document))
    assert signs_for(open_tink(f"tink:{path}", key_resource=vault.uri, **vault.settings), handle)


# -- keysets that nothing encrypts ------------------------------------------------------------------------------------


def write_cleartext(path: Path, handle: Any, *, binary: bool) -> None:
    if binary:
        path.write_bytes(tink.proto_keyset_format.serialize(handle, secret_key_access.TOKEN))
    else:
        path.write_text(tink.json_proto_keyset_format.serialize(handle, secret_key_access.TOKEN))


@pytest.mark.parametrize("binary", [False, True], ids=["JSON", "binary"])
def test_cleartext_is_refused_before_any_kms_sees_it(vault: Kek, tmp_path: Path, binary: bool) -> None:
    path = tmp_path / "keyset.cfg"
    write_cleartext(path, new_handle("ECDSA_P256"), binary=binary)
    with pytest.raises(ConfigError, match=r"the keyset is not encrypted: whoever has read the file has the key") as e:
        open_tink(f"tink:{path}", key_resource="hcvault://127.0.0.1:1/transit/keys/tsa", hcvault_token="token")
    assert str(e.value).startswith(f"{path}: ")
    assert "signer.tink.dangerously_allow_cleartext_keyset = true" in str(e.value)


@pytest.mark.parametrize("binary", [False, True], ids=["JSON", "binary"])
def test_cleartext_is_used_when_the_operator_insists_and_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, binary: bool
) -> None:
    path, handle = tmp_path / "keyset.cfg", new_handle("ED25519", "ECDSA_P256")
    write_cleartext(path, handle, binary=binary)
    signer = open_tink(f"tink:{path}", dangerously_allow_cleartext_keyset=True)
    assert signs_for(signer, handle)
    assert f"the keyset {path} is not encrypted: whoever reads the file, or a backup of it, has the key" in caplog.text
    assert signer.details()["keyset"] == f"{path}, not encrypted"


def test_permission_to_use_cleartext_changes_nothing_for_what_is_encrypted(vault: Kek, tmp_path: Path) -> None:
    path = tmp_path / "keyset.cfg"
    vault.write_keyset(path, "ECDSA_P256")
    with pytest.raises(ConfigError, match="the key that decrypts the keyset is not named"):
        open_tink(f"tink:{path}", dangerously_allow_cleartext_keyset=True)


# -- which key --------------------------------------------------------------------------------------------------------


def without_primary(keyset: Any) -> None:
    keyset.primary_key_id = 7


def no_keys(keyset: Any) -> None:
    del keyset.key[:]


def disabled(keyset: Any) -> None:
    keyset.key[-1].status = tink_pb2.DISABLED


def destroyed(keyset: Any) -> None:
    keyset.key[-1].status = tink_pb2.DESTROYED
    keyset.key[-1].ClearField("key_data")


def unknown_status(keyset: Any) -> None:
    keyset.key[-1].status = 99


def two_primaries(keyset: Any) -> None:
    keyset.key[0].key_id = keyset.key[1].key_id


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (without_primary, r"the keyset has no primary key; promote one of its keys \(\d+, \d+\) to be it"),
        (no_keys, "the keyset is empty"),
        (disabled, r"the keyset's primary key \d+ is disabled; enable it, or promote another"),
        (destroyed, r"the keyset's primary key \d+ is destroyed; enable it, or promote another"),
        (unknown_status, r"the keyset's primary key \d+ is of an unknown status"),
        (two_primaries, r"the keyset has 2 primary keys of the id \d+"),
    ],
)
def test_keyset_whose_primary_key_cannot_sign_is_refused(
    vault: Kek, tmp_path: Path, change: Callable[[Any], None], problem: str
) -> None:
    keyset = to_proto(new_handle("ED25519", "ECDSA_P256"))
    change(keyset)
    path = tmp_path / "keyset.cfg"
    sealed = vault.aead().encrypt(keyset.SerializeToString() or b"\x08\x00", b"")
    path.write_bytes(tink_pb2.EncryptedKeyset(encrypted_keyset=sealed).SerializeToString())
    with pytest.raises(ConfigError, match=problem) as caught:
        open_tink(f"tink:{path}", key_resource=vault.uri, **vault.settings)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_keyset_of_another_purpose_is_named(vault: Kek, tmp_path: Path) -> None:
    aead.register()
    handle = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM)
    path = tmp_path / "keyset.cfg"
    path.write_text(tink.json_proto_keyset_format.serialize_encrypted(handle, vault.aead(), b""))
    with pytest.raises(ConfigError, match="is of the type AesGcmKey, which cannot sign timestamps"):
        open_tink(f"tink:{path}", key_resource=vault.uri, **vault.settings)


# -- files that are no keysets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 100,
        b"{}",
        b"[]",
        b'{"encryptedKeyset": 5}',
        b'{"encryptedKeyset": "%%%"}',
        b'{"encryptedKeyset": ""}',
        b'{"key": [{"keyData": {"value": "c2VjcmV0c2VjcmV0", "typeUrl": 5}}]}',
        b"{" + b'"a":[' * 50_000,
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"not a keyset at all\n",
    ],
    ids=lambda data: data[:24].decode("ascii").replace("\0", "0") or "empty",
)
def test_what_is_no_keyset_is_said_in_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "keyset.cfg"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="this is no Tink keyset; an encrypted one, JSON or binary") as caught:
        open_tink(f"tink:{path}", key_resource="hcvault:///transit/keys/tsa")
    assert "\n" not in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.cfg: the keyset cannot be read: No such file or directory"):
        open_tink(f"tink:{tmp_path}/nothing.cfg")
    with pytest.raises(ConfigError, match="the keyset cannot be read: Is a directory"):
        open_tink(f"tink:{tmp_path}")
    huge = tmp_path / "disk.img"
    huge.write_bytes(bytes(300_000))
    with pytest.raises(ConfigError, match="the file is larger than any keyset"):
        open_tink(f"tink:{huge}")


def test_damaged_keyset_is_refused_in_one_line(kek: Kek, tmp_path: Path) -> None:
    path = tmp_path / "keyset.cfg"
    kek.write_keyset(path, "ECDSA_P256", binary=True)
    encrypted = tink_pb2.EncryptedKeyset.FromString(path.read_bytes())
    sealed = bytearray(encrypted.encrypted_keyset)
    # ministack's ciphertexts are not authenticated but for their encryption context, which stands here; AWS's are.
    sealed[40 if kek.uri.startswith("aws-kms:") else -10] ^= 1
    encrypted.encrypted_keyset = bytes(sealed)
    path.write_bytes(encrypted.SerializeToString())
    with pytest.raises(SignerError) as caught:
        open_tink(f"tink:{path}", key_resource=kek.uri, **kek.settings)
    assert "\n" not in str(caught.value)
    assert "is this the key that encrypted it, and is the ciphertext as it was?" in str(caught.value)


def test_ciphertext_of_something_else_than_a_keyset_is_refused(kek: Kek, tmp_path: Path) -> None:
    path = tmp_path / "keyset.cfg"
    secret = b"\xff\xffsomething else that was encrypted"
    sealed = kek.aead().encrypt(secret, b"")
    path.write_bytes(tink_pb2.EncryptedKeyset(encrypted_keyset=sealed).SerializeToString())
    with pytest.raises(ConfigError, match="decrypted is no keyset; is this the key that") as caught:
        open_tink(f"tink:{path}", key_resource=kek.uri, **kek.settings)
    assert "something else" not in str(caught.value)
    assert caught.value.__suppress_context__
