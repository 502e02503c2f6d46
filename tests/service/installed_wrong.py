"""Installs the plugin `wrong` of acme-timestamps 1.0, selects it, and returns what the operator is told of it."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import pytest

from tests.serving import TestSigner
from tsa_core.api import Provider, SignerOptions, TemporaryFailure, TsaError, hookimpl
from tsa_core.config import load_settings
from tsa_core.host import KINDS, InstalledPlugin, PluginHost, installed_plugins
from tsa_core.service import Service

Install: TypeAlias = Callable[..., PluginHost]

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


@contextmanager
def installing() -> Iterator[Install]:
    """Yield a function that makes a host with the plugin `wrong` of acme-timestamps 1.0 and a signer that is right."""
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

    try:
        yield make
    finally:
        for name in made:
            sys.modules.pop(name, None)


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
