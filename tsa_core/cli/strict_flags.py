"""A flag that takes one value is given once, and no value is empty.

Of two values, one would be ignored and nobody told. An empty one is mostly what a variable that is not set leaves of
`--kms-key-resource "$KEY"`, and would be taken for the flag's absence, or for the folder in which the command runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click
from click.core import ParameterSource

from tsa_core.cli.boolean_flag import BooleanFlag

_SECRETS: Final = ("passwd", "password", "token")
"""How flags end for which nothing is a value: there is no password."""


def read_strictly(command: click.Command) -> click.Command:
    """Make a command, and every command in it, refuse a single-valued flag that stands twice, and an empty value.

    Returns it.
    """
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            read_strictly(inner)
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
            _refuse_repeated(order, ctx)
            _refuse_empty(order, values, ctx)
            return values, rest, order

        parser.parse_args = parse_once
        return parser


def _refuse_repeated(order: Sequence[click.Parameter], ctx: click.Context) -> None:
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


def _refuse_empty(order: Sequence[click.Parameter], values: Mapping[str, Any], ctx: click.Context) -> None:
    """Raise UsageError for the first option whose value is nothing; one that is true or false says so itself."""
    for parameter in order:
        if not isinstance(parameter, click.Option) or isinstance(parameter, BooleanFlag):
            continue
        if parameter.opts[0].endswith(_SECRETS):
            continue
        given = values.get(parameter.name or "")
        each_given = given if isinstance(given, list) else [given]
        if any(isinstance(each, str) and not each.strip() for each in each_given):
            raise click.UsageError(
                f"{parameter.opts[0]} has an empty value; give it one, or leave the flag out (is a variable of the "
                "shell not set?)",
                ctx=ctx,
            )


def _is_given(ctx: click.Context, option: click.Option) -> bool:
    return (
        any(own.name == option.name and own.opts == option.opts for own in ctx.command.params)
        and ctx.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
    )
