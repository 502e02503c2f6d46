"""Registers sigstore's KMS plugins: by their own schemes, and by `cliplugin:` before them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable

from tsa_core.api import Provider, Signer, hookimpl
from tsa_signer_cliplugin.options import CliPluginOptions

PROGRAM = "sigstore-kms-"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


def _open(options: CliPluginOptions) -> Signer:
    from tsa_signer_cliplugin.signer import open_program_signer

    return open_program_signer(options)


def _provider(name: str, summary: str) -> Provider[Signer]:
    return Provider(name=name, summary=summary, options=CliPluginOptions, open=_open, fork_safe=True)


@hookimpl
def tsa_signers() -> Iterable[Provider[Signer]]:
    """Register the scheme `cliplugin:`, which another plugin's name cannot take away: `cliplugin:NAME://KEY`."""
    yield _provider("cliplugin", "Keys behind a program sigstore-kms-NAME")


@hookimpl
def tsa_signers_of_scheme(scheme: str) -> Iterable[Provider[Signer]]:
    """Register the scheme NAME when there is a program sigstore-kms-NAME on the PATH."""
    if _NAME.fullmatch(scheme) and shutil.which(PROGRAM + scheme):
        yield _provider(scheme, f"Keys behind the program {PROGRAM}{scheme}"[:80])
