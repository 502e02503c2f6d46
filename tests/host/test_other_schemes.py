"""A key URI's scheme that no plugin is named after is asked of the plugins whose entry point offers that, alone."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from tsa_core.api import PluginCrash, PluginError, Provider, Signer, SignerOptions, hookimpl
from tsa_core.host import CLOCK, SIGNER, InstalledPlugin, PluginHost
from tsa_core.testing.fakes import FakeSigner

HOOK = "tsa_signers_of_scheme"


def offer(scheme: str, name: str = "") -> Provider[Signer]:
    return Provider(
        name=name or scheme, summary=f"for {scheme}", options=SignerOptions, open=lambda options: FakeSigner()
    )


@pytest.fixture
def install() -> Iterator[Callable[..., InstalledPlugin]]:
    """Make installed plugins whose implementation of the hook is the given function."""
    made: list[str] = []

    def make(name: str, function: Callable[..., Any], hook: str = HOOK) -> InstalledPlugin:
        full = f"other_schemes_of_{name}"
        module = types.ModuleType(full)
        setattr(module, HOOK, hookimpl(function))
        sys.modules[full] = module
        made.append(full)
        return InstalledPlugin(name=name, module=full, distribution=f"acme-{name}", version="1.0", hook=hook)

    yield make
    for name in made:
        sys.modules.pop(name, None)


def host(*plugins: InstalledPlugin) -> PluginHost:
    return PluginHost({plugin.name: [plugin] for plugin in plugins})


def all_of(*schemes: str) -> Callable[[str], Iterable[Provider[Signer]]]:
    return lambda scheme: [offer(scheme)] if scheme in schemes else []


def test_the_plugin_that_has_the_scheme_opens_the_key(install: Callable[..., InstalledPlugin]) -> None:
    found = host(install("one", all_of("demo", "demo2")), install("two", all_of("other")))
    signer = found.open(SIGNER, "demo", {}, fixed={"uri": "demo://key"})
    assert isinstance(signer, FakeSigner)
    assert found.distribution("demo") == "acme-one 1.0"
    assert found.provider(SIGNER, "other").summary == "for other"


def test_it_is_listed_as_a_signer(install: Callable[..., InstalledPlugin]) -> None:
    assert install("one", all_of("demo")).kind_by_name == "signer"


def test_a_scheme_that_none_has_is_refused_as_before(install: Callable[..., InstalledPlugin]) -> None:
    with pytest.raises(PluginError, match="no signer 'nix' is installed, and tsa-core has none of that name"):
        host(install("one", all_of("demo"))).provider(SIGNER, "nix")


def test_a_plugin_of_that_name_comes_first(install: Callable[..., InstalledPlugin]) -> None:
    found = host(install("demo", all_of("demo"), hook=""), install("two", all_of("demo")))
    with pytest.raises(PluginError, match=r"the plugin demo \(acme-demo 1\.0\) is no signer"):
        found.provider(SIGNER, "demo")


def test_a_plugin_whose_entry_point_does_not_name_the_hook_is_not_imported(
    install: Callable[..., InstalledPlugin],
) -> None:
    quiet = install("quiet", all_of("demo"), hook="")
    del sys.modules[quiet.module]
    with pytest.raises(PluginError, match="no signer 'demo' is installed"):
        host(quiet).provider(SIGNER, "demo")


def test_other_kinds_have_no_other_schemes(install: Callable[..., InstalledPlugin]) -> None:
    with pytest.raises(PluginError, match="no clock source 'demo' is installed"):
        host(install("one", all_of("demo"))).provider(CLOCK, "demo")


def test_two_that_have_the_scheme_are_refused(install: Callable[..., InstalledPlugin]) -> None:
    found = host(install("one", all_of("demo")), install("two", all_of("demo")))
    with pytest.raises(PluginError, match="'demo' comes from both other_schemes_of_one and other_schemes_of_two"):
        found.provider(SIGNER, "demo")


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda scheme: [offer(scheme, "another")], "yields 'another' for the scheme 'demo'"),
        (lambda scheme: ["demo"], "which is not a Provider"),
        (lambda scheme: None, "a hook yields what it registers"),
        (lambda scheme: 1 / 0, "failed in tsa_signers_of_scheme: ZeroDivisionError"),
    ],
)
def test_what_a_plugin_does_wrong_names_it(
    install: Callable[..., InstalledPlugin], function: Callable[..., Any], said: str
) -> None:
    with pytest.raises((PluginError, PluginCrash)) as caught:
        host(install("one", function)).provider(SIGNER, "demo")
    assert said in str(caught.value)
    assert "acme-one 1.0" in str(caught.value)
