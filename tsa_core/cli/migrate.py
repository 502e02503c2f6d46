"""timestamp-server migrate: the tsa.toml that means the same as flags, or a file, of Sigstore's timestamp server."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click

from tsa_core.api.fields import format_duration
from tsa_core.cli.reference_settings import file_flags, given_flags, merged
from tsa_core.cli.settings_flags import flag_options, overrides
from tsa_core.config import Fallback, load_settings
from tsa_core.logs import say

_PROGRAM_WORDS: Final = ("timestamp-server", "serve")
_SECRETS: Final = {
    "signer.file.password": "FILE_SIGNER_PASSWORD",
    "signer.tink.hcvault_token": "VAULT_TOKEN",
}
"""Settings that are not written down, and the variable that shall have each."""
_TABLES: Final = ("server", "log", "metrics", "clock", "clock.ntp", "profiles.default", "signer.file", "signer.tink")
_TOP: Final = """\
# Made by `timestamp-server migrate`. A line that is commented out is how Sigstore's server does it."""
_HINTS: Final[Mapping[str, str]] = {
    "server.rejections": """\
# To send errors of DER requests as HTTP 400 and JSON; here they are HTTP 200 and a TimeStampResp that says why:
# rejections = "sigstore\"""",
    "server.max_request_body_size": """\
# To take requests as large as there; here the limit is 64 KiB:
# max_request_body_size = 1048576""",
    "profiles.default.include_chain": """\
# Tokens that are asked for certificates have the intermediate ones, too. To put in the signer's alone, as there:
# include_chain = "leaf\"""",
    "metrics.host": """\
# To let everybody read the metrics; here they are on this machine's own address:
# host = "0.0.0.0\"""",
}
_MONITORED: Final = """\
# While the time servers find the clock wrong, or too few answer, no token is issued. To issue all the same:
# on_failure = "warn\""""
_UNMONITORED: Final = """\
# To ask public time servers all the time, as Sigstore's server does unless --disable-ntp-monitoring is given; it counts
# what they say, and here it would also close the server while the clock is wrong, unless on_failure is "warn":
# monitors = ["ntp"]
# on_failure = "warn"
# ntp = { file = "default" }"""


@click.command(
    context_settings={"max_content_width": 100},
    epilog="Then: timestamp-server check --config tsa.toml.",
)
@click.argument("words", nargs=-1, metavar="[FILE]")
@flag_options
def migrate(words: tuple[str, ...], **parameters: Any) -> None:
    """Print the tsa.toml that means the same as flags of Sigstore's timestamp server, its configuration file, or both.

    FILE is its YAML, JSON or TOML. Flags go before the file, as there. A whole command line may stand here:
    `timestamp-server migrate timestamp-server serve --port 3004 ...`. Passwords and tokens are not printed: the file
    names variables for them.

    \b
    Examples:
      timestamp-server migrate timestamp-server.yaml > tsa.toml
      timestamp-server migrate --timestamp-signer kms --kms-key-resource awskms:///alias/tsa \\
          --certificate-chain-path /etc/tsa/chain.pem > tsa.toml
    """  # noqa: D301 - the backslashes are click's mark and the shell's
    rest = list(words)
    while rest and rest[0] in _PROGRAM_WORDS:
        rest = rest[1:]
    if len(rest) > 1:
        raise click.UsageError(f"one FILE is read, not {len(rest)}: {' '.join(rest)}")
    path = Path(rest[0]) if rest else None
    values = overrides(merged(given_flags(parameters), file_flags(path) if path else {}))
    # What cannot be served is said here already, by the words of the settings.
    load_settings(overrides={}, environ={}, whole=False, fallback=Fallback(values=values, file=path))
    text, secrets = render(values)
    sys.stdout.write(text)
    for setting, variable in secrets.items():
        say(f"{setting} is not written there: put it into the variable {variable}, or name a file that has it")


def render(values: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Return settings as a tsa.toml with comments, and the variables of the secrets that are left out."""
    secrets: dict[str, str] = {}
    tables = {name: dict(_settings_of(values, name)) for name in _TABLES}
    tables["profiles.default"].setdefault("signer", "memory:")
    lines = [_TOP]
    for name, table in tables.items():
        hint = _clock_hint(table) if name == "clock" else _hint(name, table)
        if not table and hint is None:
            continue
        lines += ["", f"[{name}]"]
        for key, value in table.items():
            if variable := _SECRETS.get(f"{name}.{key}"):
                secrets[f"{name}.{key}"] = variable
                lines.append(f"{key} = {{ env = {_toml(variable)} }}")
            else:
                lines.append(f"{key} = {_toml(value)}")
        if hint:
            lines.append(hint)
    return "\n".join(lines) + "\n", secrets


def _settings_of(values: Mapping[str, Any], table: str) -> Iterator[tuple[str, Any]]:
    """Yield what stands in a table itself, without the tables in it."""
    found: Any = values
    for part in table.split("."):
        found = found.get(part, {})
    yield from ((key, value) for key, value in found.items() if not isinstance(value, dict))


def _hint(name: str, table: Mapping[str, Any]) -> str | None:
    """Return what to say of settings that are not in the table, and whose default is another one there."""
    hints = (
        hint for key, hint in _HINTS.items() if key.rpartition(".")[0] == name and key.rpartition(".")[2] not in table
    )
    return "\n".join(hints) or None


def _clock_hint(clock: Mapping[str, Any]) -> str | None:
    if "on_failure" in clock or "disabled_monitors" in clock:
        return None
    return _MONITORED if "monitors" in clock else _UNMONITORED


def _toml(value: Any) -> str:
    """Return a value of a flag in TOML; a text's JSON is a TOML string too."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(format_duration(value) if isinstance(value, timedelta) else str(value), ensure_ascii=False)
