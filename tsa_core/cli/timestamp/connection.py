"""Flags of timestamp-cli about the connection to a server: TLS, headers, tokens, retries, the clock."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final, cast

from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.flags import Call, flag, seconds

if TYPE_CHECKING:
    from tsa_core.client import ClientSettings
    from tsa_core.client.settings import ServerSettings

_CREDENTIALS: Final = {
    "client_certificate": "--client-certificate",
    "header": "--header",
    "token_file": "--token-file",
}
SERVER_FLAGS: Final = (
    flag("--ca", metavar="FILE", help="PEM certificates of the authorities to trust for TLS, not the system's."),
    flag("--client-certificate", metavar="FILE", help="PEM certificate to show to the server."),
    flag("--client-key", metavar="FILE", help="Its PEM private key, if it is not in the same file."),
    flag("--header", multiple=True, metavar="NAME:VALUE", help="Send this header too; repeat it for several."),
    flag("--token-file", metavar="FILE", help="Send the bearer token in this file."),
    flag("--token-over-http", boolean=True, help="Send a bearer token to a server without TLS too."),
)
"""How a server is reached: whom to trust for TLS, and what to show to it."""
CONNECTION_FLAGS: Final = (
    *SERVER_FLAGS,
    flag(
        "--retries",
        least=0,
        most=100,
        default=0,
        shown_default="0",
        help="How often to ask again when the server is busy or the connection fails, within --timeout.",
    ),
    flag(
        "--clock-window",
        convert=seconds,
        default=300.0,
        shown_default="5m",
        metavar="DURATION",
        help="How far the timestamp may be from this machine's clock.",
    ),
)


def connection_settings(call: Call) -> ClientSettings:
    """Return the client's settings; raises UsageMistake for those that cannot be used."""
    _check_destination(call)
    # It may have all keys of the larger one, which mypy does not see.
    settings = cast("ClientSettings", server_settings(call, _servers(call)))
    settings["timeout"] = call.common("timeout")
    settings["retries"] = call.flags["retries"]
    settings["clock_window"] = timedelta(seconds=call.flags["clock_window"])
    return settings


def server_settings(call: Call, servers: Sequence[str]) -> ServerSettings:
    """Return how these servers, which somebody named, are reached; raises UsageMistake."""
    from tsa_core.client import ClientSettingError, TransportError
    from tsa_core.client.settings import check_bearer_token, header_source
    from tsa_core.client.tls import tls
    from tsa_core.client.transport import timestamp_url

    flags = call.flags
    headers = _headers(flags["header"])
    settings: ServerSettings = {
        "ca": flags["ca"],
        "client_certificate": flags["client_certificate"],
        "client_key": flags["client_key"],
        "headers": headers,
        "token_file": flags["token_file"],
        "token_over_http": bool(flags["token_over_http"]),
    }
    try:
        # Before anything is sent, and as the mistake in the command that it is.
        header_source(headers, flags["token_file"], authorized=False)
        for url in servers:
            with suppress(TransportError):  # what is no URL is told later, beside what the other servers answer
                check_bearer_token(
                    timestamp_url(url), headers, flags["token_file"], over_http=settings["token_over_http"]
                )
        tls(ca=flags["ca"], certificate=flags["client_certificate"], key=flags["client_key"])
    except ClientSettingError as error:
        raise UsageMistake(str(error)) from None
    return settings


def _servers(call: Call) -> Sequence[str]:
    if not call.flags.get("tsa"):
        return tuple(call.common("timestamp_server"))
    from tsa_core.cli.timestamp.authorities import servers_of

    return servers_of(call)


def _check_destination(call: Call) -> None:
    """Refuse credentials for a server that nobody named: the default one is a public service."""
    given = next((flag for name, flag in _CREDENTIALS.items() if call.flags[name]), None)
    if given is not None and not call.names_server and not call.flags.get("tsa"):
        raise UsageMistake(f"{given} needs --timestamp_server: it is not for the public default server")


def _headers(texts: tuple[str, ...]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for text in texts:
        name, colon, value = text.partition(":")
        name = name.strip()
        if not colon or not name:
            raise UsageMistake("--header is not of the form NAME:VALUE")
        if name.lower() in map(str.lower, headers):
            raise UsageMistake(f"--header gives {name!r} twice")
        headers[name] = value.strip()
    return headers
