"""Options of timestamp-cli: flag, else TIMESTAMP_... variable, else configuration file, else default."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from tsa_core.cli.program_group import all_commands

PROGRAM: Final = "timestamp-cli"
DEFAULT_SERVER: Final = "https://timestamp.sigstore.dev"
MAX_CONFIG_OCTETS: Final = 1 << 20

_F = TypeVar("_F", bound=Callable[..., Any])


def option(*names: str, **attributes: Any) -> Callable[[_F], _F]:
    """Return click's option with its environment variable: TIMESTAMP_ and the flag's name with underscores."""
    attributes.setdefault("envvar", f"TIMESTAMP_{names[0].lstrip('-').replace('-', '_').upper()}")
    attributes.setdefault("show_envvar", False)
    return click.option(*names, **attributes)


def seconds(value: float | str) -> float:
    """Return the seconds of a duration as Go writes it (`30s`, `1m30s`, `500ms`) or of a plain number."""
    number = _go_duration(value.strip()) if isinstance(value, str) else float(value)
    if not 0 < number <= 86400:
        raise click.BadParameter(f"{value!r} is not a duration such as 30s or 1m")
    return number


def moment(value: str | datetime) -> datetime:
    """Return an aware time in UTC; ISO 8601, and in UTC unless an offset is written."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    try:
        time = datetime.fromisoformat(value.strip())
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{value[:40]!r} is not a time such as 2026-01-31T12:00:00Z") from None


def integer(value: int | str) -> int:
    """Return a number written in decimal or, with 0x before it, in hexadecimal; of any length."""
    if isinstance(value, int):
        return value
    digits = value.strip().lower()
    try:
        return int(digits, 16 if digits.removeprefix("-").startswith("0x") else 10)
    except ValueError:
        raise click.BadParameter(
            f"{value[:40]!r} is not a number; longer ones than 4,300 digits are written 0x..."
        ) from None


def _go_duration(text: str) -> float:
    """Return seconds, 0 for text that is not a duration."""
    units = {"ms": 0.001, "h": 3600.0, "m": 60.0, "s": 1.0}
    total, number = 0.0, ""
    while text:
        if text[0].isdigit() or text[0] == ".":
            number, text = number + text[0], text[1:]
            continue
        unit = next((unit for unit in units if text.startswith(unit)), None)
        if unit is None or not number.strip("."):
            return 0.0
        total, number, text = total + float(number) * units[unit], "", text[len(unit) :]
    return total + (float(number) if number.strip(".") else 0.0)


def read_config(path: Path) -> dict[str, Any]:
    """Return the settings in a configuration file, TOML, JSON or YAML.

    The keys are the flags' names, with dashes or underscores. Raises click.UsageError.
    """
    try:
        data = path.read_bytes()[: MAX_CONFIG_OCTETS + 1]
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
        import yaml

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
    tables = {name: settings.pop(name) for name in commands if isinstance(settings.get(name), dict)}
    flags = {name: _flags(command) for name, command in commands.items()}
    own = _flags(root)
    known = set(own).union(*flags.values())
    unknown = sorted(settings.keys() - known)
    unknown += sorted(
        f"{name}.{key}" for name, table in tables.items() for key in table if _name(key) not in flags[name]
    )
    if unknown:
        raise click.UsageError(f"the configuration file {path} has a setting that does not exist: {unknown[0]}")
    defaults: dict[str, Any] = {name: _defaults(flags[name], {**settings, **tables.get(name, {})}) for name in commands}
    if ctx.command is root:
        ctx.default_map = {**_defaults(own, settings), **defaults}
    else:
        ctx.default_map = defaults[ctx.command.name or ""]
    return path


def _automatic_file(environ: Mapping[str, str]) -> Path | None:
    """Return the file that Sigstore's client would read unasked: .timestamp.yaml in $HOME."""
    if not (home := environ.get("HOME")):
        return None
    candidates = (Path(home, f".timestamp{suffix}") for suffix in (".json", ".toml", ".yaml", ".yml"))
    return next((path for path in candidates if path.is_file()), None)


def _name(key: str) -> str:
    return key.replace("-", "_")


def _flags(command: click.Command) -> dict[str, click.Parameter]:
    """Return a command's parameters by the names of their flags, with underscores."""
    return {_name(flag.lstrip("-")): parameter for parameter in command.params for flag in parameter.opts}


def _defaults(flags: dict[str, click.Parameter], settings: dict[str, Any]) -> dict[str, Any]:
    defaults: dict[str, Any] = {}
    for key, value in settings.items():
        parameter = flags.get(_name(key))
        if parameter is not None and parameter.name is not None:
            single = parameter.multiple and isinstance(value, str)
            defaults[parameter.name] = [value] if single else value
    return defaults


_COMMON: Final = (
    option(
        "--timestamp_server",
        "--timestamp-server",
        "timestamp_server",
        multiple=True,
        default=(DEFAULT_SERVER,),
        show_default=DEFAULT_SERVER,
        metavar="URL",
        help="Where to get timestamps; repeat it for several. Without a path, /api/v1/timestamp is added.",
    ),
    option(
        "--format",
        "output_format",
        type=click.Choice(["default", "json"]),
        default="default",
        show_default=True,
        help="How results are printed.",
    ),
    option(
        "--timeout",
        type=seconds,
        metavar="DURATION",
        default=30.0,
        show_default="30s",
        help="How long to wait for a server.",
    ),
    option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        is_eager=True,
        callback=_use_config,
        metavar="FILE",
        help="A file with settings: TOML, JSON or YAML; the names are those of the flags.  [$HOME/.timestamp.yaml]",
    ),
)


def common_options(function: _F) -> _F:
    """Add the options that may stand before or after the name of the command."""
    for decorate in reversed(_COMMON):
        function = decorate(function)
    return function


def common(ctx: click.Context, name: str) -> Any:
    """Return a common option's value: what stands before or after the command's name, else the rest.

    One that may be repeated may stand in both places; any other one is refused there (repeated_flags.py).
    """
    parent = ctx.parent
    given = ParameterSource.COMMANDLINE
    if parent is None or parent.get_parameter_source(name) is not given:
        return ctx.params[name]
    own = ctx.params[name] if ctx.get_parameter_source(name) is given else ()
    return (*parent.params[name], *own) if own else parent.params[name]
