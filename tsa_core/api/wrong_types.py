"""Says what a plugin returned instead of what it should have returned."""

from __future__ import annotations

import inspect


def describe(value: object) -> str:
    """Return what a value is, without showing it: it may be a secret."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__} itself"
    if inspect.iscoroutine(value):
        return "a coroutine (is it an async function?)"
    if inspect.isgenerator(value):
        return "a generator (is there a yield in it?)"
    return with_article(type(value))


def with_article(kind: type[object]) -> str:
    """Return `an AuditSink` for example."""
    return f"{'an' if kind.__name__[:1].lower() in set('aeiou') else 'a'} {kind.__name__}"
