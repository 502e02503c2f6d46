"""Checks the anchors of a trail: that their tokens are good, and that the trail still has what was stamped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tsa_core.api import one_line
from tsa_core.api.trail import (
    ANCHORED,
    NOTHING,
    PRUNED,
    Anchor,
    AnchorDocument,
    BrokenAnchorError,
    Link,
    Trail,
    TrailReport,
    UnsupportedByTrail,
    parse_link,
)
from tsa_core.protocol.encodings import Encoding, PublicFormat
from tsa_core.verify import VerificationError, VerifiedTimestamp, Verifier


@dataclass(kw_only=True)
class AnchorReport:
    """What was found of one anchor: the authorities that stamped it and when, and what is wrong with it."""

    number: int
    fingerprint: str = ""
    previous: str = NOTHING
    heads: Mapping[str, Link] = field(default_factory=dict)
    stamped: dict[str, datetime | None] = field(default_factory=dict)
    """genTime by authority; None where the tokens were not verified, because no roots were given."""
    faults: list[str] = field(default_factory=list)
    pruned: bool = False
    """Whether lines that it covers were pruned, so that its heads cannot be looked for."""

    @property
    def who_and_when(self) -> str:
        """The authorities and times, in words."""
        return ", ".join(f"{url} at {time:%Y-%m-%dT%H:%M:%SZ}" if time else url for url, time in self.stamped.items())


@dataclass(kw_only=True)
class AnchorsReport:
    """What the check of all anchors found. `verified` is false when no roots were given."""

    anchors: list[AnchorReport] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """What is wrong and is no anchor's own: those that are missing, and files that are none."""
    verified: bool = True
    kept: bool = True
    """Whether this trail keeps anchors at all."""

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults and not any(anchor.faults for anchor in self.anchors)

    @property
    def all_faults(self) -> list[str]:
        """Every fault, in words, with the anchor that it is about."""
        own = [
            f"anchor {anchor.number}{f' ({anchor.who_and_when})' if anchor.stamped else ''}: {fault}"
            for anchor in self.anchors
            for fault in anchor.faults
        ]
        return [*self.faults, *own]


def count_authorities(verdicts: Iterable[VerifiedTimestamp]) -> int:
    """Return how many keys made these timestamps.

    The addresses in an anchor are not signed, so that timestamps of one authority can stand there under several.
    """
    return len(
        {
            each.signer_certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            for each in verdicts
        }
    )


def too_few(authorities: int, timestamps: int, threshold: int) -> str:
    """Return the words for an anchor whose timestamps are of too few authorities."""
    if authorities == timestamps:
        return f"{timestamps} of the {threshold} timestamps that it needs are good"
    return f"{timestamps} timestamps are good, of {authorities} of the {threshold} authorities that it needs"


class AnchorCheck:
    """Checks anchors in two steps: their tokens first, and then, when the trail has been read, their heads.

    `verifier` holds the roots of the other authorities; with None tokens are not verified, and the report says so.
    `threshold` is of how many authorities each anchor needs a token.
    """

    def __init__(self, verifier: Verifier | None, *, threshold: int = 1) -> None:
        self._verifier = verifier
        self._threshold = threshold
        self._sink = ""
        self.report = AnchorsReport(verified=verifier is not None)

    def read(self, trail: Trail, anchors: Iterable[Anchor] | None = None) -> set[Link]:
        """Verify the tokens of all anchors, those of the trail unless given; return the heads to look for."""
        self._sink = trail.name
        try:
            for anchor in trail.anchors() if anchors is None else anchors:
                self.report.anchors.append(self._check(anchor))
        except UnsupportedByTrail:
            self.report.kept = False
        except BrokenAnchorError as error:
            self.report.faults.append(f"anchors behind this one were not looked at: {error}")
        self._check_order()
        return {link for anchor in self.report.anchors for link in anchor.heads.values()}

    def _check(self, anchor: Anchor) -> AnchorReport:
        report = AnchorReport(number=anchor.number, fingerprint=anchor.fingerprint)
        try:
            document: AnchorDocument = anchor.read_document()
        except BrokenAnchorError as error:
            report.faults.append(str(error))
            return report
        report.heads, report.previous = document.heads, document.previous
        good: list[VerifiedTimestamp] = []
        for url, reply in anchor.tokens.items():
            if self._verifier is None:
                report.stamped[url] = None
                continue
            try:
                verified = self._verifier.verify_response(reply, artifact=anchor.document)
            except VerificationError as error:
                report.faults.append(f"the timestamp of {url} is not good: {one_line(error)}")
                continue
            report.stamped[url] = verified.tst_info.gen_time
            good.append(verified)
        if self._verifier is not None and (count := count_authorities(good)) < self._threshold:
            report.faults.append(too_few(count, len(good), self._threshold))
        elif not anchor.tokens:
            report.faults.append("it has no timestamp")
        return report

    def _check_order(self) -> None:
        before: AnchorReport | None = None
        for anchor in self.report.anchors:
            expected = 1 if before is None else before.number + 1
            if anchor.number > expected:
                names = str(expected) if anchor.number == expected + 1 else f"{expected} to {anchor.number - 1}"
                self.report.faults.append(f"anchor {names} is missing: {anchor.number} is there")
            elif before is not None and anchor.heads and anchor.previous != before.fingerprint:
                anchor.faults.append(f"it was made behind another anchor {before.number} than the one that is there")
            before = anchor

    def look_into(self, trail: TrailReport) -> AnchorsReport:
        """Say which heads are not in the trail, and which anchors the trail knows of and are not there."""
        found, gone = trail.found, _pruned_numbers(trail)
        for anchor in self.report.anchors:
            for chain, link in anchor.heads.items():
                if link in found:
                    continue
                if link.seq <= gone.get(chain, 0):
                    anchor.pruned = True
                    continue
                whose = f" of {chain}" if chain else ""
                anchor.faults.append(
                    f"line {link.seq}{whose} was there with another hash, or is not there any more: lines were cut off "
                    "or rewritten after it was stamped"
                )
        if self.report.kept:
            self._expect_those_of(trail)
        return self.report

    def _expect_those_of(self, trail: TrailReport) -> None:
        there = {anchor.number: anchor for anchor in self.report.anchors}
        for note in trail.notes:
            number = note.details.get("number", "")
            if note.kind != ANCHORED or note.details.get("sink") != self._sink or not number.isdecimal():
                continue
            anchor = there.get(int(number))
            if anchor is None:
                self.report.faults.append(
                    f"anchor {number}, which the trail says was stored at {note.time}, is missing"
                )
            elif anchor.fingerprint != note.details.get("document"):
                anchor.faults.append(f"the trail says that another document was stamped at {note.time}")


def _pruned_numbers(trail: TrailReport) -> dict[str, int]:
    """Return the number of the last line of each chain that cannot be looked for, because it was pruned."""
    gone: dict[str, int] = {}
    for segment in trail.segments:
        # The line before the first one is known by its hash.
        gone.setdefault(segment.chain, segment.first.seq - 1)
    here = frozenset(gone)
    for note in trail.notes:
        chain, last = note.details.get("chain", ""), parse_link(note.details.get("last", ""))
        if note.kind == PRUNED and last is not None and chain not in here:
            gone[chain] = max(gone.get(chain, 0), last.seq)
    return gone
