"""What a caller may allow beyond the rules, and until when weak algorithms were strong (rules V15 and V20).

Both are names: `sha1` allowed is SHA-1 accepted for everything that a token and its certificates use it for. By
date, a weak algorithm is accepted when a later timestamp proves that the token existed before the algorithm's end.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from tsa_core.paths.algorithms import SHA1_UNTIL, AlgorithmRules
from tsa_core.protocol.signatures import MIN_RSA_BITS
from tsa_core.values import Value

SHA1: Final = "sha1"
MD5: Final = "md5"
RSA1024: Final = "rsa1024"
NONCRITICAL_EKU: Final = "noncritical-eku"
TSA_NAME: Final = "tsa-name"

ALLOWANCES: Final = {
    SHA1: "SHA-1 in the imprint, the token's signature and the certificates' (rule V15)",
    MD5: "MD5, likewise (rule V15)",
    RSA1024: f"RSA keys from 1024 to {MIN_RSA_BITS - 1} bits (rule V15)",
    NONCRITICAL_EKU: "a signer whose extended key usage is not critical (rule V7)",
    TSA_NAME: "a TSTInfo.tsa that is no name of the signer (rule V16)",
}
"""Every name that may be allowed, and what it means."""


class AlgorithmPeriod(Value):
    """Until when an algorithm was strong enough for signatures; `source` says who says so."""

    algorithm: str
    until: datetime
    source: str


DEFAULT_PERIODS: Final = (
    AlgorithmPeriod(
        algorithm=SHA1,
        until=SHA1_UNTIL,
        source="ETSI TS 119 312 V2.1.1 (2026-06), Table D.1: SHA-1 only before 2012-08-01",
    ),
    AlgorithmPeriod(
        algorithm=RSA1024,
        until=datetime(2013, 12, 31, 23, 59, 59, tzinfo=UTC),
        source="NIST SP 800-131A (January 2011), Table 2: RSA under 2048 bits disallowed for signing after 2013",
    ),
)
"""When algorithms that this verifier refuses ended: the earlier of the ends that ETSI and NIST give.

Annex D of ETSI TS 119 312 V2.1.1 is made for this: constraints by which to validate what was signed in the past, where
there is a proof that it existed. NIST ended SHA-1 later, after 2013 (also in RFC 6194); ETSI ends RSA of 1024 and 1536
bits later, before 2019-10-01 (Table D.2). MD5 has no entry: collisions were shown in 2004, and neither recommends it.
"""


@lru_cache(maxsize=64)
def algorithm_rules(names: frozenset[str]) -> AlgorithmRules:
    """Return the rules under which these algorithms are accepted beside the strong ones."""
    return AlgorithmRules(
        weak_hashes=names & {SHA1, MD5},
        min_rsa_bits=1024 if RSA1024 in names else MIN_RSA_BITS,
    )


def check_allowances(names: Iterable[str]) -> frozenset[str]:
    """Return the names; raises ValueError for one that does not exist."""
    given = frozenset(names)
    for name in sorted(given - ALLOWANCES.keys()):
        raise ValueError(f"nothing is called {name!r} that could be allowed; there are {', '.join(ALLOWANCES)}")
    return given
