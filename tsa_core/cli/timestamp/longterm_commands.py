"""The commands about what lasts, as click sees them; imported when one of them is asked for."""

from __future__ import annotations

from typing import Final

from tsa_core.cli.timestamp import extend
from tsa_core.cli.timestamp.options import click_command

EXTEND: Final = click_command("extend", extend.extend, extend.FLAGS)
