"""What a check of revocation found out about each certificate, for verdicts to print."""

from __future__ import annotations

import enum
from datetime import datetime

from cryptography import x509

from tsa_core.values import Value


class RevocationStatus(enum.Enum):
    """What the evidence says of one certificate."""

    GOOD = "good"
    REVOKED_LATER = "revoked later"
    """Revoked after the moment in question, for a reason that leaves earlier signatures good."""
    NOT_CHECKED = "not checked"
    """Nothing that counts speaks of it, and nothing had to."""


class RevocationEvidence(Value):
    """One CRL or OCSP response that decided about a certificate.

    `kind` is "CRL", "delta CRL" or "OCSP response"; `source` is the name of the file, the URL, or "the token",
    empty when it was given without a name. Times are aware; `next_update` is None when none is stated.
    """

    kind: str
    source: str
    this_update: datetime
    next_update: datetime | None


class RevocationFinding(Value):
    """What is known about the revocation of one certificate of a path.

    `evidence` is what covered the certificate, empty when it was not checked. `detail` is empty for a good
    certificate; otherwise it says in one line why it was not checked, or when and why it was revoked.
    """

    certificate: x509.Certificate
    status: RevocationStatus
    evidence: tuple[RevocationEvidence, ...] = ()
    detail: str = ""
