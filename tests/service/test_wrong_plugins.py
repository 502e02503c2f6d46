"""A plugin with a mistake is found when a server starts: one line, with plugin and distribution, and exit code 2."""

from __future__ import annotations

import importlib
import types
from typing import Any

import pytest

from tests.service.installed_wrong import HOOK_OF, OPTIONS_OF, Install, complaint, settings
from tests.service.wrong_plugins import HOOKS, OPTIONS, WRONG, Wrong, raising
from tests.serving import TestSigner
from tsa_core.api import ConfigError, PluginError, Provider, SignerError, SignerOptions, TsaError
from tsa_core.service import Service


def no_providers() -> list[Any]:
    """A hook that registers nothing."""
    return []


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_mistake_in_what_is_opened(install: Install, monkeypatch: pytest.MonkeyPatch, wrong: Wrong) -> None:
    monkeypatch.setattr("tsa_core.authority.profile._TRIAL_GRACE_SECONDS", 0.2)
    opens = wrong.open

    async def opens_asynchronously(_options: Any) -> Any:
        return await opens()

    provider = Provider(
        name="wrong",
        summary="Has a mistake",
        options=OPTIONS_OF[wrong.kind],
        open=opens_asynchronously if wrong.name == "sink-coroutine" else lambda _: opens(),
    )
    host = install(**{HOOK_OF[wrong.kind]: lambda: [provider]})
    assert wrong.said in complaint(host, wrong.kind)


@pytest.mark.parametrize(("options", "said"), [each[1:] for each in OPTIONS], ids=[each[0] for each in OPTIONS])
def test_options_that_are_no_model(install: Install, options: Any, said: str) -> None:
    provider = Provider(name="wrong", summary="", options=options, open=lambda _: TestSigner())
    assert said in complaint(install(tsa_signers=lambda: [provider]), "signer")


@pytest.mark.parametrize(("hook", "said"), [each[1:] for each in HOOKS], ids=[each[0] for each in HOOKS])
def test_mistake_in_a_hook(install: Install, hook: Any, said: str) -> None:
    assert said in complaint(install(tsa_signers=hook), "signer")


@pytest.mark.parametrize("opens", [None, "open_signer", 7])
def test_open_that_is_no_function(install: Install, opens: Any) -> None:
    provider = Provider(name="wrong", summary="", options=SignerOptions, open=opens)
    assert "its open is " in complaint(install(tsa_signers=lambda: [provider]), "signer")


def test_name_that_is_no_text(install: Install) -> None:
    provider = Provider(name=None, summary="", options=SignerOptions, open=lambda _: None)  # type: ignore[arg-type] # the mistake
    assert "the name of a Provider is None, not a text" in complaint(install(tsa_signers=lambda: [provider]), "signer")


def test_hook_of_a_newer_core(install: Install) -> None:
    line = complaint(install(tsa_time_sources=no_providers), "signer")
    assert "implements a hook that tsa-core lacks" in line
    assert "upgrade the core, not the plugin" in line


def test_plugin_made_for_a_newer_core(install: Install) -> None:
    line = complaint(install("tsa-core>=0.2,<0.3", tsa_signers=no_providers), "signer")
    assert "upgrade the core, not the plugin: get tsa-core<0.3,>=0.2 " in line


def fail_to_import(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    import_module = importlib.import_module

    def fail(name: str) -> types.ModuleType:
        if name == "acme_timestamps_wrong":
            raise error
        return import_module(name)

    monkeypatch.setattr("importlib.import_module", fail)


def test_import_of_what_this_core_lacks(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = ImportError("cannot import name 'RemoteSigner' from 'tsa_core.api'", name="tsa_core.api")
    fail_to_import(monkeypatch, lacking)
    assert "upgrade the core, not the plugin" in complaint(install(), "signer")


def test_import_that_ends_the_process(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_to_import(monkeypatch, SystemExit(0))
    assert "could not be imported: SystemExit: 0" in complaint(install(), "signer")


@pytest.mark.parametrize("error", [ConfigError("no slot"), SignerError("no key"), PluginError("no library")])
def test_what_a_plugin_says_itself_is_passed_on(install: Install, error: TsaError) -> None:
    provider = Provider(name="wrong", summary="", options=SignerOptions, open=raising(error))
    with pytest.raises(type(error), match=str(error)):
        Service(settings("signer"), host=install(tsa_signers=lambda: [provider]))


def test_there_are_at_least_47_ways() -> None:
    assert len({wrong.name for wrong in WRONG}) + len(OPTIONS) + len(HOOKS) >= 47


def test_what_the_system_refuses_a_plugin_is_said_in_its_words(install: Install) -> None:
    error = PermissionError(13, "Permission denied", "/var/lib/keys")
    provider = Provider(name="wrong", summary="", options=SignerOptions, open=raising(error))
    with pytest.raises(PluginError, match=r"could not be opened: Permission denied: /var/lib/keys$"):
        Service(settings("signer"), host=install(tsa_signers=lambda: [provider]))
