"""Options with more spellings than the help shows: those that users of the reference system have in their scripts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import click


class AliasedOption(click.Option):
    """An option whose first spellings stand in the help; those in `aliases` are accepted as well.

    An alias may be a long name after a single dash.
    """

    def __init__(self, names: list[str], *, aliases: tuple[str, ...] = (), **attributes: Any) -> None:
        super().__init__([*names, *aliases], **attributes)
        self._aliases = aliases

    def _shown(self) -> click.Option:
        shown = copy.copy(self)
        shown.opts = [name for name in self.opts if name not in self._aliases]
        return shown

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the two columns of the help text, without the aliases."""
        return click.Option.get_help_record(self._shown(), ctx)

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Return how errors name the option, without the aliases."""
        return click.Option.get_error_hint(self._shown(), ctx)


def go_option(*names: str, **attributes: Any) -> Callable[[Any], Any]:
    """Return click's option, which takes its long names after a single dash too, as Go's own `flag` package does."""
    aliases = tuple(name.removeprefix("-") for name in names if name.startswith("--"))
    return click.option(*names, cls=AliasedOption, aliases=aliases, **attributes)
