"""What must hold whatever failed, found out from what clients received and what the trail has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.replicas.clients import CLOSED, TOKEN, Answer, kinds, longest_pause
from bench.replicas.cluster import Cluster
from bench.replicas.trails import Recorded
from tsa_core.verify import TrustStore, VerificationError, Verifier

EXPECTED = frozenset({TOKEN, "systemFailure", "timeNotAvailable", "HTTP 429", "HTTP 502", "HTTP 503", CLOSED})
"""What clients may see. timeNotAvailable is what RFC 3161 has for a clock that cannot be trusted. HAProxy closes the
connection in place of a 502 when it is not the connection's first request, and the server was killed with the request
unread (RST): so that the client asks again, as RFC 9112 9.3.1 describes."""
_MARGIN = 0.05
_VERIFIED = 300
"""So many tokens are verified whole, evenly taken from all."""


@dataclass(kw_only=True)
class Found:
    """The figures of one drill; `broken` says which invariants do not hold, and is empty when all do."""

    saw: dict[str, int]
    tokens: int
    recorded: int
    not_in_the_trail: int
    twice: int
    known: int
    """How many records `audit find` has for the last token."""
    wrong_time: int
    invalid: int
    quota: int
    """Tokens of the tenant that has used up its quota."""
    allowed: int
    trail: str
    pause: float
    """The longest time without a token for anybody, in seconds."""
    slowest: float
    """The longest that one client waited for an answer, in seconds."""
    healed: float = 0.0
    broken: list[str] = field(default_factory=list)


def examine(cluster: Cluster, *, began: float, quota_holds: bool = True, loses: bool = False) -> Found:
    """Compare, once the clients have stopped; `began` is when the fault did, by the monotonic clock.

    With `loses` records must have been lost, or the drill shows nothing.
    """
    steady, metered = cluster.steady.answers, cluster.metered.answers
    answers = [*steady, *metered]
    granted = [answer for answer in answers if answer.kind == TOKEN]
    received = [
        Recorded(f"{answer.tst_info.serial_number:x}", answer.tst_info.hashed_message.hex()) for answer in granted
    ]
    recorded = cluster.trail.tokens(cluster.configs)
    serials = Counter(token.serial for token in recorded), Counter(token.serial for token in received)
    found = Found(
        saw=dict(kinds(answers)),
        tokens=len(granted),
        recorded=len(recorded),
        not_in_the_trail=len(set(received) - set(recorded)),
        twice=sum(count > 1 for each in serials for count in each.values()),
        known=cluster.trail.find(cluster.configs, received[-1]),
        wrong_time=sum(_wrong_time(answer) for answer in granted),
        invalid=_invalid(cluster, granted),
        quota=sum(answer.kind == TOKEN for answer in metered),
        allowed=cluster.plan.quota,
        trail=cluster.trail.verify(cluster.configs),
        pause=longest_pause(steady, began),
        slowest=max(answer.received - answer.sent for answer in answers),
    )
    # What was counted and then failed took its part of the quota without a token.
    failed = sum(answer.kind not in {TOKEN, "HTTP 429"} for answer in metered)
    found.broken = [
        *([f"{found.not_in_the_trail} tokens are not in the trail"] if found.not_in_the_trail and not loses else []),
        *(["no record was lost"] if loses and not found.not_in_the_trail else []),
        *([f"`audit find` finds the last token {found.known} times"] if found.known != 1 else []),
        *([f"{found.twice} serial numbers twice"] if found.twice else []),
        *([f"{found.wrong_time} tokens with a wrong time"] if found.wrong_time else []),
        *([f"{found.invalid} tokens do not verify"] if found.invalid else []),
        *([f"the trail: {found.trail}"] if found.trail != "intact" else []),
        *([f"clients saw {', '.join(sorted(odd))}"] if (odd := set(found.saw) - EXPECTED) else []),
    ]
    least, most = found.allowed * (1 - _MARGIN) - failed, found.allowed * (1 + _MARGIN)
    if quota_holds and not least <= found.quota <= most:
        found.broken.append(f"{found.quota} tokens for a quota of {found.allowed}, {failed} requests failed")
    return found


def _wrong_time(answer: Answer) -> bool:
    """Say whether the token's time is not, within its accuracy, between request and reply."""
    stated = answer.tst_info
    assert stated.earliest is not None
    assert stated.latest is not None
    return stated.latest.timestamp() < answer.wall_sent or stated.earliest.timestamp() > answer.wall_received


def _invalid(cluster: Cluster, granted: Sequence[Answer]) -> int:
    chain = cluster.identity.chain
    verifier = Verifier(TrustStore(roots=chain[-1:], certificates=chain[1:-1]), tsa_certificate=chain[0])
    bad = 0
    for answer in granted[:: max(1, len(granted) // _VERIFIED)]:
        try:
            verifier.verify_response(answer.body, request=answer.request)
        except VerificationError:
            bad += 1
    return bad
