"""TrailContract: what `timestamp-server audit` and anchoring demand of a sink whose records can be read back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tsa_core.api import AuditEvent, AuditRecord, AuditSink, Identity, PluginOptions, Provider
from tsa_core.api.trail import (
    Anchor,
    AnchorDocument,
    BrokenAnchorError,
    Link,
    Query,
    Trail,
    TrailLine,
    UnsupportedByTrail,
    check_trail,
)
from tsa_core.testing.plugin_contract import PluginFixtures
from tsa_core.testing.samples import sample_record

_RECORDS = 5
_TENANT = "acme"


class TrailContract(PluginFixtures):
    """Subclass it as TestTrail; override `plugin`, `options`, `change_a_byte` and `remove_the_last_line`.

    `options` must let the sink record digests.
    """

    @pytest.fixture
    def sink(self, provider: Provider[AuditSink], validated_options: PluginOptions) -> Iterator[AuditSink]:
        """Return the opened sink."""
        sink = provider.open(validated_options)
        yield sink
        sink.close()

    @pytest.fixture
    def written(self, sink: AuditSink) -> AuditSink:
        """Return the sink after it has stored five tokens of a tenant, and an event."""
        sink.write_all([self.record(number) for number in range(1, _RECORDS + 1)])
        sink.event(AuditEvent(kind="clock.state", time=datetime.now(UTC), details={"state": "free-running"}))
        return sink

    @pytest.fixture
    def trail(
        self,
        provider: Provider[AuditSink],
        validated_options: PluginOptions,
        written: AuditSink,  # noqa: ARG002 - opened before it
    ) -> Iterator[Trail]:
        """Return the trail of what was written, while the sink is open."""
        assert provider.open_trail is not None, "give the Provider open_trail=..., which returns a Trail"
        trail = provider.open_trail(validated_options)
        assert isinstance(trail, Trail), f"open_trail returned {type(trail).__name__}, not a Trail"
        yield trail
        trail.close()

    @pytest.fixture
    def change_a_byte(self) -> Callable[[], None]:
        """Return a function that changes one byte of a record of a token in the store; override it."""
        pytest.fail(f"{type(self).__name__} must override the fixture `change_a_byte`", pytrace=False)

    @pytest.fixture
    def remove_the_last_line(self) -> Callable[[], None]:
        """Return a function that removes the last line of the trail from the store; override it."""
        pytest.fail(f"{type(self).__name__} must override the fixture `remove_the_last_line`", pytrace=False)

    def record(self, number: int) -> AuditRecord:
        """Return a record of the tenant, a minute later for each number."""
        record = sample_record(number)
        return replace(
            record,
            identity=Identity(name="press", tenant=_TENANT, how="api-key"),
            gen_time=record.gen_time + timedelta(minutes=number),
        )

    def test_trail_is_what_was_written(self, trail: Trail) -> None:
        report = check_trail(trail)
        assert report.intact, [each.damage for each in report.segments] + report.faults
        assert sum(each.tokens for each in report.segments) == _RECORDS

    def test_trail_is_read_beside_writes(self, trail: Trail, written: AuditSink) -> None:
        written.write(self.record(_RECORDS + 1))
        assert sum(each.tokens for each in check_trail(trail).segments) == _RECORDS + 1

    def test_heads_are_lines_of_the_trail(self, trail: Trail, written: AuditSink) -> None:
        heads = trail.heads()
        assert heads, "heads() must name the last line of each chain"
        assert not check_trail(trail, marks=list(heads.values())).missing
        if (told := written.head()) is not None:
            assert told in map(str, heads.values()), "head() of the sink and heads() of the trail differ"

    def test_a_changed_byte_is_found(self, trail: Trail, change_a_byte: Callable[[], None]) -> None:
        change_a_byte()
        assert any(each.damage for each in check_trail(trail).segments), "the change was not found"

    def test_a_removed_end_is_found_by_the_head(self, trail: Trail, remove_the_last_line: Callable[[], None]) -> None:
        heads: list[Link] = list(trail.heads().values())
        remove_the_last_line()
        assert check_trail(trail, marks=heads).missing, "the line that was removed is still there"

    @pytest.mark.parametrize(
        ("query", "numbers"),
        [
            (Query(serial_number=3), [3]),
            (Query(digest=sample_record(4).digest), [4]),
            (Query(tenant=_TENANT, types=frozenset({"token"})), [1, 2, 3, 4, 5]),
            (Query(tenant="another"), []),
            (
                Query(
                    since=sample_record().gen_time + timedelta(minutes=2),
                    until=sample_record().gen_time + timedelta(minutes=4),
                    types=frozenset({"token"}),
                ),
                [2, 3],
            ),
        ],
        ids=["serial", "digest", "tenant", "another tenant", "between"],
    )
    def test_tokens_are_found(self, trail: Trail, query: Query, numbers: list[int]) -> None:
        found = [each for each in trail.find(query) if isinstance(each, TrailLine)]
        assert sorted(int(each.fields["serial"], 16) for each in found) == numbers
        assert all(query.matches(each.fields) for each in found)

    def test_anchors_are_kept(self, trail: Trail) -> None:
        try:
            assert list(trail.anchors()) == []
        except UnsupportedByTrail:
            return
        assert trail.last_anchor() is None
        documents = [AnchorDocument(number=number, heads=trail.heads()).encode() for number in (1, 2)]
        anchors = [
            Anchor(number=number, document=document, tokens={"https://tsa.example.org": b"0\x00"})
            for number, document in enumerate(documents, 1)
        ]
        with trail.anchoring() as alone:
            assert alone, "nobody else anchors this trail"
            for anchor in anchors:
                trail.store_anchor(anchor)
        assert list(trail.anchors()) == anchors, "anchors() must yield what store_anchor() stored, by number"
        assert trail.last_anchor() == anchors[-1]
        assert anchors[0].read_document().heads == trail.heads()
        with pytest.raises(BrokenAnchorError):
            replace(anchors[0], number=3).read_document()
