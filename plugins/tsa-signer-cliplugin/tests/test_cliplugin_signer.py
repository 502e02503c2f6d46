"""Which program a key URI means, what the program gets and what not, and what is said when it does not do its part."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tsa_backends.kms_program import KmsProgram
from tsa_core.api import ConfigError, Signer, SignerError, SignerUnavailable, TsaError
from tsa_core.testing import shared_key
from tsa_signer_cliplugin import plugin as cli_plugin
from tsa_signer_cliplugin.options import CliPluginOptions
from tsa_signer_cliplugin.signer import open_program_signer

PIN = "4711-secret"


def open_uri(uri: str, **options: Any) -> Signer:
    return open_program_signer(CliPluginOptions.model_validate({"uri": uri, **options}))


def schemes(*names: str) -> Iterable[str]:
    return [provider.name for name in names for provider in cli_plugin.tsa_signers_of_scheme(name)]


# -- which program -------------------------------------------------------------------------------------------------


def test_a_scheme_is_a_program_on_the_path(program: KmsProgram) -> None:
    assert schemes("demo", "nix", "", "../demo", "demo/..", "-demo", "DEMO") == ["demo"]


@pytest.mark.parametrize("prefix", ["", "cliplugin:", "CLIPLUGIN:"])
def test_forms_of_the_uri(program: KmsProgram, prefix: str) -> None:
    signer = open_uri(prefix + program.make_key("ecdsa-p256"))
    assert signer.public_key == shared_key("ecdsa-p256").public_key()
    assert signer.details()["program"] == str(program.path)


@pytest.mark.parametrize("uri", ["cliplugin:", "cliplugin:demo", "demo:key", "cliplugin:/demo://key", "://key"])
def test_a_uri_that_names_no_program_is_refused(program: KmsProgram, uri: str) -> None:
    with pytest.raises(ConfigError, match=r"write the key URI as NAME://KEY, for the program sigstore-kms-NAME"):
        open_uri(uri)


def test_a_program_that_is_not_there_is_refused(program: KmsProgram) -> None:
    with pytest.raises(
        ConfigError, match=r"there is no program sigstore-kms-nix on the PATH of the server \(.*programs"
    ):
        open_uri("cliplugin:nix://key")


def test_a_secret_in_the_uri_is_warned_of_and_not_repeated(
    program: KmsProgram, caplog: pytest.LogCaptureFixture
) -> None:
    uri = program.make_key("ecdsa-p256")
    with caplog.at_level(logging.WARNING):
        open_uri(f"{uri}?pin-value={PIN}")
    assert "ps shows to everybody" in caplog.text
    assert PIN not in caplog.text


# -- what the program gets -----------------------------------------------------------------------------------------


def test_the_program_gets_what_sigstores_own_client_sends(program: KmsProgram) -> None:
    signer = open_uri(program.make_key("ecdsa-p384"))
    signer.sign(b"message", timeout=60)
    asked, signed = [json.loads(call["argv"][2]) for call in program.calls]
    assert [call["argv"][1] for call in program.calls] == ["v1", "v1"]
    for call in (asked["publicKey"]["publicKeyOptions"], signed["signMessage"]["signOptions"]):
        assert call["rpcOptions"].pop("ctxDeadline").endswith("Z")
    rpc = {"keyVersion": "", "remoteVerification": False}
    init = {"protocolVersion": "v1", "keyResourceID": "ecdsa-p384", "rpcOptions": rpc}
    assert asked == {
        "initOptions": {**init, "hashFunc": 5},
        "methodName": "publicKey",
        "publicKey": {"publicKeyOptions": {"rpcOptions": rpc}},
    }
    digest = base64.b64encode(signer.algorithm.digest.digest(b"message")).decode()
    assert signed == {
        "initOptions": {**init, "hashFunc": 6},
        "methodName": "signMessage",
        "signMessage": {
            "signOptions": {"rpcOptions": rpc, "messageOptions": {"digest": digest, "hashFunc": 6}},
        },
    }


def test_a_key_that_signs_messages_gets_the_message(program: KmsProgram) -> None:
    signer = open_uri(program.make_key("ed25519"))
    message = bytes(range(256)) * 1000
    assert signer.algorithm.is_valid(signer.public_key, signer.sign(message, timeout=60), message)
    call = json.loads(program.calls[-1]["argv"][2])
    assert call["signMessage"]["signOptions"]["messageOptions"] == {"digest": None}


def test_secrets_are_variables_and_no_arguments(program: KmsProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TSA_SIGNER__FILE__PASSWORD", "ours")
    monkeypatch.setenv("HSM_SLOT", "3")
    signer = open_uri(program.make_key("ecdsa-p256"), environment={"HSM_PIN": PIN})
    signer.sign(b"message", timeout=60)
    for call in program.calls:
        assert PIN not in " ".join(call["argv"])
        assert (call["environ"]["HSM_PIN"], call["environ"]["HSM_SLOT"]) == (PIN, "3")
        assert "TSA_SIGNER__FILE__PASSWORD" not in call["environ"]


# -- what goes wrong -----------------------------------------------------------------------------------------------


def test_an_error_that_the_program_tells_may_pass(program: KmsProgram) -> None:
    signer = open_uri(program.make_key("ecdsa-p256"), environment={"HSM_PIN": PIN})
    program.act("refuse")
    with pytest.raises(SignerUnavailable) as caught:
        signer.sign(b"message", timeout=60)
    text = str(caught.value)
    assert f"{program.path} says: cannot: the PIN *** did not help; it wrote: the HSM is away" in text
    assert PIN not in text
    program.act("refuse", on=False)
    assert signer.sign(b"message", timeout=60)


CREDENTIALS = '{\n  "client": "tsa",\n  "private_key": "MIGHAgEA4711"\n}\n'


@pytest.mark.parametrize(
    "script",
    [
        """printf '%s' "$HSM_CREDENTIALS" >&2""",
        """printf '%s' "$HSM_CREDENTIALS" | head -n 3 >&2; kill -9 $$""",
        """printf 'cannot read:%s' "$(printf '%s' "$HSM_CREDENTIALS" | sed -n 3p)" >&2""",
        """printf '{"errorMessage":"no such user: %s"}' "$HSM_USER" """,
    ],
    ids=["whole", "to-a-line", "one-line", "that-another-begins"],
)
def test_no_line_of_a_secret_reaches_messages(
    program: KmsProgram, script: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    program.replace(script)
    secrets = {"HSM_PREFIX": "tsa-", "HSM_USER": "tsa-4711", "HSM_CREDENTIALS": CREDENTIALS}
    with pytest.raises(SignerError) as caught:
        open_uri("demo://key", environment=secrets)
    assert "***" in str(caught.value) or "***" in caplog.text
    assert "4711" not in str(caught.value) + caplog.text


REPLIES = [
    ("exit 3", SignerError, "it printed nothing"),
    ("echo prose", SignerError, "it printed no JSON"),
    ("echo '[]'", SignerError, "it printed JSON, but no object"),
    ("echo '{}'", SignerError, "its reply has no publicKey.publicKeyPEM"),
    ("""echo '{"publicKey":{"publicKeyPEM":7}}'""", SignerError, "its reply has no publicKey.publicKeyPEM"),
    ("""echo '{"publicKey":{"publicKeyPEM":"?"}}'""", SignerError, "publicKey.publicKeyPEM in its reply is not base64"),
    ("""echo '{"publicKey":{"publicKeyPEM":"QUJD"}}'""", SignerError, "tells a public key that cannot be read"),
    ("""printf '[%.0s' $(seq 60000)""", SignerError, "it printed no JSON"),
    ("yes", SignerError, "printed more than any reply of this protocol, and was killed"),
    ("""echo '{"errorMessage":"no such key"}'; exit 1""", SignerUnavailable, "says: no such key"),
    ("kill -9 $$", SignerUnavailable, "was ended by signal 9"),
    (r"""printf 'a\033[31m\nb\tc\n' >&2""", SignerError, "it printed nothing; it wrote: b c"),
    ("sleep 600", SignerUnavailable, "did not end within 0.5 s, and was killed"),
]


@pytest.mark.parametrize(("script", "error", "said"), REPLIES)
def test_what_a_program_does_wrong_is_one_line(
    program: KmsProgram, script: str, error: type[TsaError], said: str
) -> None:
    program.replace(script)
    with pytest.raises(error) as caught:
        open_uri("demo://key", open_timeout="500ms" if "sleep" in script else "60s")
    assert type(caught.value) is error
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert str(program.path) in str(caught.value)


def test_a_program_that_cannot_be_started(program: KmsProgram) -> None:
    program.path.unlink()
    program.path.write_text("#!/nix/interpreter\n")
    program.path.chmod(0o755)
    with pytest.raises(SignerUnavailable, match="cannot be started: No such file or directory"):
        open_uri("demo://key")


def test_a_key_that_cannot_sign_timestamps(program: KmsProgram, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (program.folder / "odd.pem").write_bytes(pem)
    with pytest.raises(ConfigError, match="has a key of type X25519PublicKey, which cannot sign timestamps"):
        open_uri("demo://odd")


def test_neither_repr_nor_details_show_the_key(program: KmsProgram) -> None:
    signer = open_uri(f"{program.make_key('ecdsa-p256')}?pin-value={PIN}", environment={"HSM_PIN": PIN})
    assert PIN not in f"{signer!r} {signer.details()} {CliPluginOptions(uri=f'demo://k?pin={PIN}')!r}"
