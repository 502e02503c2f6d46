"""Registers the PKCS#11 signer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from tsa_core.api import ConfigPath, Provider, Secret, Signer, SignerOptions, hookimpl


class Pkcs11Options(SignerOptions):
    """`[signer.pkcs11]`."""

    module: ConfigPath | None = Field(
        None, description="the vendor's PKCS#11 library, a .so file, unless the key URI says it with module-path="
    )
    pin: Secret | None = Field(
        None,
        description='user PIN of the token; { env = "NAME" } or { file = "PATH" } keep it out of the configuration',
    )
    sessions: int = Field(
        16,
        ge=1,
        le=1024,
        description="sessions open at once, which bounds the signatures in progress; keep it below [server] threads "
        "and within what the token allows",
    )
    latency: Literal["remote", "local"] = Field(
        "remote",
        description="remote: requests run in threads, right for every device; local: on the I/O thread, for a module "
        "that answers in microseconds, such as SoftHSM",
    )


def _open(options: Pkcs11Options) -> Signer:
    from tsa_signer_pkcs11.signer import Pkcs11Signer

    return Pkcs11Signer(options)


@hookimpl
def tsa_signers() -> Iterable[Provider[Signer]]:
    """Register the scheme `pkcs11:`."""
    yield Provider(name="pkcs11", summary="A key in a PKCS#11 token, such as an HSM", options=Pkcs11Options, open=_open)
