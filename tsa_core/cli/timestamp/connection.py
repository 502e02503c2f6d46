"""Flags of timestamp-cli about the connection to a server: TLS, headers, tokens, retries, the clock."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.core import ParameterSource

from tsa_core.cli.boolean_flag import BooleanFlag
from tsa_core.cli.timestamp.options import common, option, seconds

if TYPE_CHECKING:
    from tsa_core.client import ClientSettings

_F = TypeVar("_F", bound=Callable[..., Any])

_CREDENTIALS: Final = {
    "client_certificate": "--client-certificate",
    "header": "--header",
    "token_file": "--token-file",
}
_CONNECTION: Final = (
    option("--ca", metavar="FILE", help="PEM certificates of the authorities to trust for TLS, not the system's."),
    option("--client-certificate", metavar="FILE", help="PEM certificate to show to the server."),
    option("--client-key", metavar="FILE", help="Its PEM private key, if it is not in the same file."),
    option("--header", multiple=True, metavar="NAME:VALUE", help="Send this header too; repeat it for several."),
    option("--token-file", metavar="FILE", help="Send the bearer token in this file."),
    option("--token-over-http", cls=BooleanFlag, help="Send a bearer token to a server without TLS too."),
    option(
        "--retries",
        type=click.IntRange(min=0, max=100),
        default=0,
        show_default=True,
        help="How often to ask again when the server is busy or the connection fails, within --timeout.",
    ),
    option(
        "--clock-window",
        type=seconds,
        default=300.0,
        show_default="5m",
        metavar="DURATION",
        help="How far the timestamp may be from this machine's clock.",
    ),
)


def connection_options(function: _F) -> _F:
    """Add the options of a command that asks for timestamps."""
    for decorate in reversed(_CONNECTION):
        function = decorate(function)
    return function


def connection_settings(ctx: click.Context, flags: dict[str, Any]) -> ClientSettings:
    """Return the client's settings; raises click.UsageError for those that cannot be used."""
    from tsa_core.client import ClientSettingError, TransportError
    from tsa_core.client.settings import check_bearer_token, header_source
    from tsa_core.client.tls import tls
    from tsa_core.client.transport import timestamp_url

    _check_destination(ctx, flags)
    headers = _headers(flags["header"])
    settings: ClientSettings = {
        "timeout": common(ctx, "timeout"),
        "ca": flags["ca"],
        "client_certificate": flags["client_certificate"],
        "client_key": flags["client_key"],
        "headers": headers,
        "token_file": flags["token_file"],
        "token_over_http": bool(flags["token_over_http"]),
        "retries": flags["retries"],
        "clock_window": timedelta(seconds=flags["clock_window"]),
    }
    try:
        # Before anything is sent, and as the mistake in the command that it is.
        header_source(headers, flags["token_file"], authorized=False)
        for url in common(ctx, "timestamp_server"):
            with suppress(TransportError):  # what is no URL is told later, beside what the other servers answer
                check_bearer_token(
                    timestamp_url(url), headers, flags["token_file"], over_http=settings["token_over_http"]
                )
        tls(ca=flags["ca"], certificate=flags["client_certificate"], key=flags["client_key"])
    except ClientSettingError as error:
        raise click.UsageError(str(error)) from None
    return settings


def _check_destination(ctx: click.Context, flags: dict[str, Any]) -> None:
    """Refuse credentials for a server that nobody named: the default one is a public service."""
    given = next((flag for name, flag in _CREDENTIALS.items() if flags[name]), None)
    sources = {context.get_parameter_source("timestamp_server") for context in (ctx, ctx.parent) if context is not None}
    if given is not None and sources <= {ParameterSource.DEFAULT, None}:
        raise click.UsageError(f"{given} needs --timestamp_server: it is not for the public default server")


def _headers(texts: tuple[str, ...]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for text in texts:
        name, colon, value = text.partition(":")
        name = name.strip()
        if not colon or not name:
            raise click.UsageError("--header is not of the form NAME:VALUE")
        if name.lower() in map(str.lower, headers):
            raise click.UsageError(f"--header gives {name!r} twice")
        headers[name] = value.strip()
    return headers
