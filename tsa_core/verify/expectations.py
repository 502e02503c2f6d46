"""What a caller expects of a timestamp: the keyword arguments of every call that verifies, each written once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypedDict, cast

from cryptography import x509

from tsa_core.verify.statement import Octets
from tsa_core.verify.tolerances import AlgorithmPeriod

if TYPE_CHECKING:
    from tsa_core.paths.revocation import Revocation
    from tsa_core.protocol.request import TimeStampReq


class Subject(TypedDict, total=False):
    """What one timestamp must be about; each argument may be left out or None.

    At least one of `artifact`, `digest` and `request` says it; all that are given must agree with the token.
    `artifact`, `request` and each of `proofs` is a path (`str` or `os.PathLike`), bytes, or a file open for reading
    bytes; `digest` is bytes.
    `digest_algorithm` names the digest's hash, which is the token's unless given. With `request`, policy and
    nonce must be what it asked for, and a nonce must be absent if it sent none. The path must be valid at
    genTime, and where `time`, aware, is given, at that moment too: genTime must not be after it. `proofs` are later
    timestamps, each a TimeStampResp or a TimeStampToken: the first over this timestamp, the second over the first, and
    so on. They prove that an algorithm that is weak today was strong when the timestamp already existed (rule V20), and
    need `algorithm_periods`.
    `existed`, aware, takes their place where something else proves by when the timestamp existed: an evidence record.
    """

    artifact: Octets | None
    digest: bytes | None
    digest_algorithm: str | None
    request: Octets | TimeStampReq | None
    nonce: int | None
    policy: str | None
    time: datetime | None
    proofs: Sequence[Octets]
    existed: datetime | None


class Acceptance(TypedDict, total=False):
    """Whose timestamps are accepted, beyond what the trusted roots say (rules V9, V10, V15 and V20).

    `policies` are dotted identifiers of which the token's must be one, None for any; `common_name` is the signer's,
    compared exactly; `tsa_certificate`, or a path, bytes or file that holds it, is the only one accepted as the
    signer's; `revocation` holds the CRLs and OCSP responses that must cover it. `allow` are names of ALLOWANCES: what
    is accepted although a rule refuses it, and then stands in the verdict's notes. `algorithm_periods`, DEFAULT_PERIODS
    for example, accept a weak algorithm by date; without them, no date helps.
    """

    tsa_certificate: x509.Certificate | Octets | None
    policies: Iterable[str] | None
    common_name: str | None
    revocation: Revocation | None
    allow: Iterable[str]
    algorithm_periods: Iterable[AlgorithmPeriod]


class Expectations(Subject, Acceptance, total=False):
    """Both, for a call that verifies one timestamp."""


SUBJECT: Final = Subject.__optional_keys__
ACCEPTANCE: Final = Acceptance.__optional_keys__


def check_names(arguments: Iterable[str], known: frozenset[str], call: str) -> None:
    """Raise TypeError for a keyword that `call` does not have, as Python does for a parameter list."""
    if known.issuperset(arguments):
        return
    for name in arguments:
        if name not in known:
            raise TypeError(f"{call}() got an unexpected keyword argument {name!r}")


def separate(expectations: Expectations, call: str) -> tuple[Subject, Acceptance]:
    """Return the arguments of one verification and those of its Verifier."""
    check_names(expectations, SUBJECT | ACCEPTANCE, call)
    subject = {name: value for name, value in expectations.items() if name in SUBJECT}
    acceptance = {name: value for name, value in expectations.items() if name in ACCEPTANCE}
    return cast("Subject", subject), cast("Acceptance", acceptance)
