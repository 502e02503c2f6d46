"""The commands about what lasts, as click sees them; imported when one of them is asked for."""

from __future__ import annotations

from typing import Final

from tsa_core.cli.program_group import HelpfulGroup
from tsa_core.cli.timestamp import cose, extend, extract, git
from tsa_core.cli.timestamp.options import click_command

EXTEND: Final = click_command("extend", extend.extend, extend.FLAGS)
EXTRACT: Final = click_command("extract", extract.extract, extract.FLAGS, paths=True)
GIT: Final = HelpfulGroup(
    "git",
    commands=[
        click_command("stamp", git.stamp, git.STAMP_FLAGS, paths=True),
        click_command("verify", git.verify, git.VERIFY_FLAGS, paths=True),
        click_command("statement", git.statement, git.STATEMENT_FLAGS, paths=True),
    ],
    help="Timestamp Git commits and tags, and verify them against the history.",
)
COSE: Final = HelpfulGroup(
    "cose",
    commands=[
        click_command("stamp", cose.stamp, cose.STAMP_FLAGS),
        click_command("verify", cose.verify, cose.VERIFY_FLAGS),
    ],
    help="Put timestamps into COSE messages, and verify them.\n\nBy RFC 9921. Needs the extra tsa-core[cose].",
)
