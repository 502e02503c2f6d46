"""Which versions are installed, for people and for scripts."""

from __future__ import annotations

import platform
import sys
from typing import Final

import click

from tsa_core import __version__
from tsa_core.cli.console import print_json

_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}
"""What Go calls a machine, by what Linux does."""


def print_versions(*, as_json: bool) -> None:
    """Print the versions that a report of a fault should name; in JSON, in Sigstore's fields first."""
    from cryptography import __version__ as cryptography_version
    from cryptography.hazmat.backends.openssl.backend import backend

    facts = {
        "tsa-core": __version__,
        "python": platform.python_version(),
        "cryptography": cryptography_version,
        "openssl": backend.openssl_version_text(),
        "system": platform.platform(),
    }
    if as_json:
        print_json({**_reference_fields(), **facts})
    else:
        for name, value in facts.items():
            click.echo(f"{name}: {value}")


def _reference_fields() -> dict[str, str]:
    """Return what the reference's `version --json` says; where it has Go's version and compiler, Python's stand.

    As there, what nobody noted when it was built is `unknown`.
    """
    from tsa_core.host.revision import UNKNOWN, installed_revision

    revision = installed_revision()
    machine = platform.machine().lower()
    return {
        "gitVersion": f"v{__version__}",
        "gitCommit": revision,
        "gitTreeState": UNKNOWN if revision == UNKNOWN else "clean",
        "buildDate": UNKNOWN,
        "goVersion": f"python{platform.python_version()}",
        "compiler": sys.implementation.name,
        "platform": f"{platform.system().lower()}/{_ARCHITECTURES.get(machine, machine)}",
    }
