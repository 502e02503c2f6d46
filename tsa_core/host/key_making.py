"""Makes a key by a signer's plugin."""

from __future__ import annotations

from tsa_core.api import ConfigError, PluginCrash, PluginError, PluginOptions, Provider, Signer, TsaError
from tsa_core.api.wrong_types import describe
from tsa_core.host.discovery import InstalledPlugin
from tsa_core.host.loading import at_fault


def key_made_by(provider: Provider[Signer], options: PluginOptions, kind: str, plugin: InstalledPlugin | None) -> str:
    """Return the URI of the key that a signer has made; raises TsaError alone."""
    name = provider.name
    if provider.make_key is None:
        raise ConfigError(f"the signer {name!r} makes no keys; make it with the backend's own tools, and name it")
    try:
        uri: object = provider.make_key(options, kind)
    except TsaError:
        raise
    except Exception as error:
        raise PluginCrash(f"the signer {name!r} crashed while it made a key: {error}", plugin=name) from error
    if not isinstance(uri, str):
        raise PluginError(
            f"the signer {name!r}: make_key returned {describe(uri)}, not a URI; {at_fault(plugin)}", plugin=name
        )
    return uri
