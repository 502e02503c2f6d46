"""`timestamp-server archive find`: tokens by serial number or digest."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, Final

import click
from asn1crypto import tsp

from tsa_core.api import ConfigError, read_file
from tsa_response_archive.store import TokenStore

_MAX_CONFIG_OCTETS: Final = 4 * 1024 * 1024


class SerialNumber(click.ParamType[int]):
    """A serial number, decimal or hexadecimal."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        text = str(value).replace(":", "").lower()
        # 40 digits are how this archive and openssl write it; in decimal, our serial numbers have 48.
        hexadecimal = text.startswith("0x") or len(text) == 40 or not text.isdecimal()
        try:
            number = int(text, 16 if hexadecimal else 10)
        except ValueError:
            self.fail(f"{value!r} is not a serial number; write it in decimal, or in hexadecimal after 0x", param, ctx)
        if not 0 <= number < 1 << 160:
            self.fail(f"{value!r} is not a serial number: it is out of range", param, ctx)
        return number


class Digest(click.ParamType[bytes]):
    """A digest in hexadecimal."""

    name = "hex"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """Return the octets."""
        try:
            digest = bytes.fromhex(str(value).replace(":", ""))
        except ValueError:
            self.fail(f"{value!r} is not a digest; write it in hexadecimal, as sha256sum does", param, ctx)
        if not 16 <= len(digest) <= 64:
            self.fail(f"{value!r} is not a digest: it has {len(digest)} bytes", param, ctx)
        return digest


@click.group()
def archive() -> None:
    """Find what the archive of issued tokens holds."""


@archive.command()
@click.option("--serial", "serial_number", type=SerialNumber(), help="Serial number, decimal or hexadecimal.")
@click.option("--digest", type=Digest(), help="Digest that was timestamped, in hexadecimal.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    envvar="TSA_RESPONSE__ARCHIVE__DIRECTORY",
    help="The archive; otherwise the one that the configuration names.",
)
@click.option("--config", type=click.Path(path_type=Path), envvar="TSA_CONFIG", help="Configuration file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def find(
    serial_number: int | None, digest: bytes | None, directory: Path | None, config: Path | None, as_json: bool
) -> None:
    """List tokens by serial number or by digest, with the file that holds each.

    Exit code 1 when there is none.

    \b
    Examples:
      timestamp-server archive find --config tsa.toml --digest $(sha256sum FILE | cut -c-64)
      timestamp-server archive find --directory /var/lib/tsa --serial 0x4f2a...91
    """  # noqa: D301 - the backslash is click's mark
    if (serial_number is None) == (digest is None):
        raise click.UsageError("give either --serial or --digest")
    store = TokenStore(directory or _configured_directory(config))
    try:
        if digest is not None:
            paths = list(store.find_digest(digest))
        else:
            assert serial_number is not None  # noqa: S101 - one of the two is given
            paths = list(store.find_serial(serial_number))
        tokens = [_describe(path) for path in paths]
    except OSError as error:
        raise ConfigError(f"the archive cannot be read: {error.strerror}", path=str(store.directory)) from None
    if as_json:
        click.echo(json.dumps(tokens, indent=2))
    for token in [] if as_json else tokens:
        click.echo("\t".join(token[field] for field in ("serial", "time", "policy", "hash", "digest", "file")))
    if not tokens:
        raise click.ClickException(f"there is no such token in {store.directory}")


def _describe(path: Path) -> dict[str, str]:
    """Return what a kept reply says of itself."""
    try:
        response = tsp.TimeStampResp.load(path.read_bytes(), strict=True)
        info = response["time_stamp_token"]["content"]["encap_content_info"]["content"].parsed
        imprint = info["message_imprint"]
        return {
            "serial": f"{info['serial_number'].native:040x}",
            "time": info["gen_time"].native.isoformat(timespec="auto").replace("+00:00", "Z"),
            "policy": info["policy"].dotted,
            "hash": imprint["hash_algorithm"]["algorithm"].native,
            "digest": imprint["hashed_message"].native.hex(),
            "file": str(path),
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"the file is damaged: {type(error).__name__}; restore it", path=str(path)) from None


def _configured_directory(config: Path | None) -> Path:
    """Return `[response.archive] directory` of a configuration file."""
    if config is None:
        raise click.UsageError("say where the archive is: --directory DIRECTORY, or --config tsa.toml")
    try:
        table = tomllib.loads(read_file(config, "configuration file", limit=_MAX_CONFIG_OCTETS).decode("utf-8"))
    except ValueError as error:
        raise ConfigError(f"the configuration file cannot be read: {error}", path=str(config)) from None
    value: Any = table
    for key in ("response", "archive", "directory"):
        value = value.get(key, {}) if isinstance(value, dict) else {}
    if not isinstance(value, str):
        raise ConfigError("it has no [response.archive] directory; use --directory", path=str(config))
    # As the server resolves it: relative to the configuration file.
    return config.parent / Path(value).expanduser()
