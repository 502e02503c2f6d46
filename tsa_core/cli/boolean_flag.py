"""Boolean flags as Go's flag packages write them: `--nonce`, `--nonce=true`, `--nonce=false`.

The commands keep the reference's flags, and its users write both forms. As in Go, a separate word after the
flag is never its value: in `--nonce false` the word `false` is an argument of its own.
"""

from __future__ import annotations

from typing import Any

import click

from tsa_core.cli.boolean_words import WORDS


def boolean_word(value: bool | str) -> bool:
    """Return what a word after `=` or in an environment variable says; a usage error for words Go refuses."""
    if isinstance(value, bool):
        return value
    word = value.strip()
    if word not in WORDS:
        raise click.BadParameter(f"{word!r} is neither true nor false")
    return WORDS[word]


class BooleanFlag(click.Option):
    """An option that takes `--flag`, `--flag=true` and `--flag=false`, but never the word that follows it.

    Use it as `@click.option("--nonce", cls=BooleanFlag, help="...")`. The default is None unless given, which
    tells "not given" from false. Environment variables (`envvar`, `auto_envvar_prefix`) take the same words;
    an empty one counts as not set. Only long names are supported.
    """

    def __init__(self, *args: Any, **attributes: Any) -> None:
        attributes.setdefault("default", None)
        attributes["type"] = boolean_word
        super().__init__(*args, **attributes)

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Register with click's parser, so that a bare flag means true and consumes nothing."""
        super().add_to_parser(parser, ctx)
        # click's own optional values (flag_value) would take the next word, and its plain flags refuse `=`;
        # the parser's matching of long names is the one place that sees which form was written.
        match = parser._match_long_opt

        def match_boolean(name: str, attached: str | None, state: Any) -> None:
            match(name, "true" if attached is None and name in self.opts else attached, state)

        parser._match_long_opt = match_boolean

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the two columns of the help text, the first as `--flag[=true|false]`."""
        record = super().get_help_record(ctx)
        if record is None:
            return None
        return ", ".join(f"{name}[=true|false]" for name in self.opts), record[1]
