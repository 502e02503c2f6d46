"""Why a COSE message was not read."""

from __future__ import annotations

from tsa_core.protocol.errors import TsaError


class CoseError(TsaError):
    """The bytes are no COSE_Sign1 and no COSE_Sign, or break a rule of RFC 9052 or RFC 9921."""


class ExtraMissing(TsaError):
    """A package is not installed that an extra of tsa-core brings."""

    def __init__(self, *, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package}, which is not installed; the extra brings it: tsa-core[{extra}]"
        )
        self.package = package
        self.extra = extra
