"""Registers the routes of the legacy Authenticode timestamp protocol."""

from __future__ import annotations

from collections.abc import Iterable

from tsa_authenticode.options import AuthenticodeOptions
from tsa_core.api import Provider, Routes, hookimpl


def _open(options: AuthenticodeOptions) -> Routes:
    from tsa_authenticode.routes import AuthenticodeRoutes

    return AuthenticodeRoutes(options)


@hookimpl
def tsa_routes() -> Iterable[Provider[Routes]]:
    """Register the routes."""
    yield Provider(
        name="authenticode",
        summary="Legacy Authenticode timestamps (signtool /t), which are no RFC 3161 tokens",
        options=AuthenticodeOptions,
        open=_open,
    )
