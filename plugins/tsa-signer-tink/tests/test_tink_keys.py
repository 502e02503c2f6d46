"""The key that signs timestamps is the one that Tink itself signs with, for every template that is offered."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import tink
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from tink import secret_key_access, signature
from tink.proto import common_pb2, ecdsa_pb2, ml_dsa_pb2, rsa_ssa_pkcs1_pb2, rsa_ssa_pss_pb2, tink_pb2

from tsa_core.api import ConfigError, Signer
from tsa_core.host import PluginHost
from tsa_signer_tink.command import TEMPLATES
from tsa_signer_tink.keys import load_key
from tsa_signer_tink.options import TinkOptions
from tsa_signer_tink.plugin import tsa_signers

MESSAGE = b"a message"
PREFIX_OCTETS = 5
"""Of Tink's own signatures: a version and the key's id."""


def to_proto(handle: Any) -> Any:
    return tink_pb2.Keyset.FromString(tink.proto_keyset_format.serialize(handle, secret_key_access.TOKEN))


def to_handle(keyset: Any) -> Any:
    return tink.proto_keyset_format.parse(keyset.SerializeToString(), secret_key_access.TOKEN)


def new_handle(template: str) -> Any:
    signature.register()
    return tink.new_keyset_handle(getattr(signature.signature_key_templates, template))


@functools.cache
def some_handle(template: str) -> Any:
    """Return the one keyset of a template that all tests share which need any: an RSA key takes half a second."""
    return new_handle(template)


def open_cleartext(keyset: Any, folder: Path, **options: Any) -> Signer:
    path = folder / "keyset.bin"
    path.write_bytes(keyset.SerializeToString())
    (provider,) = tsa_signers()
    table = {"uri": f"tink:{path}", "dangerously_allow_cleartext_keyset": True, **options}
    return provider.open(TinkOptions.model_validate(table), open_kek=PluginHost().open_kek)


def as_cms_has_it(made: bytes, keyset: Any) -> bytes:
    """Return a signature of Tink's without its prefix, and in DER."""
    key = keyset.key[0]
    bare = made if key.output_prefix_type == tink_pb2.RAW else made[PREFIX_OCTETS:]
    if not key.key_data.type_url.endswith(".EcdsaPrivateKey"):
        return bare
    params = ecdsa_pb2.EcdsaPrivateKey.FromString(key.key_data.value).public_key.params
    if params.encoding == ecdsa_pb2.DER:
        return bare
    half = len(bare) // 2
    return encode_dss_signature(int.from_bytes(bare[:half], "big"), int.from_bytes(bare[half:], "big"))


@pytest.mark.parametrize("template", TEMPLATES)
def test_public_half_verifies_what_tink_signed(template: str, tmp_path: Path) -> None:
    handle = some_handle(template)
    keyset = to_proto(handle)
    signer = open_cleartext(keyset, tmp_path, rsa_pss="_PSS_" in template)
    made = handle.primitive(signature.PublicKeySign).sign(MESSAGE)
    assert signer.algorithm.is_valid(signer.public_key, as_cms_has_it(made, keyset), MESSAGE)
    assert not signer.algorithm.is_valid(signer.public_key, as_cms_has_it(made, keyset), MESSAGE + b"!")


@pytest.mark.parametrize("template", [name for name in TEMPLATES if name != "ECDSA_P256_RAW"])
def test_tink_verifies_what_the_signer_signed_when_its_prefix_is_put_before_it(template: str, tmp_path: Path) -> None:
    handle = some_handle(template)
    keyset = to_proto(handle)
    signer = open_cleartext(keyset, tmp_path, rsa_pss="_PSS_" in template)
    bare = signer.sign(MESSAGE, timeout=5)
    prefix = b"\x01" + keyset.key[0].key_id.to_bytes(4, "big")
    verifier = handle.public_keyset_handle().primitive(signature.PublicKeyVerify)
    verifier.verify(prefix + bare, MESSAGE)
    with pytest.raises(tink.TinkError):
        verifier.verify(bare, MESSAGE)


