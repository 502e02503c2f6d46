"""Registers the file signer."""

from __future__ import annotations

from collections.abc import Iterable

from tsa_core.api import Provider, Signer, hookimpl
from tsa_signer_file.options import FileOptions


def _open(options: FileOptions) -> Signer:
    from tsa_signer_file.signer import open_file_signer

    return open_file_signer(options)


def _make_key(options: FileOptions, kind: str) -> str:
    from tsa_signer_file.making import make_key

    return make_key(options, kind)


@hookimpl
def tsa_signers() -> Iterable[Provider[Signer]]:
    """Register the scheme `file:`."""
    yield Provider(
        name="file",
        summary="A private key in a file",
        options=FileOptions,
        open=_open,
        fork_safe=True,
        make_key=_make_key,
    )
