"""The PKCS#11 signer makes key pairs in a token, whose private halves cannot leave it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pkcs11 import Attribute
from pydantic import SecretStr

from tsa_backends.softhsm import PIN, SoftHsm
from tsa_core.api import ConfigError, SignerError
from tsa_core.cli.keys.group import keys
from tsa_core.testing import KeyMakingContract
from tsa_signer_pkcs11 import plugin as pkcs11_plugin
from tsa_signer_pkcs11.keys import attribute, find_private_key, find_token
from tsa_signer_pkcs11.making import make_key
from tsa_signer_pkcs11.module import Module
from tsa_signer_pkcs11.options import Pkcs11Options
from tsa_signer_pkcs11.uri import read_key_uri

WRONG = "7654321"


class TestKeyMaking(KeyMakingContract):
    kinds = ("ecdsa-p256", "ecdsa-p384", "rsa-2048")

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return pkcs11_plugin

    @pytest.fixture
    def options(self, softhsm: SoftHsm) -> Mapping[str, Any]:
        return {"module": str(softhsm.module), "pin": PIN}

    @pytest.fixture
    def new_uri(self, softhsm: SoftHsm) -> str:
        softhsm.make_token("TSA keys")
        return "pkcs11:token=TSA%20keys;object=made"


@pytest.fixture
def options(softhsm: SoftHsm) -> Mapping[str, Any]:
    softhsm.make_token("t")
    return {"module": str(softhsm.module), "pin": PIN}


def make(options: Mapping[str, Any], uri: str, kind: str = "ecdsa-p256") -> None:
    make_key(Pkcs11Options.model_validate({**options, "uri": uri}), kind)


def test_the_private_key_is_sensitive_and_was_never_extractable(options: Mapping[str, Any]) -> None:
    make(options, "pkcs11:token=t;object=made;id=%01%02")
    deadline = time.monotonic() + 60
    uri = read_key_uri("pkcs11:token=t;object=made")
    module = Module.acquire(Path(options["module"]))
    try:
        with (
            module.call(deadline),
            module.open_session(lambda lib: find_token(lib, uri), SecretStr(PIN), deadline) as session,
        ):
            key = find_private_key(session, uri)
            names = (Attribute.SENSITIVE, Attribute.NEVER_EXTRACTABLE, Attribute.ID)
            found = {name: attribute(key, name) for name in names}
    finally:
        module.release()
    assert found == {Attribute.SENSITIVE: True, Attribute.NEVER_EXTRACTABLE: True, Attribute.ID: b"\1\2"}


@pytest.mark.parametrize(
    ("uri", "kind", "said"),
    [
        ("pkcs11:token=t", "ecdsa-p256", "names no object=LABEL"),
        ("pkcs11:token=t;object=made", "ml-dsa-65", "keys of the kind ml-dsa-65 are not made here"),
    ],
)
def test_what_cannot_be_made_is_refused(options: Mapping[str, Any], uri: str, kind: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make(options, uri, kind)


def test_a_wrong_pin_is_told_without_it(options: Mapping[str, Any]) -> None:
    with pytest.raises(ConfigError, match="refused the PIN") as caught:
        make({**options, "pin": WRONG}, "pkcs11:token=t;object=made")
    assert WRONG not in str(caught.value)


def test_a_token_that_is_not_there_is_told(options: Mapping[str, Any]) -> None:
    with pytest.raises(SignerError):
        make(options, "pkcs11:token=other;object=made")


def test_a_pin_in_the_key_uri_is_in_nothing_that_a_ceremony_writes(
    softhsm: SoftHsm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither when a key is made nor when it is said to be gone, with the right PIN and a wrong one."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.delenv("TSA_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    softhsm.make_token("t")

    def run(command: str, pin: str, *arguments: str) -> Result:
        uri = f"pkcs11:token=t;object=made?pin-value={pin}&module-path={softhsm.module}"
        flags = ["--key", uri, "--attendee", "Ada=officer", "--attendee", "Grace=auditor", *arguments]
        return CliRunner().invoke(keys, [command, *flags])

    results = [
        run("ceremony", PIN, "--make", "ecdsa-p256", "--output", "c.json"),
        run("ceremony", PIN, "--make", "ecdsa-p256", "--output", "again.json"),
        run("ceremony", WRONG, "--output", "wrong.json"),
        run("destroyed", PIN, "--ceremony", "c.json", "--how", "pulled", "--output", "d.json"),
        run("destroyed", WRONG, "--ceremony", "c.json", "--how", "pulled", "--output", "e.json"),
    ]
    assert [result.exit_code for result in results] == [0, 1, 1, 1, 1]
    assert "because it cannot be opened as it was" in results[-1].output
    written = sorted(path.name for path in tmp_path.glob("*.*") if path.suffix in {".json", ".md"})
    assert written == ["c.json", "c.md"]
    said = [result.output + str(result.exception) for result in results]
    texts = "".join([*said, caplog.text, *((tmp_path / name).read_text() for name in written)])
    assert "pin-value=(hidden)" in texts
    assert PIN not in texts
    assert WRONG not in texts