@pytest.mark.parametrize("prefix", [tink_pb2.TINK, tink_pb2.LEGACY, tink_pb2.RAW, tink_pb2.CRUNCHY])
def test_signature_carries_no_prefix_whatever_the_keyset_says(prefix: int, tmp_path: Path) -> None:
    keyset = to_proto(some_handle("ED25519"))
    keyset.key[0].output_prefix_type = prefix
    signer = open_cleartext(keyset, tmp_path)
    made = signer.sign(MESSAGE, timeout=5)
    assert len(made) == 64
    assert signer.algorithm.is_valid(signer.public_key, made, MESSAGE)


# -- the digest -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "algorithm"),
    [
        ("ECDSA_P256", "ecdsa-sha256"),
        ("ECDSA_P384", "ecdsa-sha512"),
        ("ECDSA_P384_SHA384", "ecdsa-sha384"),
        ("ECDSA_P521", "ecdsa-sha512"),
        ("RSA_SSA_PKCS1_4096_SHA512_F4", "rsa-pkcs1v15-sha512"),
    ],
)
def test_digest_is_the_keysets(template: str, algorithm: str, tmp_path: Path) -> None:
    assert open_cleartext(to_proto(some_handle(template)), tmp_path).algorithm.name == algorithm


@pytest.mark.parametrize("template", ["ECDSA_P384", "ECDSA_P384_SHA512"])
def test_template_with_another_digest_than_the_curves_is_warned_of(
    template: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    signer = open_cleartext(to_proto(some_handle(template)), tmp_path)
    advice = (
        "its template signs with sha512, and clients expect sha384 with this curve; "
        "make the next one with the template ECDSA_P384_SHA384"
    )
    assert f"keyset.bin: {advice}; signer_hash chooses another digest" in caplog.text
    # `timestamp-server check` logs no warnings and prints these.
    assert signer.details()["template"] == advice


@pytest.mark.parametrize("template", ["ECDSA_P256", "ECDSA_P384_SHA384", "ECDSA_P521", "ED25519"])
def test_template_with_the_curves_digest_is_not_warned_of(
    template: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    signer = open_cleartext(to_proto(some_handle(template)), tmp_path)
    assert "its template" not in caplog.text
    assert "template" not in signer.details()


def test_signer_hash_chooses_another_digest_and_silences_the_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    signer = open_cleartext(to_proto(some_handle("ECDSA_P384")), tmp_path, signature_digest="sha384")
    assert signer.algorithm.name == "ecdsa-sha384"
    assert signer.algorithm.is_valid(signer.public_key, signer.sign(MESSAGE, timeout=5), MESSAGE)
    assert "its template" not in caplog.text


def test_signer_hash_that_the_key_cannot_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"keyset\.bin: Ed25519 goes with sha512, not with sha256"):
        open_cleartext(to_proto(some_handle("ED25519")), tmp_path, signature_digest="sha256")


# -- the padding ------------------------------------------------------------------------------------------------------


def test_pss_key_needs_the_switch_and_others_refuse_it(tmp_path: Path) -> None:
    pss = to_proto(some_handle("RSA_SSA_PSS_3072_SHA256_SHA256_32_F4"))
    assert open_cleartext(pss, tmp_path, rsa_pss=True).algorithm.name == "rsa-pss-sha256"
    with pytest.raises(ConfigError, match="is for RSA-PSS; set rsa_pss = true"):
        open_cleartext(pss, tmp_path)
    for template in ("RSA_SSA_PKCS1_3072_SHA256_F4", "ECDSA_P256"):
        with pytest.raises(ConfigError, match="is not for RSA-PSS, which rsa_pss asks for"):
            open_cleartext(to_proto(some_handle(template)), tmp_path, rsa_pss=True)


# -- what is no key ---------------------------------------------------------------------------------------------------


def refusal(keyset: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_key(keyset.key[0], "keyset.cfg")
    text = str(caught.value)
    assert text.startswith(f"keyset.cfg: the keyset's primary key {keyset.key[0].key_id} ")
    assert "\n" not in text
    # An error that names another would put that one's text, and perhaps the key, into a log.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return text


def changed(template: str, kind: Any, change: Any) -> Any:
    """Return a keyset whose key proto was changed."""
    keyset = to_proto(some_handle(template))
    proto = kind.FromString(keyset.key[0].key_data.value)
    change(proto)
    keyset.key[0].key_data.value = proto.SerializeToString()
    return keyset


@pytest.mark.parametrize("template", ["SLH_DSA_SHA2_128S"])
def test_key_of_a_kind_that_cannot_sign_timestamps_is_named(template: str) -> None:
    text = refusal(to_proto(some_handle(template)))
    assert "is of the type SlhDsaPrivateKey, which cannot sign timestamps; make a keyset with" in text


def test_public_keyset_is_no_signer() -> None:
    assert "is of the type EcdsaPublicKey" in refusal(to_proto(some_handle("ECDSA_P256").public_keyset_handle()))


@pytest.mark.parametrize(
    "template", ["ECDSA_P256", "ED25519", "ML_DSA_65", "RSA_SSA_PKCS1_3072_SHA256_F4"], ids=lambda name: name[:6]
)
def test_damaged_key_is_refused(template: str) -> None:
    keyset = to_proto(some_handle(template))
    keyset.key[0].key_data.value = keyset.key[0].key_data.value[:-7]
    assert refusal(keyset).endswith("is damaged")
    keyset.key[0].key_data.value = b""
    assert refusal(keyset)


def test_key_whose_public_half_is_another_keys_is_refused() -> None:
    other = ecdsa_pb2.EcdsaPrivateKey.FromString(to_proto(new_handle("ECDSA_P256")).key[0].key_data.value)

    def swap(proto: Any) -> None:
        proto.public_key.CopyFrom(other.public_key)

    assert "its public half is of another key" in refusal(changed("ECDSA_P256", ecdsa_pb2.EcdsaPrivateKey, swap))


@pytest.mark.parametrize(
    ("template", "kind", "change", "problem"),
    [
        (
            "ECDSA_P256",
            ecdsa_pb2.EcdsaPrivateKey,
            lambda p: setattr(p, "key_value", b"\xff" * 33),
            "is damaged",
        ),
        (
            "ECDSA_P256",
            ecdsa_pb2.EcdsaPrivateKey,
            lambda p: setattr(p, "version", 1),
            "its version 1 is newer",
        ),
        (
            "ECDSA_P256",
            ecdsa_pb2.EcdsaPrivateKey,
            lambda p: setattr(p.public_key.params, "curve", common_pb2.CURVE25519),
            "is not P-256, P-384 or P-521",
        ),
        (
            "ECDSA_P256",
            ecdsa_pb2.EcdsaPrivateKey,
            lambda p: setattr(p.public_key.params, "hash_type", common_pb2.SHA1),
            "its digest SHA1 is not",
        ),
        (
            "ML_DSA_65",
            ml_dsa_pb2.MlDsaPrivateKey,
            lambda p: setattr(p.public_key.params, "ml_dsa_instance", 0),
            "its parameter set is not ML-DSA",
        ),
        (
            "RSA_SSA_PKCS1_3072_SHA256_F4",
            rsa_ssa_pkcs1_pb2.RsaSsaPkcs1PrivateKey,
            lambda p: setattr(p, "d", p.dp),
            "is damaged",
        ),
        (
            "RSA_SSA_PSS_3072_SHA256_SHA256_32_F4",
            rsa_ssa_pss_pb2.RsaSsaPssPrivateKey,
            lambda p: setattr(p.public_key.params, "salt_length", 20),
            "another salt length than the digest's",
        ),
    ],
    ids=["scalar", "version", "curve", "digest", "ML-DSA", "RSA", "salt"],
)
def test_key_with_parameters_that_do_not_fit_is_refused(template: str, kind: Any, change: Any, problem: str) -> None:
    assert problem in refusal(changed(template, kind, change))


def test_enumerations_of_a_newer_tink_are_no_crash() -> None:
    def unknown(proto: Any) -> None:
        proto.public_key.params.hash_type = 99

    assert "its digest 99 is not" in refusal(changed("ECDSA_P256", ecdsa_pb2.EcdsaPrivateKey, unknown))
