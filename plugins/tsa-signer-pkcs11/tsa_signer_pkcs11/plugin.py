"""Registers the PKCS#11 signer."""

from __future__ import annotations

from collections.abc import Iterable

from tsa_core.api import Provider, Signer, hookimpl
from tsa_signer_pkcs11.options import Pkcs11Options


def _open(options: Pkcs11Options) -> Signer:
    from tsa_signer_pkcs11.signer import Pkcs11Signer

    return Pkcs11Signer(options)


def _make_key(options: Pkcs11Options, kind: str) -> str:
    from tsa_signer_pkcs11.making import make_key

    return make_key(options, kind)


@hookimpl
def tsa_signers() -> Iterable[Provider[Signer]]:
    """Register the scheme `pkcs11:`."""
    yield Provider(
        name="pkcs11",
        summary="A key in a PKCS#11 token, such as an HSM",
        options=Pkcs11Options,
        open=_open,
        make_key=_make_key,
    )
