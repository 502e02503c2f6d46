"""Registers the page at /."""

from __future__ import annotations

from collections.abc import Iterable

from tsa_core.api import Provider, Routes, hookimpl
from tsa_web.options import WebOptions


def _open(options: WebOptions) -> Routes:
    from tsa_web.pages import WebPages

    return WebPages(options)


@hookimpl
def tsa_routes() -> Iterable[Provider[Routes]]:
    """Register the page."""
    yield Provider(
        name="web",
        summary="A page to timestamp and check files in the browser",
        options=WebOptions,
        open=_open,
    )
