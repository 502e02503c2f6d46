"""Registers the scheme `tink:` and the command `timestamp-server tink`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tsa_core.api import Command, OpenKek, Provider, Signer, hookimpl
from tsa_signer_tink.options import TinkOptions

if TYPE_CHECKING:
    import click


def _open(options: TinkOptions, *, open_kek: OpenKek) -> Signer:
    from tsa_signer_tink.signer import open_tink_signer

    return open_tink_signer(options, open_kek)


def _load_command() -> click.Command:
    from tsa_signer_tink.command import tink

    return tink


@hookimpl
def tsa_signers() -> Iterable[Provider[Signer]]:
    """Register the scheme `tink:`."""
    yield Provider(
        name="tink",
        summary="A Tink keyset that a KMS decrypts at start; signs in memory",
        options=TinkOptions,
        open=_open,
        uses_keks=True,
        fork_safe=True,
    )


@hookimpl
def tsa_commands() -> Iterable[Command]:
    """Register `timestamp-server tink`."""
    yield Command(name="tink", summary="Make encrypted Tink keysets", load=_load_command)
