"""What the doctor says of the installation: versions, where it came from, and plugins that do not fit."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any, Final

from tsa_core import __version__
from tsa_core.api import PluginError
from tsa_core.cli.doctor_findings import Finding, Level
from tsa_core.host import CORE_DISTRIBUTION, installed_plugins

_SECTION: Final = "installation"


def installation() -> Iterator[Finding]:
    """Yield what is installed, and what of it cannot work."""
    from cryptography import __version__ as cryptography_version
    from cryptography.hazmat.backends.openssl.backend import backend

    yield _good("tsa-core", f"{__version__}, {how_installed(CORE_DISTRIBUTION)}")
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


def how_installed(name: str) -> str:
    """Return where a distribution came from: a checkout, a file, a repository, or an index (PEP 610)."""
    try:
        noted: Any = json.loads(distribution(name).read_text("direct_url.json") or "null")
    except (PackageNotFoundError, OSError, ValueError):
        return "of unknown origin"
    if noted is None:
        return "from an index, or a folder of wheels"
    url = str(noted.get("url", "")).rpartition("@")[2] if "@" in str(noted.get("url", "")) else str(noted.get("url"))
    if noted.get("dir_info", {}).get("editable"):
        return f"editable, from the checkout {url}"
    if "vcs_info" in noted:
        return f"from the repository {url} at {str(noted['vcs_info'].get('commit_id', '?'))[:12]}"
    return f"from {url}"


def _good(what: str, text: str) -> Finding:
    return Finding(section=_SECTION, level=Level.GOOD, what=what, text=text)
