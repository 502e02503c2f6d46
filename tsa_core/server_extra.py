"""The extra `server`: what the server needs, and verification and the client do not.

Every plugin requires `tsa-core[server]`. An installation without a plugin has only what verifies, and then the
server's programs say what is missing instead of failing at an import.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Final

MODULES: Final = (
    "falcon",
    "granian",
    "packaging",
    "pluggy",
    "prometheus_client",
    "pydantic",
    "rich",
    "structlog",
    "tomlkit",
    "waitress",
    "yaml",
)
"""The modules that the packages of the extra bring; a test compares them with pyproject.toml."""
_EXIT_USAGE: Final = 2


def missing_modules() -> list[str]:
    """Return the modules of the extra that are not installed; nothing is imported."""
    return [name for name in MODULES if find_spec(name) is None]


def require_server(program: str) -> None:
    """End the process with one line that says what to install, unless everything that a server needs is there."""
    if missing := missing_modules():
        from tsa_core.origin import install_command  # which reads metadata, and is for this message alone

        sys.stderr.write(
            f"{program}: error: this is an installation for verification alone, without what the server needs: "
            f"{', '.join(missing)}. Install a plugin for the key, tsa-signer-file for example, which brings it; or the "
            f"server alone: {install_command('tsa-core[server]')}\n"
        )
        raise SystemExit(_EXIT_USAGE)
