"""certificate-maker: certificate chains from templates, under the flags of Sigstore's Certificate Maker."""

from __future__ import annotations

from typing import Any, Final

import click

from tsa_core.cli import console
from tsa_core.cli.program_group import LazyCommand, LazyGroup, add_version_flag, shared_commands

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
    **shared_commands(),
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
