"""Makes a key in the transit engine; it cannot be exported."""

from __future__ import annotations

from typing import Final

from tsa_core.api import ConfigError, SignerError, SignerUnavailable
from tsa_signer_hashivault.connection import TransitConnection
from tsa_signer_hashivault.options import TransitOptions
from tsa_signer_hashivault.settings import complete

_KINDS: Final = frozenset({"ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048", "rsa-3072", "rsa-4096", "ed25519"})


def make_key(options: TransitOptions, kind: str) -> str:
    """Make a key that the server does not give away, and return its URI.

    The token needs read and update on MOUNT/keys/KEY. Raises ConfigError for a kind that the engine does not have and
    for a key that is there, SignerUnavailable when the server cannot be reached, SignerError when it refuses.
    """
    if kind not in _KINDS:
        raise ConfigError(f"the transit engine makes no keys of the kind {kind}; choose {', '.join(sorted(_KINDS))}")
    settings = complete(options)
    connection = TransitConnection(settings, connections=options.connections)
    timeout = options.start_timeout.total_seconds()
    path = f"{settings.mount}/keys/{settings.key}"
    try:
        # The server answers a request for a key that is there as if it had made it.
        if _is_there(connection, path, timeout):
            raise ConfigError(f"the key {path} is there already; name a new one")
        body = {"type": kind, "exportable": False, "allow_plaintext_backup": False}
        connection.request("post", path, timeout=timeout, needs="update", body=body)
    finally:
        connection.close()
    return options.uri


def _is_there(connection: TransitConnection, path: str, timeout: float) -> bool:
    try:
        connection.request("get", path, timeout=timeout, needs="read")
    except SignerUnavailable:
        raise
    except SignerError as error:
        if "not found; make the key first" in str(error):
            return False
        raise
    return True
