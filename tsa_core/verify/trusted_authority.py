"""A timestamp authority that is trusted as a whole, for some time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509

from tsa_core.paths.certificate import PathCertificate, text
from tsa_core.values import Value


def check_window(*times: datetime | None) -> None:
    """Raise TypeError unless the ends of a window of trust, where there are any, are aware."""
    if any(time is not None and time.tzinfo is None for time in times):
        raise TypeError("the window of a trust anchor must have aware datetimes")


class TrustedAuthority(Value):
    """A timestamp authority that is trusted as a whole: `signer` under `root`, and nobody else under that root.

    Without a `signer`, whoever has a path to the root. `trusted_from` and `trusted_until` are aware and belong to
    the window; None is without a limit.
    """

    root: x509.Certificate
    signer: x509.Certificate | None = None
    intermediates: tuple[x509.Certificate, ...] = ()
    trusted_from: datetime | None = None
    trusted_until: datetime | None = None

    def __post_init__(self) -> None:
        check_window(self.trusted_from, self.trusted_until)

    def why_not(self, path: Sequence[PathCertificate], time: datetime) -> str | None:
        """Say why this authority does not vouch for a path at `time`; None when it does, empty when it is another."""
        if path[-1].certificate != self.root or (self.signer is not None and path[0].certificate != self.signer):
            return ""
        if self.trusted_from is not None and time < self.trusted_from:
            return f"{path[0].name} is trusted from {text(self.trusted_from)}, which is after {text(time)}"
        if self.trusted_until is not None and time > self.trusted_until:
            return f"{path[0].name} is trusted until {text(self.trusted_until)}, which is before {text(time)}"
        return None
