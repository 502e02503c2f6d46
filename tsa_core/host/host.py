"""The host: the one class that wraps pluggy.

It imports a plugin when the configuration selects it, asks its hooks once, validates its settings, opens what it
provides and closes everything in reverse order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from tsa_core import hookspecs
from tsa_core.api import (
    PROJECT,
    Command,
    ConfigError,
    KeyEncryptionKey,
    PluginError,
    PluginOptions,
    Provider,
)
from tsa_core.api.fields import relative_to
from tsa_core.api.wrong_types import describe
from tsa_core.config import Settings
from tsa_core.host.at_work import note_import
from tsa_core.host.closing import CLOSE_SECONDS, Opened, close_all, leave_open
from tsa_core.host.discovery import CORE_DISTRIBUTION, InstalledPlugin, installed_plugins
from tsa_core.host.inspection import provider_complaint
from tsa_core.host.key_making import key_made_by
from tsa_core.host.kinds import AUDIT_SINK, KEK, KINDS, SIGNER, Kind
from tsa_core.host.loading import MADE_FOR_ANOTHER, ask_hook, at_fault, import_plugin, open_within
from tsa_core.host.missing import missing_text
from tsa_core.host.other_schemes import provider_of_scheme
from tsa_core.host.plugin_options import validated
from tsa_core.host.trails import trail_of

if TYPE_CHECKING:
    from tsa_core.api.trail import Trail

T = TypeVar("T")


_OPEN_TIMEOUT = timedelta(seconds=30)


class PluginHost:
    """Finds, loads, opens and closes plugins. Each opened service has one; there is no global host.

    `installed` maps entry-point names to installed plugins; tests pass their own. Relative paths in the plugins'
    settings are relative to `base_directory`, that of the configuration file. `previous` is the host of the service
    that a reload replaces: plugins whose settings are the same are shared with it and not opened again. A plugin that
    takes longer than `open_timeout` to be imported or opened is an error. With `checking`, nothing on a disk changes.
    """

    @classmethod
    def for_settings(
        cls, settings: Settings, *, previous: PluginHost | None = None, checking: bool = False
    ) -> PluginHost:
        """Return a host for a configuration."""
        return cls(
            base_directory=settings.base_directory,
            previous=previous,
            open_timeout=settings.server.open_timeout,
            checking=checking,
        )

    def __init__(
        self,
        installed: Mapping[str, list[InstalledPlugin]] | None = None,
        *,
        base_directory: Path | None = None,
        previous: PluginHost | None = None,
        open_timeout: timedelta = _OPEN_TIMEOUT,
        checking: bool = False,
    ) -> None:
        self._checking = checking
        if installed is None and previous is not None and not previous._finds_itself:
            installed = previous._installed
        self._finds_itself: bool = installed is None
        self._previous = previous
        self._base_directory = base_directory or Path()
        self._installed: Mapping[str, list[InstalledPlugin]] = installed_plugins() if installed is None else installed
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._loaded: dict[str, InstalledPlugin] = {}
        self._modules: dict[str, InstalledPlugin] = {}
        self._registered: dict[tuple[str, str], list[Any]] = {}
        self.open_seconds: float = open_timeout.total_seconds()
        """How long a plugin may take for whatever it is asked for at a start or a reload."""
        self._opened: list[Opened] = []
        self._kept: set[int] = set()

    # -- finding and loading ------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Return the names of all installed plugins, sorted; their metadata are not read."""
        return sorted(self._installed)

    def installed(self) -> list[InstalledPlugin]:
        """Return all installed plugins by name, without importing them."""
        return [plugin for plugins in self._installed.values() for plugin in plugins]

    def load(self, name: str, *, kind: Kind[Any] | None = None, install: str = "") -> InstalledPlugin:
        """Import the plugin `name` and register its hooks; done once for each name.

        Raises PluginError for a plugin that is not installed or not importable, that two distributions provide, that
        requires another version of tsa-core, or that implements an unknown hook.
        """
        if name in self._loaded:
            return self._loaded[name]
        plugin = self._find(name, kind, install)
        plugin.check_core_version()
        note_import(plugin)
        module = import_plugin(plugin, seconds=self.open_seconds)
        if not self._manager.is_registered(module):
            self._register(module, plugin)
        self._loaded[name] = plugin
        return plugin

    def _find(self, name: str, kind: Kind[Any] | None, install: str) -> InstalledPlugin:
        candidates = self._installed.get(name, [])
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            names = " and ".join(sorted(f"{plugin.distribution} {plugin.version}" for plugin in candidates))
            raise PluginError(
                f"two installed distributions call their plugin {name!r}: {names}; uninstall one of them",
                plugin=name,
            )
        found = [each for each in sorted(self._installed) if kind is None or self._may_offer(each, kind)]
        raise PluginError(missing_text(kind, name, installed=found, install=install), plugin=name)

    def _may_offer(self, name: str, kind: Kind[Any]) -> bool:
        """Say whether a plugin of this name may be of the kind. No plugin but the core's own is imported."""
        distributions = {plugin.distribution for plugin in self._installed[name]}
        if distributions == {CORE_DISTRIBUTION}:
            self.load(name)
            return name in self.providers(kind)
        others = {"command", *(other.name for other in KINDS)} - {kind.name}
        return any(plugin.kind_by_name not in others for plugin in self._installed[name])

    def _register(self, module: Any, plugin: InstalledPlugin) -> None:
        try:
            self._manager.register(module, name=plugin.module)
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            if self._manager.is_registered(module):
                self._manager.unregister(module)
            raise PluginError(
                f"the plugin {plugin.label} implements a hook that tsa-core lacks, or with wrong arguments: "
                f"{str(error).splitlines()[-1] if str(error) else error}; {MADE_FOR_ANOTHER}",
                plugin=plugin.name,
            ) from error
        self._modules[plugin.module] = plugin

    # -- the hooks ----------------------------------------------------------------------------------------------

    def providers(self, kind: Kind[T]) -> dict[str, Provider[T]]:
        """Return the providers of a kind in the loaded plugins, by name; raises PluginError for two of one name."""
        result: dict[str, Provider[T]] = {}
        owners: dict[str, str] = {}
        for module, registered in self._call(kind.hook):
            for provider in registered:
                self._check_provider(kind, provider, module)
                if provider.name in result:
                    raise PluginError(
                        f"the {kind.label} {provider.name!r} comes from both {owners[provider.name]} and {module}"
                    )
                result[provider.name] = provider
                owners[provider.name] = module
        return result

    def _check_provider(self, kind: Kind[Any], provider: object, module: str) -> None:
        if complaint := provider_complaint(kind, provider):
            plugin = self._modules.get(module)
            label, name = (plugin.label, plugin.name) if plugin else (module, module)
            raise PluginError(f"the plugin {label}: {complaint}; {at_fault(plugin)}", plugin=name)

    def _of_other_scheme(self, kind: Kind[T], scheme: str) -> Provider[T] | None:
        """Ask the plugins whose entry point names the kind's hook for other schemes; None when none has this one."""
        if not (hook := kind.other_schemes_hook):
            return None
        for plugin in self.installed():
            if plugin.hook == hook:
                self.load(plugin.name)
        implementations = getattr(self._manager.hook, hook).get_hookimpls()
        check = partial(self._check_provider, kind)
        found = provider_of_scheme(kind, scheme, implementations, self._modules, check, seconds=self.open_seconds)
        if found is None:
            return None
        provider, owner = found
        if owner is not None:
            self._loaded[scheme] = owner
        return provider

    def commands(self) -> dict[str, Command]:
        """Return the subcommands that the loaded plugins add."""
        found: dict[str, Command] = {}
        for module, registered in self._call("tsa_commands"):
            for command in registered:
                if not isinstance(command, Command):
                    label = plugin.label if (plugin := self._modules.get(module)) else module
                    what = f"tsa_commands yields {describe(command)}, which is not a Command"
                    raise PluginError(f"the plugin {label}: {what}; {at_fault(plugin)}", plugin=module)
                found[command.name] = command
        return found

    def _call(self, hook: str) -> list[tuple[str, list[Any]]]:
        """Call a hook in each loaded plugin, once, and return what each yielded, with the module's name."""
        results = []
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            module = implementation.plugin_name
            if (hook, module) not in self._registered:
                plugin = self._modules.get(module)
                self._registered[hook, module] = ask_hook(
                    hook, implementation.function, plugin, module, seconds=self.open_seconds
                )
            results.append((module, self._registered[hook, module]))
        return results

    def provider(self, kind: Kind[T], name: str, *, install: str = "") -> Provider[T]:
        """Return one provider, loading the plugin of that name.

        Raises PluginError when there is none; `install` is what it then tells people to type.
        """
        if name not in self._installed and (other := self._of_other_scheme(kind, name)):
            return other
        plugin = self.load(name, kind=kind, install=install)
        found = self.providers(kind).get(name)
        if found is None:
            offered = [f"{k.label} {n!r}" for k in KINDS for n in self.providers(k) if n == name]
            offers = f"it offers: {', '.join(offered)}" if offered else "it offers nothing of that name"
            raise PluginError(f"the plugin {plugin.label} is no {kind.label}; {offers}", plugin=name)
        return found

    # -- opening and closing ------------------------------------------------------------------------------------

    def open(
        self,
        kind: Kind[T],
        name: str,
        table: Mapping[str, Any],
        *,
        fixed: Mapping[str, Any] | None = None,
        owner: str = "",
        keep: bool = True,
        install: str = "",
    ) -> T:
        """Open the provider `name` with the settings in `table`; `fixed` are fields that the core fills in.

        An object that the previous host has open for the same `owner` (a profile's name) with the same settings is
        kept, if its kind or its provider says so and `keep` is not false. `install` is what to type when the plugin is
        missing and comes in no distribution tsa-KIND-NAME. Raises ConfigError for wrong settings, any TsaError that
        the plugin raises, and PluginCrash for all else.
        """
        provider = self.provider(kind, name, install=install)
        with relative_to(self._base_directory):
            options = self.options(kind, provider, table, fixed=fixed)
        key = (kind.name, name, owner)
        wanted = kind.keeps if provider.keep_on_reload is None else provider.keep_on_reload
        if keep and wanted and self._previous is not None and (kept := self._previous._find_opened(key, options)):
            with kept.lock:
                kept.users += 1
            self._opened.append(kept)
            self._kept.add(id(kept.instance))
            instance: T = kept.instance
            return instance
        with relative_to(self._base_directory):
            opened = self.open_provider(kind, provider, options)
        self._opened.append(Opened(kind, key, options, opened, plugin=self._loaded.get(name)))
        return opened

    def open_provider(self, kind: Kind[T], provider: Provider[T], options: PluginOptions) -> T:
        """Return the object that a provider opens; the caller closes it. Raises TsaError alone."""
        arguments = {"open_kek": self.open_kek} if provider.uses_keks else {}
        plugin = self._loaded.get(provider.name)
        return open_within(
            kind, provider, options, arguments, plugin, seconds=self.open_seconds, checking=self._checking
        )

    def plugin(self, name: str) -> InstalledPlugin | None:
        """Return the plugin of that name, if it is loaded."""
        return self._loaded.get(name)

    def distribution(self, name: str) -> str:
        """Return the distribution and version that the plugin `name` comes from, for messages; empty when unknown."""
        plugin = self._loaded.get(name)
        return f"{plugin.distribution} {plugin.version}" if plugin else ""

    def open_kek(
        self,
        uri: str,
        settings: Mapping[str, Any],
        *,
        uri_setting: str,
        settings_prefix: str,
        install: str = "",
    ) -> KeyEncryptionKey:
        """Open a key encryption key for a plugin that uses it; see tsa_core.api.OpenKek, which this is."""
        scheme, separator, _ = uri.partition("://")
        if not separator:
            raise ConfigError("the URI of a key begins with its KMS: SCHEME://...", path=uri_setting)
        try:
            provider = self.provider(KEK, scheme, install=install)
        except PluginError as error:
            raise PluginError(f"{uri_setting}: {error}", plugin=error.plugin) from error
        fixed = {"uri": uri, "uri_setting": uri_setting, "settings_prefix": settings_prefix}
        options = self.options(KEK, provider, settings, fixed=fixed, prefix=settings_prefix)
        return self.open_provider(KEK, provider, options)

    def open_apart(self, kind: Kind[T], name: str, table: Mapping[str, Any], *, fixed: Mapping[str, Any]) -> T:
        """Return what `open` returns; the caller closes it, and a reload does not keep it. From any thread."""
        provider = self.provider(kind, name)
        with relative_to(self._base_directory):
            return self.open_provider(kind, provider, self.options(kind, provider, table, fixed=fixed))

    def open_trail(self, name: str, table: Mapping[str, Any]) -> Trail:
        """Return the trail of the audit sink `name`, which the caller closes; raises TsaError alone."""
        provider = self.provider(AUDIT_SINK, name)
        with relative_to(self._base_directory):
            options = self.options(AUDIT_SINK, provider, table)
            return trail_of(provider, options, self._loaded.get(name), seconds=self.open_seconds)

    def make_key(self, name: str, table: Mapping[str, Any], kind: str, *, fixed: Mapping[str, Any]) -> str:
        """Have the signer `name` make a key, and return the URI that names it; raises TsaError alone."""
        provider = self.provider(SIGNER, name)
        with relative_to(self._base_directory):
            options = self.options(SIGNER, provider, table, fixed=fixed)
            return key_made_by(provider, options, kind, self._loaded.get(name))

    def adopt(
        self,
        kind: Kind[T],
        name: str,
        table: Mapping[str, Any],
        opened: T,
        *,
        fixed: Mapping[str, Any],
        owner: str,
        close: Callable[[], None] | None = None,
    ) -> None:
        """Register an object that was opened elsewhere, so that a reload can keep it; `close` closes it, if it is ours.

        Without `close`, the process that opened it before this one was forked closes it.
        """
        provider = self.provider(kind, name)
        with relative_to(self._base_directory):
            options = self.options(kind, provider, table, fixed=fixed)
        key = (kind.name, name, owner)
        self._opened.append(
            Opened(kind, key, options, opened, close=close or leave_open, plugin=self._loaded.get(name))
        )

    def has_kept(self, opened: object) -> bool:
        """Say whether an object that `open` returned was kept from the previous host."""
        return id(opened) in self._kept

    def forget_previous(self) -> None:
        """Drop the reference to the previous host, so that former hosts can be freed."""
        self._previous = None

    def _find_opened(self, key: tuple[str, str, str], options: PluginOptions) -> Opened | None:
        return next((each for each in self._opened if each.key == key and each.options == options), None)

    def options(
        self,
        kind: Kind[T],
        provider: Provider[T],
        table: Mapping[str, Any],
        *,
        fixed: Mapping[str, Any] | None = None,
        prefix: str | None = None,
    ) -> PluginOptions:
        """Return the provider's validated settings; raises ConfigError with a line for each error.

        `prefix` stands before the settings' names in messages; the kind's table unless given.
        """
        prefix = f"{kind.table(provider.name)}." if prefix is None else prefix
        plugin = self._loaded.get(provider.name)
        with_core = fixed or {}
        return validated(provider, table, fixed=with_core, prefix=prefix, plugin=plugin, seconds=self.open_seconds)

    def close(self, *, seconds: float = CLOSE_SECONDS) -> None:
        """Close everything that was opened, the last first; what fails or hangs is logged, and the rest still closed.

        An object that a later host has kept stays open.
        """
        opened, self._opened = self._opened, []
        unused = []
        for each in opened:
            with each.lock:
                each.users -= 1
                if not each.users:
                    unused.append(each)
        close_all(unused, seconds=seconds)
