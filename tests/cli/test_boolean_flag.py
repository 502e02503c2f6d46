"""BooleanFlag: Go's way of writing boolean flags."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from tsa_core.cli.boolean_flag import BooleanFlag


@click.command(context_settings={"auto_envvar_prefix": "DEMO"})
@click.option("--nonce", cls=BooleanFlag, help="Send a nonce.")
@click.option("--certificate", "--cert", cls=BooleanFlag, default=True, show_default=True)
@click.option("--out", default="-")
@click.argument("words", nargs=-1)
def demo(nonce: bool | None, certificate: bool, out: str, words: tuple[str, ...]) -> None:
    click.echo(f"{nonce!r} {certificate!r} {out} {' '.join(words)}".strip())


def run(*args: str, env: dict[str, str] | None = None) -> str:
    result = CliRunner().invoke(demo, args, env=env, catch_exceptions=False)
    return result.output.strip() if result.exit_code == 0 else f"exit {result.exit_code}: {result.output}"


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((), "None True -"),
        (("--nonce",), "True True -"),
        *(((f"--nonce={word}",), "True True -") for word in ("1", "t", "T", "true", "TRUE", "True")),
        *(((f"--nonce={word}",), "False True -") for word in ("0", "f", "F", "false", "FALSE", "False")),
        (("--cert=false",), "None False -"),
        (("--certificate=false", "--cert"), "None True -"),
        (("--nonce", "--certificate=false", "--out", "x"), "True False x"),
    ],
)
def test_forms(args: tuple[str, ...], expected: str) -> None:
    assert run(*args) == expected


def test_the_next_word_is_not_consumed() -> None:
    assert run("--nonce", "false") == "True True - false"
    assert run("--", "--nonce") == "None True - --nonce"


def test_another_option_may_have_it_as_its_value() -> None:
    assert run("--out", "--nonce") == "None True --nonce"


@pytest.mark.parametrize("word", ["", "yes", "2", "on", "truee"])
def test_other_words_are_usage_errors(word: str) -> None:
    answer = run(f"--nonce={word}")
    assert answer.startswith("exit 2:")
    assert f"{word!r} is neither true nor false" in answer


@pytest.mark.parametrize(("value", "expected"), [("true", "True True -"), ("0", "False True -"), ("", "None True -")])
def test_environment(value: str, expected: str) -> None:
    assert run(env={"DEMO_NONCE": value}) == expected


def test_flags_win_over_the_environment() -> None:
    assert run("--nonce=false", env={"DEMO_NONCE": "true"}) == "False True -"
    assert run(env={"DEMO_NONCE": "maybe"}).startswith("exit 2:")


def test_help_shows_the_optional_value() -> None:
    text = run("--help")
    assert "--nonce[=true|false]" in text
    assert "--certificate[=true|false], --cert[=true|false]" in text
    assert "Send a nonce." in text
