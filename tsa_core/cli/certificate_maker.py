"""certificate-maker: certificate chains from templates, under the flags of Sigstore's Certificate Maker."""

from __future__ import annotations

from typing import Any, Final

import click

from tsa_core.cli import console
from tsa_core.cli.program_group import SHARED, LazyCommand, LazyGroup, add_version_flag

PROGRAM: Final = "certificate-maker"

_CREATE: Final = LazyCommand(
    "tsa_core.cli.maker_create:create", "Make the certificates of a root, an intermediate and a TSA, from templates."
)
_TEMPLATE: Final = LazyCommand(
    "tsa_core.cli.maker_create:template", "Print the default template of a ROLE, to begin one's own with."
)
COMMANDS: Final = {
    "create": _CREATE,
    "template": _TEMPLATE,
    "help": LazyCommand("tsa_core.cli.program_help:show_help", "Show the help of the program or of a command.", SHARED),
    "completion": LazyCommand(
        "tsa_core.cli.completion:completion",
        "Print a script that lets a shell complete this program's commands and flags.",
        SHARED,
    ),
    "version": LazyCommand(
        "tsa_core.cli.program_help:version",
        "Print the versions of tsa-core, Python and the cryptographic library.",
        SHARED,
    ),
}


@click.group(
    PROGRAM,
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def certificate_maker(**_: Any) -> None:
    """Make certificate chains for timestamp authorities, wherever their keys are."""


add_version_flag(certificate_maker, PROGRAM)


@click.group("certificates", cls=LazyGroup, lazy={"make": _CREATE, "template": _TEMPLATE})
def certificates(**_: Any) -> None:
    """Make certificate chains from templates, with keys in any backend; certificate-maker is the same."""


def main() -> None:
    """Run certificate-maker."""
    console.run(certificate_maker, PROGRAM)


if __name__ == "__main__":
    main()
