"""timestamp-cli's flags as click's options: flag, else TIMESTAMP_... variable, else configuration file or default."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from tsa_core.cli.boolean_flag import BooleanFlag
from tsa_core.cli.program_group import all_commands
from tsa_core.cli.timestamp.flags import COMMON, CONFIG, Call, Flag
from tsa_core.cli.timestamp.quick import OWN_FILE, unasked_files

MAX_CONFIG_OCTETS: Final = 1 << 20


def click_option(flag: Flag) -> click.Option:
    """Return click's option of a flag."""
    attributes: dict[str, Any] = {"help": flag.help, "metavar": flag.metavar, "envvar": flag.variable}
    attributes |= {"multiple": flag.multiple, "required": flag.required}
    if flag.shown_default is not None:
        attributes["show_default"] = True if flag.shown_default == str(flag.default) else flag.shown_default
    if flag.default is not None:
        attributes["default"] = flag.default
    names = (*flag.spellings, flag.name)
    if flag.boolean:
        return BooleanFlag(names, **attributes)
    if flag.name == CONFIG:
        path = click.Path(path_type=Path, dir_okay=False)
        return click.Option(names, type=path, is_eager=True, callback=_use_config, **attributes)
    if flag.choices:
        attributes["type"] = click.Choice(flag.choices)
    elif flag.is_number:
        attributes["type"] = click.IntRange(min=flag.least, max=flag.most)
    elif flag.convert is not None:
        attributes["type"] = _converted(flag.convert)
    return click.Option(names, **attributes)


