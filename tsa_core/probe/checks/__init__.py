"""Every check of a probe, in one table: what is judged, by which rule, how badly a failure counts."""

from typing import Final

from tsa_core.probe.check import Check, registered
from tsa_core.probe.checks import certificates, clocks, exchanges, grants, refusals, signatures, statements

CHECKS: Final[tuple[Check, ...]] = registered()
"""All checks, area by area."""

UNSEEN_RULES: Final = {
    "S3": "there is no such rule",
    "S7": "whether a requester can be identified shows only to who compares the tokens of two requesters",
    "S23": "only a token made at midnight would show it",
    "S30": "a signer or an audit sink that is down cannot be brought about from outside",
}
"""The rules of a server that nobody sees from outside, and why."""

__all__ = [
    "CHECKS",
    "UNSEEN_RULES",
    "certificates",
    "clocks",
    "exchanges",
    "grants",
    "refusals",
    "signatures",
    "statements",
]
