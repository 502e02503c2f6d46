"""The audit trail that every sink shares: its lines, their chain, what verifies them, and what anchors them.

Imported by sinks and by `timestamp-server audit`; `tsa_core.api` itself does not load it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tsa_core.lazy_names import lazy_names

if TYPE_CHECKING:
    from tsa_core.api.trail.anchor import MAX_ANCHOR_OCTETS, Anchor, AnchorDocument, BrokenAnchorError
    from tsa_core.api.trail.chain import (
        BEGINNING,
        MAX_LINE_OCTETS,
        NOTHING,
        BrokenChainError,
        Hash,
        Link,
        begin_hash,
        chain_key,
        check_line,
        encode,
        json_string,
        parse_link,
        read_line,
        seal,
        tail_of,
    )
    from tsa_core.api.trail.members import TokenMembers, event_members, identity_members, refusal_members, utc_text
    from tsa_core.api.trail.search import REFUSAL, TOKEN, Query, time_of
    from tsa_core.api.trail.segment import ACCEPTED, ANCHORED, PRUNED, Note, Segment, SegmentReport, check_segment
    from tsa_core.api.trail.trail import Trail, TrailLine, UnreadableLine, UnsupportedByTrail
    from tsa_core.api.trail.verification import TrailReport, check_trail
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "tsa_core.api.trail.anchor": "MAX_ANCHOR_OCTETS Anchor AnchorDocument BrokenAnchorError",
            "tsa_core.api.trail.chain": (
                "BEGINNING MAX_LINE_OCTETS NOTHING BrokenChainError Hash Link begin_hash chain_key check_line "
                "encode json_string parse_link read_line seal tail_of"
            ),
            "tsa_core.api.trail.members": "TokenMembers event_members identity_members refusal_members utc_text",
            "tsa_core.api.trail.search": "REFUSAL TOKEN Query time_of",
            "tsa_core.api.trail.segment": "ACCEPTED ANCHORED PRUNED Note Segment SegmentReport check_segment",
            "tsa_core.api.trail.trail": "Trail TrailLine UnreadableLine UnsupportedByTrail",
            "tsa_core.api.trail.verification": "TrailReport check_trail",
        },
    )


__all__ = [
    "ACCEPTED",
    "ANCHORED",
    "BEGINNING",
    "MAX_ANCHOR_OCTETS",
    "MAX_LINE_OCTETS",
    "NOTHING",
    "PRUNED",
    "REFUSAL",
    "TOKEN",
    "Anchor",
    "AnchorDocument",
    "BrokenAnchorError",
    "BrokenChainError",
    "Hash",
    "Link",
    "Note",
    "Query",
    "Segment",
    "SegmentReport",
    "TokenMembers",
    "Trail",
    "TrailLine",
    "TrailReport",
    "UnreadableLine",
    "UnsupportedByTrail",
    "begin_hash",
    "chain_key",
    "check_line",
    "check_segment",
    "check_trail",
    "encode",
    "event_members",
    "identity_members",
    "json_string",
    "parse_link",
    "read_line",
    "refusal_members",
    "seal",
    "tail_of",
    "time_of",
    "utc_text",
]
