"""Flags of timestamp-cli as data: click makes options of them, and `quick` reads the usual command without click."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

PROGRAM: Final = "timestamp-cli"
DEFAULT_SERVER: Final = "https://timestamp.sigstore.dev"


class Flag(NamedTuple):
    """One flag: its spellings, the name of its value, and what its value may be: text unless something is said.

    `convert` raises ValueError with a line for whoever typed the value. `boolean` is a flag without a value, or with
    =true or =false; `choices` are words, `least` and `most` the bounds of a number.
    """

    spellings: tuple[str, ...]
    name: str
    help: str
    metavar: str | None = None
    default: Any = None
    shown_default: str | None = None
    multiple: bool = False
    required: bool = False
    boolean: bool = False
    choices: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None
    convert: Callable[[Any], Any] | None = None

    @property
    def variable(self) -> str:
        """The environment variable that gives it too."""
        return f"TIMESTAMP_{self.spellings[0].lstrip('-').replace('-', '_').upper()}"

    @property
    def is_number(self) -> bool:
        """Whether the value is a whole number between bounds."""
        return self.least is not None or self.most is not None

    @property
    def unset(self) -> Any:
        """The value when it is not given."""
        return (self.default or ()) if self.multiple else self.default


def flag(*spellings: str, help: str, name: str | None = None, **attributes: Any) -> Flag:  # noqa: A002 - as click has it
    """Return a flag; the name of its value is that of its first spelling unless given."""
    return Flag(spellings, name or spellings[0].lstrip("-").replace("-", "_"), help, **attributes)


class Call:
    """One call of a command: the values of its flags, and of those that may also stand before the command's name."""

    def __init__(
        self,
        flags: Mapping[str, Any],
        common: Mapping[str, Any],
        *,
        names_server: bool,
        paths: Sequence[str] = (),
        tables: Mapping[str, Any] | None = None,
        standing: Collection[str] = (),
    ) -> None:
        self.flags = flags
        self.tables = tables or {}
        """What a configuration file names: authorities, and whom to trust."""
        self.paths = tuple(paths)
        """The words after the command that are no flags: files, directories, patterns, `-`."""
        self.names_server = names_server
        """Whether somebody said which server to ask, so that it is not the default one."""
        self.standing = frozenset(standing)
        """Flags whose values stand in a variable or a configuration file, for every call, and were not typed."""
        self._common = common

    def is_typed(self, name: str) -> bool:
        """Say whether a flag was given for this call alone; one without effect is refused then, else passed over."""
        value = self.flags.get(name)
        return value is not None and value is not False and value != () and name not in self.standing

    def without(self, name: str) -> Call:
        """Return the same call as if a flag had not been given."""
        flags = {**self.flags, name: None}
        return Call(
            flags,
            self._common,
            names_server=self.names_server,
            paths=self.paths,
            tables=self.tables,
            standing=self.standing,
        )

    def common(self, name: str) -> Any:
        """Return the value of a flag that may stand before or after the command's name."""
        return self._common[name]

    @property
    def as_json(self) -> bool:
        """Whether results are printed as JSON."""
        return bool(self.common("output_format") == "json")


def seconds(value: float | str) -> float:
    """Return the seconds of a duration as Go writes it (`30s`, `1m30s`, `500ms`) or of a plain number."""
    number = _go_duration(value.strip()) if isinstance(value, str) else float(value)
    if not 0 < number <= 86400:
        raise ValueError(f"{value!r} is not a duration such as 30s or 1m")
    return number


def moment(value: str | datetime) -> datetime:
    """Return an aware time in UTC; ISO 8601, and in UTC unless an offset is written."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    try:
        time = datetime.fromisoformat(value.strip())
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{value[:40]!r} is not a time such as 2026-01-31T12:00:00Z") from None


def integer(value: int | str) -> int:
    """Return a number written in decimal or, with 0x before it, in hexadecimal; of any length."""
    if isinstance(value, int):
        return value
    digits = value.strip().lower()
    try:
        return int(digits, 16 if digits.removeprefix("-").startswith("0x") else 10)
    except ValueError:
        raise ValueError(f"{value[:40]!r} is not a number; longer ones than 4,300 digits are written 0x...") from None


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


CONFIG: Final = "config"
COMMON: Final[Sequence[Flag]] = (
    flag(
        "--timestamp_server",
        "--timestamp-server",
        multiple=True,
        default=(DEFAULT_SERVER,),
        shown_default=DEFAULT_SERVER,
        metavar="URL",
        help="Where to get timestamps; repeat it for several. Without a path, /api/v1/timestamp is added.",
    ),
    flag(
        "--format",
        name="output_format",
        choices=("default", "json"),
        default="default",
        shown_default="default",
        help="How results are printed.",
    ),
    flag(
        "--timeout",
        convert=seconds,
        metavar="DURATION",
        default=30.0,
        shown_default="30s",
        help="How long to wait for a server.",
    ),
    flag(
        "--config",
        name=CONFIG,
        metavar="FILE",
        help="A file with settings: TOML, JSON or YAML; the names are those of the flags.  "
        "[~/.config/timestamp-cli.toml or ~/.timestamp.yaml]",
    ),
)
"""Flags that may stand before or after the name of the command."""
TSA: Final = flag(
    "--tsa", metavar="NAME", help="An authority by its name: `timestamp-cli tsa list`, or [authorities.NAME] of yours."
)
"""A flag of the commands that ask an authority, or trust one."""
