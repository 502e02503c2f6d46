"""Finding, loading, opening and closing plugins, and every way in which that goes wrong."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from tsa_core.api import (
    Clock,
    ConfigError,
    NoOptions,
    PluginCrash,
    PluginError,
    PluginOptions,
    Provider,
    SignerError,
    TimeReading,
    hookimpl,
)
from tsa_core.builtin.clock import SystemClock
from tsa_core.host import CLOCK, SIGNER, InstalledPlugin, PluginHost


class ColourOptions(PluginOptions):
    colour: str = "red"


class FakeClock(Clock):
    def __init__(self, name: str, closed: list[str]) -> None:
        self.name = name
        self.closed = closed

    def now(self) -> TimeReading:
        return SystemClock().now()

    def close(self) -> None:
        self.closed.append(self.name)
        if self.name == "bad":
            raise RuntimeError("cannot close")


@pytest.fixture
def closed() -> list[str]:
    return []


@pytest.fixture
def module() -> Iterator[Callable[..., str]]:
    """Make modules that can be imported by name for the time of a test."""
    made: list[str] = []

    def make(name: str, **hooks: Any) -> str:
        full = f"fake_plugin_{name}"
        new = types.ModuleType(full)
        for hook, function in hooks.items():
            setattr(new, hook, hookimpl(function))
        sys.modules[full] = new
        made.append(full)
        return full

    yield make
    for name in made:
        sys.modules.pop(name, None)


def installed(*plugins: InstalledPlugin) -> dict[str, list[InstalledPlugin]]:
    result: dict[str, list[InstalledPlugin]] = {}
    for plugin in plugins:
        result.setdefault(plugin.name, []).append(plugin)
    return result


def plugin(name: str, module: str, distribution: str = "", requires: tuple[str, ...] = ()) -> InstalledPlugin:
    return InstalledPlugin(
        name=name, module=module, distribution=distribution or f"tsa-clock-{name}", version="1.0", requires=requires
    )


def clock_provider(name: str, open_: Callable[..., Clock], options: type[PluginOptions] = NoOptions) -> Any:
    def tsa_clocks() -> Iterable[Provider[Clock]]:
        yield Provider(name=name, summary="a clock", options=options, open=open_)

    return tsa_clocks


def test_the_cores_own_providers_come_through_the_same_door() -> None:
    host = PluginHost()
    assert {"system", "oid"} <= {found.name for found in host.installed()}
    assert isinstance(host.open(CLOCK, "system", {}), SystemClock)


def test_nothing_is_imported_until_it_is_selected() -> None:
    # A module of this name cannot be imported, and nobody tries.
    host = PluginHost(installed(plugin("broken", "no_such_module_anywhere"), *PluginHost().installed()))
    host.open(CLOCK, "system", {})
    with pytest.raises(PluginError, match=r"broken \(tsa-clock-broken 1\.0\) could not be imported"):
        host.load("broken")


def test_a_missing_plugin_is_named_with_what_there_is_and_how_to_get_it() -> None:
    with pytest.raises(PluginError) as caught:
        PluginHost(installed(plugin("awskms", "m", "tsa-signer-awskms"))).open(SIGNER, "awskm", {})
    assert "no signer 'awskm' is installed; did you mean 'awskms'?" in str(caught.value)
    assert "pip" not in str(caught.value)


def test_only_plugins_of_the_kind_that_is_missing_are_offered() -> None:
    found = installed(
        plugin("file", "m", "tsa-signer-file"),
        plugin("chrony", "m", "tsa-monitor-chrony"),
        plugin("acme", "m", "acme-timestamps"),
        *PluginHost().installed(),
    )
    with pytest.raises(PluginError) as caught:
        PluginHost(found).open(SIGNER, "nosuch", {})
    offered = str(caught.value).partition("installed: ")[2].partition(";")[0].split(", ")
    assert {"file", "acme"} <= set(offered)
    assert not {"chrony", "system", "oid"} & set(offered)


def test_two_distributions_of_one_name_are_an_error_that_names_both() -> None:
    host = PluginHost(installed(plugin("acme", "one", "tsa-clock-acme"), plugin("acme", "two", "evil-acme")))
    with pytest.raises(PluginError, match=r"evil-acme 1\.0 and tsa-clock-acme 1\.0; uninstall one"):
        host.load("acme")


def test_one_provider_from_two_modules_is_an_error(module: Callable[..., str]) -> None:
    one = module("one", tsa_clocks=clock_provider("one", lambda _: SystemClock()))
    two = module("two", tsa_clocks=clock_provider("one", lambda _: SystemClock()))
    host = PluginHost(installed(plugin("one", one), plugin("two", two)))
    host.load("two")
    with pytest.raises(PluginError, match="comes from both fake_plugin_two and fake_plugin_one"):
        host.open(CLOCK, "one", {})


def test_an_unknown_hook_is_an_error(module: Callable[..., str]) -> None:
    host = PluginHost(installed(plugin("typo", module("typo", tsa_clokcs=lambda: iter(())))))
    with pytest.raises(PluginError, match=r"typo \(tsa-clock-typo 1\.0\) implements a hook that tsa-core lacks"):
        host.load("typo")


def test_a_hook_with_wrong_arguments_is_an_error(module: Callable[..., str]) -> None:
    host = PluginHost(installed(plugin("args", module("args", tsa_clocks=lambda settings: []))))
    with pytest.raises(PluginError, match="wrong arguments"):
        host.load("args")


@pytest.mark.parametrize("requirement", ["tsa_core<0.1", "TSA-Core==0.0.1", "tsa-core>=0.0.1,<0.1"])
def test_a_plugin_made_for_an_older_core_is_refused(requirement: str) -> None:
    host = PluginHost(installed(plugin("old", "whatever", requires=(requirement,))))
    with pytest.raises(PluginError, match=r"needs tsa-core.*; install a tsa-clock-old made for it"):
        host.load("old")


@pytest.mark.parametrize("requirement", ["tsa-core>=9", "tsa-core>=0.2,<0.3", "tsa-core~=1.0", "tsa-core==9.*"])
def test_a_plugin_made_for_a_newer_core_says_to_upgrade_the_core(requirement: str) -> None:
    host = PluginHost(installed(plugin("new", "whatever", requires=(requirement,))))
    with pytest.raises(PluginError, match=r"needs tsa-core.*; upgrade the core, not the plugin: get tsa-core"):
        host.load("new")


def test_requirements_of_extras_and_other_packages_do_not_matter(module: Callable[..., str]) -> None:
    name = module("fine", tsa_clocks=clock_provider("fine", lambda _: SystemClock()))
    requires = ("tsa-core>=0.1", "tsa-core>=9; extra == 'test'", "boto3>=99", "not a requirement!")
    assert PluginHost(installed(plugin("fine", name, requires=requires))).load("fine").name == "fine"


def test_two_entry_points_to_one_module_load_it_once(module: Callable[..., str], closed: list[str]) -> None:
    def tsa_clocks() -> Iterable[Provider[Clock]]:
        for name in ("first", "second"):
            yield Provider(name=name, summary="a clock", open=lambda _: FakeClock("x", closed))

    name = module("twins", tsa_clocks=tsa_clocks)
    host = PluginHost(installed(plugin("first", name), plugin("second", name)))
    host.open(CLOCK, "first", {})
    host.open(CLOCK, "second", {})
    host.close()
    assert closed == ["x", "x"]


def test_a_plugin_of_another_kind_says_what_it_is() -> None:
    with pytest.raises(PluginError, match=r"system .* is no signer; it offers: clock source 'system'"):
        PluginHost().open(SIGNER, "system", {})


def test_settings_are_validated_and_unknown_ones_refused(module: Callable[..., str]) -> None:
    seen: list[ColourOptions] = []

    def open_clock(options: ColourOptions) -> Clock:
        seen.append(options)
        return SystemClock()

    name = module("colour", tsa_clocks=clock_provider("colour", open_clock, ColourOptions))
    host = PluginHost(installed(plugin("colour", name)))
    host.open(CLOCK, "colour", {"colour": "blue"})
    assert seen[0].colour == "blue"
    with pytest.raises(ConfigError, match=r"unknown setting clock\.colour\.color; did you mean 'colour'\?"):
        host.open(CLOCK, "colour", {"color": "blue"})
    with pytest.raises(ConfigError, match=r"clock\.colour\.colour: must be a text"):
        host.open(CLOCK, "colour", {"colour": 3})


@pytest.mark.plugin("memory")
def test_what_the_profile_fills_in_cannot_be_set_in_the_table() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting signer\.memory\.uri"):
        PluginHost().open(SIGNER, "memory", {"uri": "memory:x"})


@pytest.mark.parametrize("error", [KeyError("secret"), RuntimeError("x"), OSError("y")])
def test_an_unexpected_failure_at_opening_is_a_crash_that_names_the_plugin(
    module: Callable[..., str], error: Exception
) -> None:
    def open_clock(_options: NoOptions) -> Clock:
        raise error

    host = PluginHost(installed(plugin("boom", module("boom", tsa_clocks=clock_provider("boom", open_clock)))))
    with pytest.raises(PluginCrash, match="clock source 'boom'") as caught:
        host.open(CLOCK, "boom", {})
    assert caught.value.__cause__ is error


def test_errors_of_the_contract_pass_unchanged(module: Callable[..., str]) -> None:
    def open_clock(_options: NoOptions) -> Clock:
        raise SignerError("as it is")

    host = PluginHost(installed(plugin("err", module("err", tsa_clocks=clock_provider("err", open_clock)))))
    with pytest.raises(SignerError, match="as it is"):
        host.open(CLOCK, "err", {})


def test_a_hook_that_crashes_names_its_module(module: Callable[..., str]) -> None:
    def tsa_clocks() -> Iterable[Provider[Clock]]:
        yield Provider(name="crash", summary=f"{1 // 0}", open=lambda _: SystemClock())

    host = PluginHost(installed(plugin("crash", module("crash", tsa_clocks=tsa_clocks))))
    with pytest.raises(PluginCrash, match=r"crash \(tsa-clock-crash 1.0\) failed in tsa_clocks: ZeroDivisionError"):
        host.open(CLOCK, "crash", {})


def test_what_is_no_provider_is_refused(module: Callable[..., str]) -> None:
    host = PluginHost(installed(plugin("odd", module("odd", tsa_clocks=lambda: ["a clock"]))))
    with pytest.raises(PluginError, match="not a Provider"):
        host.open(CLOCK, "odd", {})


def test_everything_is_closed_last_first_and_once_even_when_one_fails(
    module: Callable[..., str], closed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    plugins = []
    for name in ("one", "bad", "two"):
        made = module(name, tsa_clocks=clock_provider(name, lambda _, name=name: FakeClock(name, closed)))
        plugins.append(plugin(name, made))
    host = PluginHost(installed(*plugins))
    for name in ("one", "bad", "two"):
        host.open(CLOCK, name, {})
    host.close()
    host.close()
    assert closed == ["two", "bad", "one"]
    assert "plugin bad (" in caplog.text
