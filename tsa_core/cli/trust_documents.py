"""timestamp-server trusted-root and signing-config: for Sigstore's clients, whom to trust and where to ask."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from tsa_core.api import ConfigError, read_file
from tsa_core.cli import console
from tsa_core.cli.flag_groups import GroupedCommand
from tsa_core.cli.settings_flags import flag_groups, flag_names, overrides, settings_options
from tsa_core.config import load_settings

_PATH = "without a path, /api/v1/timestamp is added"


@click.command("trusted-root", cls=GroupedCommand, groups=flag_groups())
@settings_options
@click.option("--uri", metavar="URL", default="", help=f"The authority's URL, which the document then names; {_PATH}")
@click.option("--profile", "profiles", multiple=True, metavar="NAME", help="Only this profile; repeatable  [all]")
def trusted_root(uri: str, profiles: tuple[str, ...], **parameters: Any) -> None:
    """Print the TrustedRoot (JSON) with which Sigstore's clients verify timestamps of this authority.

    It holds the present chain of every profile and the former ones that the state directory remembers, each with the
    time in which it could sign. No key is opened.

    \b
    Example:
      timestamp-server trusted-root --config tsa.toml --uri https://tsa.example.org > trusted_root.json
    """  # noqa: D301 - the backslash is click's mark
    from tsa_core.certs.trust_documents import trusted_root as document_of
    from tsa_core.service.material import read_material
    from tsa_core.service.published import published_authorities

    settings = load_settings(parameters["config"], overrides=overrides(parameters), flag_names=flag_names(parameters))
    if unknown := [name for name in profiles if name not in settings.profiles]:
        raise click.UsageError(
            f"--profile: there is no profile {unknown[0]!r}; there is {', '.join(settings.profiles)}"
        )
    material = read_material(settings)
    address = _published(uri) if uri else ""
    authorities = []
    for name in profiles or settings.profiles:
        chain = material.chains.get(name)
        if chain is None:
            raise ConfigError("the key is made at every start, so there is nothing to trust", path=f"profiles.{name}")
        authorities += published_authorities(chain, material.earlier.get(name, ()), uri=address)
    console.print_json(document_of(authorities))


@click.command("signing-config")
@click.option("--uri", metavar="URL", required=True, help=f"The authority's URL; {_PATH}")
@click.option("--operator", metavar="NAME", default="", help="Who operates it")
@click.option(
    "--base",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A SigningConfig whose certificate authorities and logs are kept; its timestamp authorities are replaced",
)
def signing_config(uri: str, operator: str, base: Path | None) -> None:
    """Print the SigningConfig (JSON) that sends Sigstore's clients to this authority.

    Clients that sign need a certificate authority and a log as well: take them from your own file with --base.

    \b
    Example:
      timestamp-server signing-config --uri https://tsa.example.org --base signing_config.json > ours.json
    """  # noqa: D301 - the backslash is click's mark
    from tsa_core.certs.trust_documents import signing_config as document_of

    kept = _read_base(base) if base is not None else None
    console.print_json(document_of(_published(uri), start=datetime.now(UTC), operator=operator, base=kept))


def _published(uri: str) -> str:
    """Return the address at which timestamps are asked for; raises ConfigError for one that holds a password."""
    from tsa_core.client.transport import timestamp_url, without_credentials

    address = timestamp_url(uri)
    if without_credentials(address) != address:
        raise ConfigError("--uri is published, and holds a user or a password; leave them out")
    return address


def _read_base(path: Path) -> dict[str, Any]:
    from tsa_core.certs.trust_documents import SIGNING_CONFIG_TYPE

    try:
        document = json.loads(read_file(path, "signing config", limit=1 << 20))
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or document.get("mediaType") != SIGNING_CONFIG_TYPE:
        raise ConfigError(f"it is no JSON whose mediaType is {SIGNING_CONFIG_TYPE}", path=str(path))
    return document
