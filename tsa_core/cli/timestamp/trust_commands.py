"""The commands about authorities and settings, as click sees them; imported when one of them is asked for."""

from __future__ import annotations

from typing import Final

from tsa_core.cli.program_group import HelpfulGroup
from tsa_core.cli.timestamp import certchain, client_config, probe, tsa_list
from tsa_core.cli.timestamp.options import click_command

CERTCHAIN: Final = click_command("certchain", certchain.certchain, certchain.FLAGS)
PROBE: Final = click_command("probe", probe.probe_authority, probe.FLAGS, paths=True, metavar="[URL]")
TSA: Final = HelpfulGroup("tsa", help="List the authorities that have names.")
TSA.add_command(click_command("list", tsa_list.list_authorities, ()))
CONFIG: Final = HelpfulGroup("config", help="Show the settings and where they come from.")
CONFIG.add_command(click_command("show", client_config.show_config, ()))
