"""A plugin with a mistake is found when a server starts: one line, with plugin and distribution, and exit code 2."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.service.wrong_plugins import HOOKS, OPTIONS, WRONG, Wrong, raising
from tests.serving import TestSigner
from tsa_core.api import (
    ConfigError,
    PluginError,
    Provider,
    SignerError,
    SignerOptions,
    TemporaryFailure,
    TsaError,
    hookimpl,
)
from tsa_core.config import load_settings
from tsa_core.host import KINDS, InstalledPlugin, PluginHost, installed_plugins
from tsa_core.service import Service

SELECTED: dict[str, dict[str, Any]] = {
    "signer": {},
    "clock": {"clock": {"source": "wrong"}},
    "monitor": {"clock": {"monitors": ["wrong"]}},
    "policy": {"policy": {"selectors": ["wrong"]}},
    "response": {"response": {"processors": ["wrong"]}},
    "audit": {"audit": {"sinks": ["wrong"]}},
    "observer": {"observe": {"observers": ["wrong"]}},
    "health": {"health": {"checks": ["wrong"]}},
    "routes": {"routes": {"plugins": ["wrong"]}},
    "guard": {"middleware": {"guards": ["wrong"]}},
}
"""The settings that select the plugin `wrong`, by its kind."""
HOOK_OF = {kind.name: kind.hook for kind in KINDS}
OPTIONS_OF = {kind.name: kind.options for kind in KINDS}


@pytest.fixture
def install() -> Iterator[Callable[..., PluginHost]]:
    """Return a function that makes a host with the plugin `wrong` of acme-timestamps 1.0 and a signer that is right."""
    made: list[str] = []

    def module(name: str, **hooks: Any) -> str:
        new = types.ModuleType(f"acme_timestamps_{name}")
        for hook, function in hooks.items():
            setattr(new, hook, hookimpl(function))
        sys.modules[new.__name__] = new
        made.append(new.__name__)
        return new.__name__

    def make(requires: str = "tsa-core>=0.1", **hooks: Any) -> PluginHost:
        installed = {name: found for name, found in installed_plugins().items() if found[0].distribution == "tsa-core"}
        right = Provider(name="right", summary="", options=SignerOptions, open=lambda _: TestSigner())
        installed["right"] = [
            InstalledPlugin(
                name="right", module=module("right", tsa_signers=lambda: [right]), distribution="tests", version="0"
            )
        ]
        installed["wrong"] = [
            InstalledPlugin(
                name="wrong",
                module=module("wrong", **hooks),
                distribution="acme-timestamps",
                version="1.0",
                requires=(requires,),
            )
        ]
        return PluginHost(installed, open_timeout=settings("signer").server.open_timeout)

    yield make
    for name in made:
        sys.modules.pop(name, None)


def no_providers() -> list[Any]:
    """A hook that registers nothing."""
    return []


def settings(kind: str) -> Any:
    signer = "wrong:" if kind == "signer" else "right:"
    profile = {"signer": signer, "signer_timeout": "100ms"}
    return load_settings(
        overrides={"profiles": {"default": profile}, "server": {"open_timeout": "300ms"}, **SELECTED[kind]}, environ={}
    )


def complaint(host: PluginHost, kind: str) -> str:
    """The one line that an operator gets; a mistake is not something that passes."""
    with pytest.raises(TsaError) as caught:
        Service(settings(kind), host=host)
    assert not isinstance(caught.value, TemporaryFailure)
    (line,) = str(caught.value).splitlines()
    assert "acme-timestamps 1.0" in line
    assert "wrong" in line
    return line


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_mistake_in_what_is_opened(
    install: Callable[..., PluginHost], monkeypatch: pytest.MonkeyPatch, wrong: Wrong
) -> None:
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
def test_options_that_are_no_model(install: Callable[..., PluginHost], options: Any, said: str) -> None:
    provider = Provider(name="wrong", summary="", options=options, open=lambda _: TestSigner())
    assert said in complaint(install(tsa_signers=lambda: [provider]), "signer")


@pytest.mark.parametrize(("hook", "said"), [each[1:] for each in HOOKS], ids=[each[0] for each in HOOKS])
def test_mistake_in_a_hook(install: Callable[..., PluginHost], hook: Any, said: str) -> None:
    assert said in complaint(install(tsa_signers=hook), "signer")


@pytest.mark.parametrize("opens", [None, "open_signer", 7])
def test_open_that_is_no_function(install: Callable[..., PluginHost], opens: Any) -> None:
    provider = Provider(name="wrong", summary="", options=SignerOptions, open=opens)
    assert "its open is " in complaint(install(tsa_signers=lambda: [provider]), "signer")


def test_name_that_is_no_text(install: Callable[..., PluginHost]) -> None:
    provider = Provider(name=None, summary="", options=SignerOptions, open=lambda _: None)  # type: ignore[arg-type] # the mistake
    assert "the name of a Provider is None, not a text" in complaint(install(tsa_signers=lambda: [provider]), "signer")


def test_hook_of_a_newer_core(install: Callable[..., PluginHost]) -> None:
    line = complaint(install(tsa_time_sources=no_providers), "signer")
    assert "implements a hook that tsa-core lacks" in line
    assert "upgrade the core, not the plugin" in line


def test_plugin_made_for_a_newer_core(install: Callable[..., PluginHost]) -> None:
    line = complaint(install("tsa-core>=0.2,<0.3", tsa_signers=no_providers), "signer")
    assert "upgrade the core, not the plugin: get tsa-core<0.3,>=0.2 " in line


def fail_to_import(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    import_module = importlib.import_module

    def fail(name: str) -> types.ModuleType:
        if name == "acme_timestamps_wrong":
            raise error
        return import_module(name)

    monkeypatch.setattr("importlib.import_module", fail)


def test_import_of_what_this_core_lacks(install: Callable[..., PluginHost], monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = ImportError("cannot import name 'RemoteSigner' from 'tsa_core.api'", name="tsa_core.api")
    fail_to_import(monkeypatch, lacking)
    assert "upgrade the core, not the plugin" in complaint(install(), "signer")


def test_import_that_ends_the_process(install: Callable[..., PluginHost], monkeypatch: pytest.MonkeyPatch) -> None:
    fail_to_import(monkeypatch, SystemExit(0))
    assert "could not be imported: SystemExit: 0" in complaint(install(), "signer")


@pytest.mark.parametrize("error", [ConfigError("no slot"), SignerError("no key"), PluginError("no library")])
def test_what_a_plugin_says_itself_is_passed_on(install: Callable[..., PluginHost], error: TsaError) -> None:
    provider = Provider(name="wrong", summary="", options=SignerOptions, open=raising(error))
    with pytest.raises(type(error), match=str(error)):
        Service(settings("signer"), host=install(tsa_signers=lambda: [provider]))


def test_there_are_at_least_47_ways() -> None:
    assert len({wrong.name for wrong in WRONG}) + len(OPTIONS) + len(HOOKS) >= 47


def test_what_the_system_refuses_a_plugin_is_said_in_its_words(install: Callable[..., PluginHost]) -> None:
    error = PermissionError(13, "Permission denied", "/var/lib/keys")
    provider = Provider(name="wrong", summary="", options=SignerOptions, open=raising(error))
    with pytest.raises(PluginError, match=r"could not be opened: Permission denied: /var/lib/keys$"):
        Service(settings("signer"), host=install(tsa_signers=lambda: [provider]))
