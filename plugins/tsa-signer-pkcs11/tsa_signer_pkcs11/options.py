"""The settings of `[signer.pkcs11]`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tsa_core.api import ConfigPath, Secret, SignerOptions


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
