"""Demands one kind of exception and explains what came instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

ErrorT = TypeVar("ErrorT", bound=Exception)


def raised(expected: type[ErrorT], call: Callable[[], object], *, doing: str, remedy: str) -> ErrorT:
    """Return the exception that `call` raises; fail the test unless it is an `expected` one.

    `doing` says what was tried, `remedy` what the plugin's author should do about another exception.
    """
    try:
        result = call()
    except expected as error:
        return error
    except Exception as error:  # noqa: BLE001 - any other is the failure that is looked for
        kind = type(error)
        pytest.fail(
            f"{doing} raised {kind.__module__}.{kind.__name__}; only {expected.__name__} may come out: {remedy}",
            pytrace=False,
        )
    pytest.fail(f"{doing} returned {result!r:.80}; it must raise {expected.__name__}", pytrace=False)
