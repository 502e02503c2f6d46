"""Registers the guard, and the command that makes and revokes keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tsa_core.api import Command, Guard, Provider, hookimpl
from tsa_guard.options import GuardOptions

if TYPE_CHECKING:
    import click


def _open(options: GuardOptions) -> Guard:
    from tsa_guard.guard import open_guard

    return open_guard(options)


def _load_command() -> click.Command:
    from tsa_guard.command import keys

    return keys


@hookimpl
def tsa_middleware() -> Iterable[Provider[Guard]]:
    """Register the guard."""
    yield Provider(
        name="guard", summary="API keys, bearer tokens, tenants and rate limits", options=GuardOptions, open=_open
    )


@hookimpl
def tsa_commands() -> Iterable[Command]:
    """Register `timestamp-server keys`."""
    yield Command(name="keys", summary="Make, list and revoke clients' API keys", load=_load_command)
