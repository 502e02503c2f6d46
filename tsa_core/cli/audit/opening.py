"""Opens the trail that a command's arguments mean: the files that are named, else that of a configured sink."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from tsa_core.api import ConfigError, read_file
from tsa_core.api.installation import install_hint
from tsa_core.api.trail import Trail
from tsa_core.api.trail.exported import ExportedTrail
from tsa_core.config import CONFIG_VARIABLE, Settings, load_settings
from tsa_core.host import AUDIT_SINK, PluginHost

_MAX_KEY_OCTETS: Final = 65_536
_OPTIONS = (
    click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="The configuration whose sink's trail is meant, when no files are named  [TSA_CONFIG]",
    ),
    click.option("--sink", metavar="NAME", help="The sink, when the configuration selects several."),
    click.option(
        "--key-file",
        type=click.Path(path_type=Path),
        help="The key, if the files that are named are written with one.",
    ),
)


def trail_arguments(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says which trail is meant: files, config, sink and key_file, for `opened_trail`."""
    return _with_arguments(command, click.Path(path_type=Path, exists=True))


def lost_trail_arguments(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the same; the files may be missing."""
    return _with_arguments(command, click.Path(path_type=Path, dir_okay=False))


def _with_arguments(command: Callable[..., Any], path: click.Path) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        command = option(command)
    decorated: Callable[..., Any] = click.argument("files", nargs=-1, type=path)(command)
    return decorated


@contextmanager
def opened_trail(
    files: Sequence[Path], config: Path | None, sink: str | None, key_file: Path | None
) -> Iterator[Trail]:
    """Open the trail that is meant, and close it at the end; raises ConfigError, PluginError or UsageError."""
    if files:
        if config is not None:
            raise click.UsageError("--config goes without FILES: its sink says where the trail is")
        for each in files:
            if each.exists() and not (each.is_file() or each.is_dir()):
                raise click.UsageError(f"{each} is neither a file nor a folder: a trail cannot be read from a pipe")
        folders = [each for each in files if each.is_dir()]
        if folders and len(files) > 1:
            raise click.UsageError(f"name files, or one folder that `audit export` made: {folders[0]} is a folder")
        key = _read_key(key_file)
        trail = ExportedTrail(folders[0], key) if folders else _of_files(files, sink, key)
    else:
        if key_file is not None:
            raise click.UsageError("--key-file goes with FILES: a configured sink has its own key")
        host, settings = configured(config)
        name = chosen_sink(settings, sink)
        trail = host.open_trail(name, settings.audit.plugin_table(name))
    try:
        yield trail
    finally:
        trail.close()


def configured(config: Path | None) -> tuple[PluginHost, Settings]:
    """Return the settings of a configuration, and a host for its plugins."""
    if config is None and not os.environ.get(CONFIG_VARIABLE):
        raise click.UsageError("name the files of a trail, or the server's configuration with --config or TSA_CONFIG")
    settings = load_settings(config, whole=False)
    return PluginHost.for_settings(settings), settings


def chosen_sink(settings: Settings, sink: str | None) -> str:
    """Return the sink that is named, else the only one; raises ConfigError."""
    sinks = settings.audit.sinks
    if not sinks:
        raise ConfigError("selects no audit sink, so there is no trail", path=f"{settings.config_file}: audit.sinks")
    if sink is None and len(sinks) > 1:
        raise click.UsageError(
            f"the configuration selects {len(sinks)} sinks; choose one: --sink {' or --sink '.join(sinks)}"
        )
    if sink is not None and sink not in sinks:
        raise click.UsageError(f"the configuration selects no sink {sink!r}; it selects: {', '.join(sinks)}")
    return sink or sinks[0]


def _of_files(files: Sequence[Path], sink: str | None, key: bytes | None) -> Trail:
    """Return the trail of named files, by the sink that reads files."""
    host = PluginHost()
    for plugin in host.installed():
        if plugin.kind_by_name == AUDIT_SINK.name and sink in {None, plugin.name}:
            host.load(plugin.name)
    readers = {
        name: provider.trail_of_files
        for name, provider in host.providers(AUDIT_SINK).items()
        if provider.trail_of_files is not None and sink in {None, name}
    }
    if not readers:
        what = "no audit sink that stores files is installed" if sink is None else f"the sink {sink!r} stores no files"
        raise ConfigError(f"{what}; {install_hint('tsa-audit-file')}")
    if len(readers) > 1:
        raise click.UsageError(
            f"several sinks store files; say which wrote these: --sink {' or --sink '.join(readers)}"
        )
    [read] = readers.values()
    return read(files, key)


def _read_key(path: Path | None) -> bytes | None:
    if path is None:
        return None
    return read_file(path, "key of the trail", limit=_MAX_KEY_OCTETS).rstrip(b"\r\n")


def printable(text: str) -> str:
    """Return a text whose control characters, of a stranger's making, do not reach the terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)
