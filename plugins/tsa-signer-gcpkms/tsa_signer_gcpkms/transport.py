"""How Google's interfaces are reached: the credentials, and the channel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import google.auth
import grpc
from google.auth.exceptions import GoogleAuthError
from google.oauth2 import service_account

from tsa_core.api import ConfigError, one_line

T = TypeVar("T")

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_CHANNEL_OPTIONS: Final = (
    # gRPC's own pauses between two connections grow to two minutes, for which the service would stay down.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A connection that a firewall forgot is noticed by these, and by nothing else.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
)


def open_transport(
    kind: Callable[..., T],
    *,
    endpoint: str,
    plaintext: bool,
    credentials_file: Path | None,
    scope: str,
    setting: Callable[[str], str],
) -> T:
    """Return a transport of a Google client, of the class `kind`, to `endpoint`; nothing is sent yet.

    Without TLS (`plaintext`) there are no credentials either, and only a server on this machine is spoken to. `scope`
    is the OAuth scope that the access token is for, `setting` returns the full name of a setting, for messages. Raises
    ConfigError.
    """
    if plaintext:
        if endpoint.rpartition(":")[0] not in _LOOPBACK:
            raise ConfigError(
                f"plaintext is for an emulator on this machine, and {endpoint!r} is not 127.0.0.1:PORT",
                path=setting("plaintext"),
            )
        return kind(channel=grpc.insecure_channel(endpoint, options=_CHANNEL_OPTIONS))
    try:
        if credentials_file is not None:
            read: Any = service_account.Credentials.from_service_account_file  # which has no type
            credentials = read(str(credentials_file), scopes=(scope,))
        else:
            credentials, _ = google.auth.default(scopes=(scope,))
    except (GoogleAuthError, OSError, ValueError) as error:
        # google-auth may quote what it could not read, so only its own errors are repeated.
        text = one_line(error) if isinstance(error, GoogleAuthError) else type(error).__name__
        raise ConfigError(
            f"no Google credentials: {text}; set {setting('credentials_file').rpartition('.')[2]} or "
            "GOOGLE_APPLICATION_CREDENTIALS, or log in: gcloud auth application-default login",
            path=setting("credentials_file"),
        ) from None

    def open_channel(address: str, **arguments: Any) -> grpc.Channel:
        arguments["options"] = [*(arguments.get("options") or ()), *_CHANNEL_OPTIONS]
        channel: grpc.Channel = kind.create_channel(address, **arguments)  # type: ignore[attr-defined] # a transport
        return channel

    return kind(host=endpoint, credentials=credentials, channel=open_channel, always_use_jwt_access=True)
