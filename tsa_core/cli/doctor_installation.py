"""What the doctor says of the installation: versions, where it came from, and plugins that do not fit."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from typing import Final

from tsa_core import __version__
from tsa_core.api import PluginError
from tsa_core.api.installation import Origin, core_origin
from tsa_core.cli.doctor_findings import Finding, Level
from tsa_core.host import CORE_DISTRIBUTION, installed_plugins

_SECTION: Final = "installation"


def installation() -> Iterator[Finding]:
    """Yield what is installed, and what of it cannot work."""
    from cryptography import __version__ as cryptography_version
    from cryptography.hazmat.backends.openssl.backend import backend

    yield _good("tsa-core", f"{__version__}, {how_installed(core_origin())}")
    yield _good("python", f"{platform.python_version()}, {sys.executable}")
    yield _good("cryptography", f"{cryptography_version}, {backend.openssl_version_text()}")
    yield _good("platform", platform.platform())
    for name, plugins in installed_plugins().items():
        if len(plugins) > 1:
            text = f"two distributions have this name: {' and '.join(each.distribution for each in plugins)}"
            yield Finding(section=_SECTION, level=Level.BAD, what=f"plugin {name}", text=text, remedy="uninstall one")
            continue
        try:
            plugins[0].check_core_version()
        except PluginError as error:
            yield Finding(section=_SECTION, level=Level.BAD, what=f"plugin {name}", text=str(error))
        else:
            if plugins[0].distribution != CORE_DISTRIBUTION:
                yield _good(f"plugin {name}", f"{plugins[0].distribution} {plugins[0].version}")


def how_installed(origin: Origin) -> str:
    """Return in words where a distribution came from."""
    return {
        "checkout": f"{'editable, ' if origin.editable else ''}from the checkout {origin.place}",
        "wheels": f"from a wheel in {origin.place}",
        "repository": f"from the repository {origin.place}",
        "index": "from an index, or a folder of wheels",
    }.get(origin.kind, "of unknown origin")


def _good(what: str, text: str) -> Finding:
    return Finding(section=_SECTION, level=Level.GOOD, what=what, text=text)