def _converted(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def type_function(value: Any) -> Any:
        try:
            return convert(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return type_function


def click_command(
    name: str,
    run: Callable[[Call], object],
    flags: Iterable[Flag],
    *,
    paths: bool = False,
    metavar: str = "[FILE]...",
) -> click.Command:
    """Return the command that runs `run`, whose docstring is its help; with `paths`, it takes words without a flag.

    `metavar` shows these words in the help: files, unless it says something else.
    """

    def callback(**values: Any) -> object:
        ctx = click.get_current_context()
        files = values.pop(_PATHS, ())
        own = {key: value for key, value in values.items() if key not in _COMMON_NAMES}
        common_values = {key: common(ctx, key) for key in _COMMON_NAMES}
        names_server = _names_server(ctx)
        _keep_strongest(ctx, own)
        if names_server and own.get("tsa") is not None:
            own["tsa"], names_server = _stronger(ctx, own["tsa"])
        call = Call(
            own,
            common_values,
            names_server=names_server,
            paths=files,
            tables=ctx.meta.get(_TABLES),
            standing=[name for name in own if ctx.get_parameter_source(name) in _STANDING],
        )
        return run(call)

    options: list[click.Parameter] = [click_option(flag) for flag in (*flags, *COMMON)]
    if paths:
        options.append(click.Argument([_PATHS], nargs=-1, metavar=metavar, type=click.UNPROCESSED))
    text = inspect.cleandoc(run.__doc__ or "")
    return click.Command(name, params=options, callback=callback, help=text)


_PATHS: Final = "paths"
_TABLES: Final = "tsa_core.tables"
_COMMON_NAMES: Final = tuple(flag.name for flag in COMMON)


def common_options() -> list[click.Parameter]:
    """Return the options that may stand before or after the name of the command."""
    return [click_option(flag) for flag in COMMON]


def _names_server(ctx: click.Context) -> bool:
    contexts = (ctx, ctx.find_root())
    sources = {context.get_parameter_source("timestamp_server") for context in contexts}
    return not sources <= {ParameterSource.DEFAULT, None}


_RANK: Final = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)
"""A flag wins over a variable, that over a configuration file."""
_STANDING: Final = (ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)
_WHOM_TO_TRUST: Final = ("certificate_chain", "root_certificates", "trusted_root", "trust", "roots", "tsa")


def _rank(ctx: click.Context, name: str) -> int:
    source = ctx.get_parameter_source(name)
    return _RANK.index(source) if source in _RANK else len(_RANK)


def _keep_strongest(ctx: click.Context, own: dict[str, Any]) -> None:
    """Unset whom to trust where something stronger says so: a flag stands against a file's setting of another name."""
    given = {name: _rank(ctx, name) for name in _WHOM_TO_TRUST if own.get(name) is not None}
    for name, rank in given.items():
        if rank > min(given.values()):
            own[name] = None


def _stronger(ctx: click.Context, tsa: str) -> tuple[str | None, bool]:
    """Return --tsa, and whether a server is named, when both are given: the stronger one, or both to complain of."""
    server = min(_rank(each, "timestamp_server") for each in (ctx, ctx.parent) if each is not None)
    own = _rank(ctx, "tsa")
    return (None, True) if server < own else (tsa, server == own)


def read_config(path: Path) -> dict[str, Any]:
    """Return the settings in a configuration file, TOML, JSON or YAML.

    The keys are the flags' names, with dashes or underscores. Raises click.UsageError.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_OCTETS + 1)
    except OSError as error:
        raise click.UsageError(f"the configuration file {path} cannot be read: {error.strerror}") from None
    if len(data) > MAX_CONFIG_OCTETS:
        raise click.UsageError(f"the configuration file {path} is too large")
    try:
        parsed = _parse(path, data.decode())
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise click.UsageError(f"the configuration file {path} cannot be read: {reason}") from None
    if not isinstance(parsed, dict):
        raise click.UsageError(f"the configuration file {path} does not hold names with values")
    return {_name(str(key)): value for key, value in parsed.items()}


def _parse(path: Path, text: str) -> Any:
    if path.suffix == ".json":
        import json

        return json.loads(text)
    if path.suffix in {".yaml", ".yml"}:
        try:
            import yaml
        except ModuleNotFoundError:
            raise ValueError("PyYAML is not installed; install it, or write the file as TOML or JSON") from None
        try:
            return yaml.safe_load(text) or {}
        except yaml.YAMLError as error:
            raise ValueError(" ".join(str(error).split())) from None
    import tomllib

    return tomllib.loads(text)


def _use_config(ctx: click.Context, _: click.Parameter, path: Path | None) -> Path | None:
    """Make a file's settings the defaults of every command, and those in a command's table that command's."""
    root = ctx.find_root().command
    if path is None and (ctx.command is not root or (path := _automatic_file(os.environ)) is None):
        return None
    commands = all_commands(root) if isinstance(root, click.Group) else {}
    settings = read_config(path)
    from tsa_core.cli.timestamp.config_tables import take_tables

    ctx.meta[_TABLES] = take_tables(path, settings)
    tables = {name: settings.pop(name) for name in commands if isinstance(settings.get(name), dict)}
    flags = {name: _all_flags(command) for name, command in commands.items()}
    own = _flags(root)
    known = set(own).union(*flags.values())
    unknown = sorted(name for name, value in settings.items() if name not in known or isinstance(value, dict))
    unknown += sorted(
        f"{name}.{key}" for name, table in tables.items() for key in table if _name(key) not in flags[name]
    )
    if unknown:
        raise click.UsageError(f"the configuration file {path} has a setting that does not exist: {unknown[0]}")
    defaults = {
        name: _command_defaults(command, {**settings, **tables.get(name, {})}) for name, command in commands.items()
    }
    if ctx.command is root:
        # A table would be the default of a flag that is called as its command is: --config, and --help if empty.
        ctx.default_map = {
            **_defaults(own, settings),
            **{name: table for name, table in defaults.items() if table and name != CONFIG},
        }
    else:
        place = [each.command.name or "" for each in _ancestry(ctx)]
        ctx.default_map = functools.reduce(lambda table, name: table.get(name, {}), place, defaults)
    return path


def _automatic_file(environ: Mapping[str, str]) -> Path | None:
    """Return the file that is read unasked: ours, or the one that Sigstore's client would read; UsageError for both."""
    found = [path for path in map(Path, unasked_files(environ)) if path.is_file()]
    if len(found) > 1 and found[0].name == OWN_FILE:
        raise click.UsageError(f"both {found[0]} and {found[1]} are there, and one would be ignored; keep one of them")
    return found[0] if found else None


def _name(key: str) -> str:
    return key.replace("-", "_")


def _flags(command: click.Command) -> dict[str, click.Parameter]:
    """Return a command's parameters by the names of their flags, with underscores."""
    return {_name(flag.lstrip("-")): parameter for parameter in _options(command) for flag in parameter.opts}


def _options(command: click.Command) -> list[click.Parameter]:
    """Return the parameters that a variable or a configuration file may give: not the files of a command line."""
    return [parameter for parameter in command.params if isinstance(parameter, click.Option)]


def _all_flags(command: click.Command) -> dict[str, click.Parameter]:
    """Return a command's parameters; those of all its commands, if it is a group."""
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    return {**_flags(command), **{name: parameter for each in inner for name, parameter in _flags(each).items()}}


def _command_defaults(command: click.Command, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the defaults of a command by parameter; of a group, those of each of its commands by name."""
    if isinstance(command, click.Group):
        return {name: _defaults(_flags(inner), settings) for name, inner in command.commands.items()}
    return _defaults(_flags(command), settings)


def _ancestry(ctx: click.Context) -> list[click.Context]:
    """Return the contexts from below the root to this one."""
    return [*(_ancestry(ctx.parent) if ctx.parent.parent is not None else ()), ctx] if ctx.parent is not None else []


def _defaults(flags: dict[str, click.Parameter], settings: dict[str, Any]) -> dict[str, Any]:
    defaults: dict[str, Any] = {}
    for key, value in settings.items():
        parameter = flags.get(_name(key))
        if parameter is not None and parameter.name is not None:
            single = parameter.multiple and isinstance(value, str)
            defaults[parameter.name] = [value] if single else value
    return defaults


def common(ctx: click.Context, name: str) -> Any:
    """Return a common option's value: what stands before or after the command's name, else the rest.

    One that may be repeated may stand in both places; any other one is refused there (strict_flags.py).
    """
    parent = ctx.find_root()
    given = ParameterSource.COMMANDLINE
    if parent is ctx or parent.get_parameter_source(name) is not given:
        return ctx.params[name]
    own = ctx.params[name] if ctx.get_parameter_source(name) is given else ()
    return (*parent.params[name], *own) if own else parent.params[name]
