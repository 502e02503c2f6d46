"""A reload that was refused: what is tried again without being asked for, and which files are watched from then on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.rotation import SECONDS, Identity, TsaDirectory, put
from tsa_core.api import ConfigError, SignerError, SignerUnavailable, TsaError, UnavailableError
from tsa_core.config import load_settings
from tsa_core.hosting import reloading
from tsa_core.hosting.reloading import ReloadControl
from tsa_core.testing import wait_until

FACTS: dict[str, Any] = {"files": [], "profiles": [], "selected": {}, "warnings": []}


def applied(error: TsaError, monkeypatch: pytest.MonkeyPatch, *, watch: bool) -> int:
    """Return how often a configuration is applied that is refused at first, when it was asked for once."""
    monkeypatch.setattr(reloading, "_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(reloading, "_POLL_SECONDS", 0.0)
    settings = load_settings(
        overrides={"profiles": {"default": {"signer": "memory:"}}, "server": {"watch": watch}}, environ={}
    )
    times: list[None] = []

    def apply(_settings: object) -> Any:
        times.append(None)
        if len(times) == 1:
            raise error
        return FACTS

    control = ReloadControl(settings, facts=FACTS, read_again=lambda: settings, apply=apply)
    control.request()
    for _ in range(5):
        control.tick()
    return len(times)


@pytest.mark.parametrize("error", [SignerUnavailable("no route"), UnavailableError("a worker ended")])
def test_what_may_pass_is_tried_again_while_files_are_watched(error: TsaError, monkeypatch: pytest.MonkeyPatch) -> None:
    assert applied(error, monkeypatch, watch=True) == 2
    assert applied(error, monkeypatch, watch=False) == 1


@pytest.mark.parametrize("error", [ConfigError("no such profile"), SignerError("wrong PIN")])
def test_a_mistake_is_not_tried_again(error: TsaError, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong PIN that is tried again and again locks the token."""
    assert applied(error, monkeypatch, watch=True) == 1


@pytest.mark.plugin("file")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_key_that_is_new_in_the_configuration_is_watched_before_it_is_there(workers: str, tmp_path: Path) -> None:
    tsa = TsaDirectory(tmp_path, server="watch = true")
    with tsa.served("waitress", "--workers", workers) as server:
        new = Identity()
        put(tmp_path / "other.pem", new.pem)
        put(tsa.config, tsa.config.read_bytes().replace(b"chain.pem", b"other.pem").replace(b"key.pem", b"later.pem"))
        report = tsa.wait_for_report(0)
        assert not report.succeeded
        assert "later.pem: the private key cannot be read" in report.message
        put(tmp_path / "later.pem", new.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        wait_until(
            lambda: server.get("/api/v1/timestamp/certchain").body == new.pem,
            seconds=SECONDS,
            what="the new key is in use",
        )
