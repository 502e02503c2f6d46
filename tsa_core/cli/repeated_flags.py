"""A flag that takes one value is given once: of two values, one would be ignored and nobody told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import click
from click.core import ParameterSource


def refuse_repeated_flags(command: click.Command) -> click.Command:
    """Make a command, and every command in it, refuse a single-valued flag that stands twice; return it."""
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            refuse_repeated_flags(inner)
    if not isinstance(command.make_parser, _StrictParsers):
        command.make_parser = _StrictParsers(command.make_parser)  # type: ignore[method-assign]  # any command, also a plugin's
    return command


class _StrictParsers:
    """Makes the parsers of one command."""

    def __init__(self, make: Callable[[click.Context], Any]) -> None:
        self._make = make

    def __call__(self, ctx: click.Context) -> Any:
        parser = self._make(ctx)
        parse = parser.parse_args

        def parse_once(args: list[str]) -> Any:
            values, rest, order = parse(args=args)
            _check(order, ctx)
            return values, rest, order

        parser.parse_args = parse_once
        return parser


def _check(order: Sequence[click.Parameter], ctx: click.Context) -> None:
    """Raise UsageError for the first option that stands more often than its values are kept.

    `order` holds a parameter for each time that it was given; a flag that stands before the command's name as well
    was given to the parent. A switch without a value says the same each time.
    """
    for parameter, times in Counter(order).items():
        if not isinstance(parameter, click.Option) or parameter.multiple or parameter.count or parameter.is_flag:
            continue
        if times > 1:
            raise click.UsageError(
                f"{parameter.opts[0]} is given {times} times but takes one value; give it once", ctx=ctx
            )
        if ctx.parent is not None and _is_given(ctx.find_root(), parameter):
            raise click.UsageError(
                f"{parameter.opts[0]} is given before and after the command's name; give it once", ctx=ctx
            )


def _is_given(ctx: click.Context, option: click.Option) -> bool:
    return (
        any(own.name == option.name and own.opts == option.opts for own in ctx.command.params)
        and ctx.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
    )
