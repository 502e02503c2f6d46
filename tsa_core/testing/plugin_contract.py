"""What every plugin must fulfil, whatever it provides: ProviderContract, and the fixtures that all contracts share."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from types import ModuleType
from typing import Any, ClassVar

import pytest
import tomli_w
from packaging.requirements import Requirement
from pydantic import SecretStr

from tsa_core import __version__
from tsa_core.api import CertificateAuthorityOptions, ConfigError, KekOptions, PluginOptions, Provider, SignerOptions
from tsa_core.api.provider import fields_of_the_core
from tsa_core.host import CERTIFICATE_AUTHORITY, COMMAND_GROUP, GROUP, KEK, KINDS, SIGNER, Kind, PluginHost

_IMPORT_SECONDS = 60
_LIST_IMPORTS = """
import importlib, json, sys
for name in ("tsa_core.api", "tsa_core.host", "click"):
    importlib.import_module(name)
before = set(sys.modules)
importlib.import_module(sys.argv[1])
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""


class PluginFixtures:
    """The fixtures of all contracts; override `plugin`, and `options` where the plugin cannot do without.

    `kind` is only needed for a module that provides several: signer, clock, monitor, policy, response, audit,
    observer, health, routes, guard, ca or kek. `provider_name` is only needed for one that provides several of a kind.
    """

    kind: ClassVar[str] = ""
    provider_name: ClassVar[str] = ""

    @pytest.fixture
    def plugin(self) -> ModuleType:
        """Return the module that the entry point names; override it."""
        pytest.fail(
            f"{type(self).__name__} must override the fixture `plugin` and return the module plugin.py", pytrace=False
        )

    @pytest.fixture
    def plugin_kind(self, plugin: ModuleType) -> Kind[Any]:
        """Return what the module provides."""
        kinds = [kind for kind in KINDS if hasattr(plugin, kind.hook) and self.kind in {"", kind.name}]
        assert len(kinds) == 1, (
            f"{plugin.__name__} implements {[kind.hook for kind in kinds]} of {[kind.hook for kind in KINDS]}; a "
            "contract is for one of them: implement one with @hookimpl, or set the class attribute `kind`"
        )
        return kinds[0]

    @pytest.fixture
    def provider(self, plugin: ModuleType, plugin_kind: Kind[Any]) -> Provider[Any]:
        """Return the provider under test, as the module's hook yields it."""
        found: list[Provider[Any]] = list(getattr(plugin, plugin_kind.hook)())
        assert all(isinstance(p, Provider) for p in found), f"{plugin_kind.hook} must yield Provider objects: {found}"
        chosen = [p for p in found if self.provider_name in {"", p.name}]
        assert len(chosen) == 1, (
            f"{plugin_kind.hook} yields {[p.name for p in found]}; set the class attribute `provider_name` to one"
        )
        return chosen[0]

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        """Return the plugin's settings table, as it would stand in TOML; override it unless defaults will do."""
        return {}

    @pytest.fixture
    def fixed_options(self, provider: Provider[Any]) -> Mapping[str, Any]:
        """Return what the core fills in; a signer's contract puts the key URI here."""
        return {"uri": f"{provider.name}:"} if fields_of_the_core(provider.options) else {}

    @pytest.fixture
    def validated_options(
        self, provider: Provider[Any], options: Mapping[str, Any], fixed_options: Mapping[str, Any]
    ) -> PluginOptions:
        """Return the options object that `open` gets."""
        return provider.options.model_validate({**options, **fixed_options})

    def open(self, provider: Provider[Any], options: Mapping[str, Any]) -> Any:
        """Return what the provider opens with these settings, as the core would; whoever asked closes it."""
        arguments = {"open_kek": PluginHost().open_kek} if provider.uses_keks else {}
        return provider.open(provider.options.model_validate(options), **arguments)

    @pytest.fixture
    def secrets(self, validated_options: PluginOptions) -> list[str]:
        """Return texts that must appear nowhere; the values of all Secret options unless overridden."""
        values = (getattr(validated_options, name) for name in type(validated_options).model_fields)
        return [value.get_secret_value() for value in values if isinstance(value, SecretStr)]


