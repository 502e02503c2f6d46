"""docs/plugins/hooks.md says what tsa_core/hookspecs.py says: names, arguments, what is yielded, when it is called."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import NamedTuple, get_args, get_type_hints

import pytest

from tsa_core import hookspecs
from tsa_core.host import KINDS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "plugins" / "hooks.md"


class Hook(NamedTuple):
    name: str
    arguments: str
    yields: str
    when: str


def specified() -> list[Hook]:
    """Read the specifications, in their order."""
    hooks = []
    for name, function in vars(hookspecs).items():
        if not name.startswith("tsa_"):
            continue
        [yielded] = get_args(get_type_hints(function)["return"])
        arguments = get_args(yielded)
        text = f"{yielded.__origin__.__name__}[{arguments[0].__name__}]" if arguments else yielded.__name__
        paragraphs = [" ".join(part.split()) for part in (inspect.getdoc(function) or "").split("\n\n")]
        [when] = [part.removesuffix(" Example::") for part in paragraphs if part.startswith("Called ")]
        parameters = ", ".join(inspect.signature(function).parameters) or "none"
        hooks.append(Hook(name, parameters, text, when))
    return hooks


def documented() -> list[Hook]:
    """Read the page's table."""
    rows = re.findall(r"^\| `(tsa_\w+)` \| ([^|]*) \| `([^|]*)` \| (.*) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    return [Hook(name, arguments.strip("`"), yields, when) for name, arguments, yields, when in rows]


@pytest.mark.needs(PAGE.is_file(), "the documentation is not here")
def test_page_equals_the_specifications() -> None:
    assert documented() == specified()


def test_every_kind_has_its_hook() -> None:
    hooks = {hook for kind in KINDS for hook in (kind.hook, kind.other_schemes_hook) if hook}
    assert hooks | {"tsa_commands"} == {hook.name for hook in specified()}


@pytest.mark.parametrize("hook", specified(), ids=lambda hook: hook.name)
def test_docstring_shows_an_implementation_that_runs(hook: Hook) -> None:
    documentation = inspect.getdoc(getattr(hookspecs, hook.name)) or ""
    example = inspect.cleandoc(documentation.partition("Example::")[2])
    assert example.startswith(f"@hookimpl\ndef {hook.name}(")
    compile(example, hook.name, "exec")


def test_no_hook_argument_has_a_default() -> None:
    # pluggy 1.5 and 1.6 treat them differently from 1.7.
    for hook in specified():
        parameters = inspect.signature(getattr(hookspecs, hook.name)).parameters.values()
        assert all(parameter.default is parameter.empty for parameter in parameters), hook.name
