"""timestamp-cli version."""

from __future__ import annotations

from typing import Any

import click

from tsa_core.cli.timestamp.options import common, common_options
from tsa_core.cli.versions import print_versions


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def version(ctx: click.Context, /, as_json: bool, **_: Any) -> None:
    """Print the versions of tsa-core, Python and the cryptographic library."""
    print_versions(as_json=as_json or common(ctx, "output_format") == "json")


version.params += common_options()
