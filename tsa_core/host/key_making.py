"""Makes a key by a signer's plugin."""

from __future__ import annotations

from typing import Final

from tsa_core.api import ConfigError, PluginCrash, PluginError, PluginOptions, Provider, Signer, TsaError
from tsa_core.api.time_limit import Overdue, told, within_limit
from tsa_core.api.wrong_types import describe
from tsa_core.host.discovery import InstalledPlugin
from tsa_core.host.loading import at_fault

MAKING_SECONDS: Final = 600.0
"""How long a signer may take to make a key: smart cards need minutes for a long RSA key."""


def key_made_by(
    provider: Provider[Signer],
    options: PluginOptions,
    kind: str,
    plugin: InstalledPlugin | None,
    *,
    seconds: float = MAKING_SECONDS,
) -> str:
    """Return the URI of the key that a signer has made within so many seconds; raises TsaError alone."""
    name, make = provider.name, provider.make_key
    if make is None:
        raise ConfigError(f"the signer {name!r} makes no keys; make it with the backend's own tools, and name it")
    try:
        uri: object = within_limit(lambda: make(options, kind), seconds=seconds, name=f"make-key-{name}")
    except TsaError:
        raise
    except Overdue:
        raise PluginError(
            f"the signer {name!r} has not made the key within {seconds:g} s: it hangs, or its backend does. Whether "
            "there is a key now is unknown: look with the backend's own tools before you try again",
            plugin=name,
        ) from None
    except Exception as error:
        raise PluginCrash(f"the signer {name!r} crashed while it made a key: {told(error)}", plugin=name) from error
    if not isinstance(uri, str):
        raise PluginError(
            f"the signer {name!r}: make_key returned {describe(uri)}, not a URI; {at_fault(plugin)}", plugin=name
        )
    return uri
