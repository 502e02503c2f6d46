"""Anchoring with authorities that are down, slow or lie, by one of several processes, and its settings."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.service.anchored_trail import OtherTsa, anchored, open_trail, run
from tests.serving import running_server
from tsa_core.api import ConfigError, LocalKeySigner, RequestContext, TsaError, UnavailableError
from tsa_core.api.trail import Anchor, Trail
from tsa_core.api.trail.chain import Link
from tsa_core.config import load_settings
from tsa_core.service.anchor_stamps import AnchorStamps, is_due
from tsa_core.service.anchoring import Anchoring
from tsa_core.testing import Pki, encode_request, make_authority, new_key, wait_until
from tsa_core.testing.http_tsa import Answer

pytestmark = pytest.mark.plugin("auditfile")

# -- other authorities that do not do what they should -----------------------------------------------------------------


def down(body: bytes) -> Answer:
    return Answer(status=503, headers={})


def stamp_now(config: Path, **changes: str) -> Anchor:
    text = config.read_text()
    for name, value in changes.items():
        text = text.replace(f'{name} = "20s"', f'{name} = "{value}"')
    config.write_text(text)
    trail = open_trail(config)
    with trail.anchoring() as alone:
        assert alone
        stamped = AnchorStamps(load_settings(config, whole=False).audit).stamp(trail, lambda event: None)
    assert stamped is not None
    return stamped.anchor


def test_two_of_three_are_enough(config: Path, others: list[OtherTsa]) -> None:
    others[0].http.answer = down
    assert list(stamp_now(config).tokens) == [others[1].http.url, others[2].http.url]
    anchored(config)
    others[1].http.answer = down
    with pytest.raises(UnavailableError, match="1 of the 2 timestamps that are needed came"):
        stamp_now(config)
    assert isinstance(run("anchor", "--config", config).exception, UnavailableError)


def test_authorities_that_lie_do_not_count(config: Path, others: list[OtherTsa], tmp_path: Path) -> None:
    signer = LocalKeySigner(new_key("ecdsa-p256"))
    stranger = make_authority(signer, Pki().write_chain(tmp_path / "stranger.pem", signer.public_key))
    replayed = others[1].stamp(encode_request())
    others[0].http.answer = lambda body: Answer(body=stranger.respond(body, RequestContext()).der)
    others[1].http.answer = lambda body: replayed
    with pytest.raises(UnavailableError, match=r"1 of the 2 timestamps that are needed came: .*must not be used"):
        stamp_now(config)
    assert list(open_trail(config).anchors()) == []


def test_authorities_that_are_slow_are_left(config: Path, others: list[OtherTsa]) -> None:
    go = threading.Event()
    try:
        others[2].http.answer = lambda body: Answer(body=b"x", wait=go)
        assert len(stamp_now(config).tokens) == 2
        others[1].http.answer = lambda body: Answer(body=b"x", wait=go)
        with pytest.raises(UnavailableError, match="no complete answer"):
            stamp_now(config, anchor_deadline="1s")
    finally:
        go.set()


# -- the thread of a server --------------------------------------------------------------------------------------------


class WatchedTrail(Trail):
    """A trail that counts how often it was found locked."""

    name = "auditfile"

    def __init__(self, trail: Trail) -> None:
        self._trail = trail
        self.locked = 0

    def segments(self) -> Any:
        return self._trail.segments()

    def heads(self) -> Any:
        return self._trail.heads()

    def anchors(self) -> Any:
        return self._trail.anchors()

    def store_anchor(self, anchor: Anchor) -> None:
        self._trail.store_anchor(anchor)

    def anchoring(self) -> Any:
        @contextmanager
        def watched() -> Iterator[bool]:
            with self._trail.anchoring() as alone:
                self.locked += not alone
                yield alone

        return watched()


def test_one_of_several_processes_anchors_the_trail(config: Path, others: list[OtherTsa]) -> None:
    wanted = 'anchor_threshold = 3\nanchor_interval = "1h"'
    config.write_text(config.read_text().replace("anchor_threshold = 2", wanted))
    settings = load_settings(config, whole=False).audit
    go = threading.Event()
    held = [lambda body, other=other: wait(go, other, body) for other in others]
    for other, answer in zip(others, held, strict=True):
        other.http.answer = answer
    trails = [WatchedTrail(open_trail(config)) for _ in range(3)]
    events: list[object] = []
    anchorings = [Anchoring([trail], settings, events.append) for trail in trails]
    anchorings[0].keep_running()
    wait_until(lambda: all(other.http.received for other in others), seconds=60, what="the first asks")
    for anchoring in anchorings[1:]:
        anchoring.keep_running()
    wait_until(lambda: all(trail.locked for trail in trails[1:]), seconds=60, what="the others find it locked")
    assert [len(other.http.received) for other in others] == [1, 1, 1]
    go.set()
    wait_until(lambda: len(events) == 1, seconds=60, what="the anchor is made")
    for anchoring in anchorings:
        anchoring.close(seconds=60)
    assert [len(other.http.received) for other in others] == [1, 1, 1]
    assert anchorings[0].times.keys() == {"auditfile"}


def wait(go: threading.Event, other: OtherTsa, body: bytes) -> Answer:
    go.wait(60)
    return other.stamp(body)


def test_a_failure_is_counted_logged_and_tried_again(
    config: Path, others: list[OtherTsa], caplog: pytest.LogCaptureFixture
) -> None:
    config.write_text(
        config.read_text().replace("anchor_threshold = 2", 'anchor_interval = "1s"\nanchor_max_age = "2s"')
    )
    for other in others:
        other.http.answer = down
    settings = load_settings(config, whole=False).audit
    anchoring = Anchoring([open_trail(config)], settings, lambda event: None)
    [(name, check)] = anchoring.checks(settings.anchor_max_age)
    assert name == "anchor:auditfile"
    assert check.check().healthy
    anchoring.keep_running()
    wait_until(lambda: not check.check().healthy, seconds=60, what="the last anchor is too old")
    assert check.check().reason == "the audit trail is not anchored: no anchor was ever made; see the log"
    assert anchoring.take_failures()["auditfile"] >= 1
    assert "audit trail auditfile: no anchor: 0 of the 1 timestamps" in caplog.text
    others[1].http.answer = others[1].stamp
    wait_until(lambda: check.check().healthy, seconds=60, what="an anchor is made")
    anchoring.close(seconds=60)


@pytest.mark.parametrize(
    ("age", "due"), [(None, True), (0, False), (599, False), (600, True), (-60, False), (-3600, True)]
)
def test_when_an_anchor_is_due(age: int | None, due: bool) -> None:
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    last = None if age is None else now - timedelta(seconds=age)
    assert is_due(last, timedelta(minutes=10), now) is due


def test_another_server_of_ours_stamps_the_trail(config: Path, tmp_path: Path) -> None:
    with running_server() as server:
        (tmp_path / "roots.pem").write_bytes(server.request("GET", "/api/v1/timestamp/certchain").body)
        config.write_text(
            '[audit]\nsinks = ["auditfile"]\n'
            f'anchor_urls = ["{server.url}"]\nanchor_roots = "roots.pem"\n'
            '[audit.auditfile]\npath = "trail/audit.jsonl"\n'
        )
        anchored(config)
    assert run("verify", "--config", config).exit_code == 0


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('anchor_threshold = 2\nsinks = ["auditfile"]', "anchor_threshold has no effect"),
        ('anchor_urls = ["http://a/"]\nanchor_roots = "r.pem"', "anchor_urls has no effect"),
        ('anchor_urls = ["http://a/"]\nsinks = ["auditfile"]', "anchor_urls needs anchor_roots"),
        (
            'anchor_urls = ["http://a/"]\nanchor_roots = "r.pem"\nsinks = ["auditfile"]\nanchor_threshold = 2',
            "more than the 1",
        ),
        ('anchor_urls = ["http://u:p@a/"]\nanchor_roots = "r.pem"\nsinks = ["auditfile"]', "'a/' in anchor_urls|a/ in"),
        (
            'anchor_urls = ["http://a/"]\nanchor_roots = "r.pem"\nsinks = ["auditfile"]\nanchor_max_age = "1m"',
            "must be more than anchor_interval",
        ),
    ],
    ids=["threshold alone", "no sink", "no roots", "threshold too high", "a password", "age below the interval"],
)
def test_settings_that_do_not_fit_together(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "tsa.toml").write_text(f"[audit]\n{table}\n")
    with pytest.raises(ConfigError, match=message) as caught:
        load_settings(tmp_path / "tsa.toml", whole=False)
    assert "u:p" not in str(caught.value)


def test_roots_that_are_none_are_told(config: Path) -> None:
    (config.parent / "roots.pem").write_text("nothing")
    error = run("anchor", "--config", config).exception
    assert isinstance(error, TsaError)
    assert "audit.anchor_roots" in str(error)


def test_a_configuration_without_authorities_cannot_anchor(config: Path) -> None:
    config.write_text('[audit]\nsinks = ["auditfile"]\n[audit.auditfile]\npath = "trail/audit.jsonl"\n')
    assert isinstance(run("anchor", "--config", config).exception, ConfigError)


def test_a_link_is_written_as_it_is_read() -> None:
    assert str(Link(7, "ab" * 32)) == f"7:{'ab' * 32}"
