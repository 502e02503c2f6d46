"""A password that somebody wrote into a key's URI is in no error, whichever signer refuses the URI."""

from __future__ import annotations

import pytest

from tsa_core.api import ConfigError, TsaError
from tsa_core.config import load_settings
from tsa_core.service import Service

SECRET = "hunter2"


@pytest.mark.parametrize("written", ["{}://tsa:hunter2@host/key", "{}://host/key?token=hunter2", "{}://k?pin=hunter2"])
@pytest.mark.parametrize("scheme", ["awskms", "azurekms", "gcpkms", "hashivault", "openbao", "pkcs11", "unknown"])
def test_no_error_quotes_the_secret(scheme: str, written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:1")
    settings = load_settings(overrides={"profiles": {"default": {"signer": written.format(scheme)}}}, environ={})
    with pytest.raises(TsaError) as caught:
        Service(settings)
    assert SECRET not in str(caught.value)


def test_what_is_no_secret_stays() -> None:
    text = "'pkcs11:token=t' has pin-value=1234 in it; write http://host:8200/v1/a@b, or user:name@host"
    assert str(ConfigError(text, path="signer.x")) == f"signer.x: {text.replace('1234', '(hidden)')}"