class ProviderContract(PluginFixtures):
    """What the host relies on before anything is opened. Subclass it as TestProvider and override `plugin`.

    The plugin must be installed, editable or from its wheel, because its metadata are under test too. Override
    `distribution_name` when it is not called tsa-KIND-NAME.
    """

    @pytest.fixture
    def distribution_name(self, provider: Provider[Any], plugin_kind: Kind[Any]) -> str:
        """Return the distribution's name."""
        return f"tsa-{plugin_kind.name}-{provider.name}"

    @pytest.fixture
    def installed(self, distribution_name: str) -> Distribution:
        """Return the metadata of the installed distribution."""
        try:
            return distribution(distribution_name)
        except PackageNotFoundError:
            pytest.fail(
                f"the distribution {distribution_name} is not installed; run `pip install -e .` in its folder, or "
                "override the fixture `distribution_name`",
                pytrace=False,
            )

    def test_name_can_be_selected(self, provider: Provider[Any], plugin_kind: Kind[Any]) -> None:
        # Tink's schemes of KEKs have dashes.
        allowed = r"[a-z][a-z0-9-]{0,31}" if plugin_kind == KEK else r"[a-z][a-z0-9]{0,31}"
        assert re.fullmatch(allowed, provider.name), (
            f"{provider.name!r} cannot be a scheme, a TOML key and a command; use lower-case letters and digits"
        )

    def test_summary_is_one_line(self, provider: Provider[Any]) -> None:
        assert provider.summary.strip(), "the provider's summary is empty; `plugins show` prints it"
        assert "\n" not in provider.summary, "the provider's summary has several lines"
        assert len(provider.summary) <= 80, "the provider's summary has more than 80 characters"

    def test_options_are_a_model_of_the_right_base(self, provider: Provider[Any], plugin_kind: Kind[Any]) -> None:
        bases = {SIGNER: SignerOptions, CERTIFICATE_AUTHORITY: CertificateAuthorityOptions, KEK: KekOptions}
        base = bases.get(plugin_kind, PluginOptions)
        assert issubclass(provider.options, base), f"the options of a {plugin_kind.label} extend {base.__name__}"

    def test_every_option_is_described(self, provider: Provider[Any]) -> None:
        left_out = fields_of_the_core(provider.options)
        own = {k: f for k, f in provider.options.model_fields.items() if k not in left_out}
        silent = [name for name, field in own.items() if not field.description]
        assert not silent, f"give these options a Field(description=...), `plugins show` prints it: {silent}"

    def test_options_survive_toml(
        self,
        provider: Provider[Any],
        options: Mapping[str, Any],
        fixed_options: Mapping[str, Any],
        validated_options: PluginOptions,
    ) -> None:
        again = tomllib.loads(tomli_w.dumps(dict(options)))
        assert provider.options.model_validate({**again, **fixed_options}) == validated_options

    def test_default_values_survive_toml(
        self, provider: Provider[Any], options: Mapping[str, Any], fixed_options: Mapping[str, Any]
    ) -> None:
        before = provider.options.model_validate({**options, **fixed_options})
        left_out = before.model_dump(mode="json", exclude_unset=True).keys()
        defaults = before.model_dump(mode="json", exclude=set(left_out), exclude_none=True)
        written = tomllib.loads(tomli_w.dumps(defaults))
        assert provider.options.model_validate({**written, **options, **fixed_options}) == before

    def test_unknown_option_is_refused(
        self, provider: Provider[Any], plugin_kind: Kind[Any], options: Mapping[str, Any]
    ) -> None:
        with pytest.raises(ConfigError, match="no_such_setting"):
            PluginHost({}).options(plugin_kind, provider, {**options, "no_such_setting": 1})
        with pytest.raises(ValueError, match="no_such_setting"):
            provider.options.model_validate({**options, "no_such_setting": 1})

    def test_repr_of_the_options_holds_no_secret(self, validated_options: PluginOptions, secrets: list[str]) -> None:
        shown = f"{validated_options!r} {validated_options} {validated_options.model_dump_json()}"
        assert not any(secret in shown for secret in secrets), "repr of the options shows a secret; make it a Secret"

    def test_importing_the_plugin_imports_no_sdk(self, plugin: ModuleType) -> None:
        command = [sys.executable, "-c", _LIST_IMPORTS, plugin.__name__]
        result = subprocess.run(command, capture_output=True, text=True, timeout=_IMPORT_SECONDS, check=False)
        assert result.returncode == 0, f"{plugin.__name__} cannot be imported by itself:\n{result.stderr}"
        own = plugin.__name__.partition(".")[0]
        heavy = set(json.loads(result.stdout.splitlines()[-1])) - {own, "tsa_core"} - sys.stdlib_module_names
        assert not heavy, (
            f"importing {plugin.__name__} imports {sorted(heavy)}; import them inside the function that opens"
        )

    def test_entry_point_leads_to_the_provider(
        self, installed: Distribution, plugin: ModuleType, provider: Provider[Any], plugin_kind: Kind[Any]
    ) -> None:
        entries = {entry.name: entry for entry in installed.entry_points if entry.group == GROUP}
        values = {name: entry.value for name, entry in entries.items()}
        name = installed.metadata["Name"]
        # What comes beside a signer in a distribution tsa-signer-NAME would be listed as a signer.
        by_hook = name.split("-")[1:2] != [plugin_kind.name] and (
            plugin_kind == KEK or any(name.startswith(f"tsa-{kind.name}-") for kind in KINDS)
        )
        wanted = f"{plugin.__name__}:{plugin_kind.hook}" if by_hook else plugin.__name__
        accepted = {wanted, f"{plugin.__name__}:{plugin_kind.hook}"}
        if plugin_kind.other_schemes_hook and hasattr(plugin, plugin_kind.other_schemes_hook):
            # Only the entry point tells the core whom to ask for schemes that no plugin is named after.
            wanted = f"{plugin.__name__}:{plugin_kind.other_schemes_hook}"
            accepted = {wanted}
        assert values.get(provider.name) in accepted, (
            f"{name} declares {values} in the group {GROUP}; it needs {provider.name} = {wanted!r}"
        )

    def test_commands_are_listed_for_the_help(self, installed: Distribution, plugin: ModuleType) -> None:
        listed = {entry.name for entry in installed.entry_points if entry.group == COMMAND_GROUP}
        for command in plugin.tsa_commands() if hasattr(plugin, "tsa_commands") else ():
            assert command.name in listed, (
                f"the command {command.name} is not in the group {COMMAND_GROUP} of {installed.metadata['Name']}, by "
                f"which timestamp-server --help lists it; add {command.name} = {plugin.__name__!r}"
            )

    def test_distribution_describes_itself(self, installed: Distribution) -> None:
        summary = installed.metadata.json.get("summary", "")
        assert summary, "the distribution has no description; `plugins list` prints it"

    def test_distribution_depends_on_a_range_of_tsa_core(self, installed: Distribution) -> None:
        requirements = [Requirement(text) for text in installed.requires or ()]
        plain = [r for r in requirements if r.name.lower().replace("_", "-") == "tsa-core" and not r.marker]
        assert plain, 'the distribution does not require tsa-core; add "tsa-core[server]>=0.1,<0.2" to its dependencies'
        assert any("server" in requirement.extras for requirement in plain), (
            f"{plain[0]} brings no server, without which nothing loads a plugin; depend on tsa-core[server]"
        )
        for requirement in plain:
            operators = {specifier.operator for specifier in requirement.specifier}
            assert not operators & {"==", "==="}, f"{requirement} pins tsa-core; depend on a range"
            assert operators & {">=", ">", "~="}, f"{requirement} has no floor; a stranger's tsa-core 0.0.1 is around"
            assert operators & {"<", "<=", "~="}, f"{requirement} has no upper end; the next minor version may differ"
            assert not requirement.specifier.contains("0.0.1"), f"{requirement} lets a stranger's tsa-core in"
            assert requirement.specifier.contains(__version__, prereleases=True), (
                f"{requirement} excludes the tsa-core that is installed, {__version__}"
            )
