"""A store that fails: the reason is clear, in time, and when it is mended everything goes on by itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from tsa_backends.http_relay import HttpRelay
from tsa_core.api import AuditError, ConfigError
from tsa_core.api.transparency import entry_of
from tsa_core.testing import ends_within, sample_record, wait_until
from tsa_log.command import log as log_command
from tsa_log.objects import StoreError
from tsa_log.options import LogRoutesOptions
from tsa_log.routes import LogRoutes
from tsa_log.sink import LogSink, open_sink
from tsa_log.trial import try_sink

from .buckets import Place, writes_of
from .logs import LOG_KEY, ORIGIN, options


def entries_of_records(*numbers: int) -> set[bytes]:
    return {entry_of(sample_record(number).response).encode() for number in numbers}


@pytest.fixture
def opened(place: Place, tmp_path: Path) -> Iterator[Callable[..., LogSink]]:
    """Open sinks, in directories of their own."""
    sinks: list[LogSink] = []

    def one(name: str = "log", **more: object) -> LogSink:
        sinks.append(open_sink(place.options(tmp_path / name, **more)))
        return sinks[-1]

    yield one
    place.relay.mend()
    for sink in sinks:
        sink.close()


def s3_error(code: str, message: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


def gcs_error(status: int, message: str) -> bytes:
    return f'{{"error": {{"code": {status}, "message": "{message}"}}}}'.encode()


Refusal = tuple[int, bytes, str]
REFUSALS: dict[str, list[Refusal]] = {
    "s3": [
        (403, s3_error("InvalidAccessKeyId", "The Access Key Id does not exist."), "is the access key id right"),
        (403, s3_error("AccessDenied", "Access Denied"), "the identity needs s3:"),
        (400, s3_error("ExpiredToken", "The provided token has expired."), "the credentials have ended"),
        (404, s3_error("NoSuchBucket", "The specified bucket does not exist"), "make the bucket"),
        (503, s3_error("SlowDown", "Please reduce your request rate."), "a longer interval"),
        (500, b"<html>no XML</html>", "tried "),
    ],
    "gcs": [
        (403, gcs_error(403, "no access"), "needs roles/storage.objectUser"),
        (404, gcs_error(404, "The specified bucket does not exist."), "make it, or set the right one"),
        (429, gcs_error(429, "rate limit"), "one write a second"),
        (503, b"busy", "tried "),
    ],
}


def says(sink: LogSink, reason: str) -> bool:
    return reason in (sink.health().reason or "")


@pytest.mark.parametrize("store", REFUSALS)
def test_a_refusal_says_what_to_do_and_passes(request: pytest.FixtureRequest, store: str, tmp_path: Path) -> None:
    place: Place = request.getfixturevalue(store)
    made = place.options(tmp_path, storage_timeout="1s", max_delay="1ms")
    sink = open_sink(made)
    for number, (status, body, reason) in enumerate(REFUSALS[store]):
        place.relay.answer(status, body)
        sink.write(sample_record(2 * number))
        wait_until(partial(says, sink, reason), seconds=60, what="health says why")
        with pytest.raises(AuditError, match=reason):
            sink.write(sample_record(2 * number + 1))
        place.relay.mend()
        wait_until(lambda: sink.health().healthy, seconds=60, what="the log goes on")
    place.relay.answer(status, body)
    with pytest.raises(ConfigError, match=f"{reason}|no answer within 1 s"):  # which, is a matter of speed
        try_sink(made)
    place.relay.mend()
    sink.close()
    assert set(place.entries()) == entries_of_records(*range(0, 2 * len(REFUSALS[store]), 2))


def test_credentials_of_google_that_cannot_be_renewed_are_named(gcs: Place) -> None:
    gcs.relay.answer(401, gcs_error(401, "Invalid Credentials"), matches=writes_of("tile"))
    storage = gcs.open()
    with pytest.raises(StoreError, match="no access token: Anonymous credentials cannot be refreshed"):
        storage.write("tile/0/000.p/1", b"1")
    storage.close()


FAULTS: dict[str, Callable[[HttpRelay], object]] = {
    "hangs": lambda relay: [relay.hold() for _ in range(4)],
    "drips": lambda relay: relay.drip(),
    "fails": lambda relay: relay.answer(502),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_store_that_does_not_answer_is_left_in_time(place: Place, fault: str) -> None:
    FAULTS[fault](place.relay)
    storage = place.open(seconds=0.8)
    with ends_within(30), pytest.raises(StoreError, match=r"no answer within 0\.8 s|tried \d+ times in 0\.\d s"):
        storage.write("tile/0/000.p/1", b"1")
    place.relay.mend()
    healed = place.open()
    healed.write("tile/0/000.p/1", b"1")
    assert place.fetch("tile/0/000.p/1") == b"1"
    healed.close()
    storage.close()


def test_a_little_throttling_is_waited_for(place: Place) -> None:
    status, body = (503, s3_error("SlowDown", "slow")) if place.scheme == "s3" else (429, gcs_error(429, "slow"))
    tile = "tile/0/000.p/1"
    place.relay.answer(status, body, matches=writes_of(tile), times=3)
    storage = place.open()
    storage.write(tile, b"1")
    assert sum(map(writes_of(tile), place.relay.requests)) == 4
    storage.close()


def test_a_second_server_gets_no_token_out(place: Place, opened: Callable[..., LogSink]) -> None:
    first = opened("first")
    first.write(sample_record(1))
    wait_until(lambda: set(place.entries()) == entries_of_records(1), seconds=60, what="it is published")
    second = opened("second", required=False)
    wait_until(lambda: not second.health().healthy, seconds=60, what="the other one knows")
    reason = second.health().reason or ""
    assert place.writer()["host"] in reason
    assert place.writer()["writer"] in reason
    with pytest.raises(AuditError, match="is written by"):
        second.write(sample_record(2))
    first.write(sample_record(3))
    wait_until(lambda: set(place.entries()) == entries_of_records(1, 3), seconds=60, what="the first one goes on")
    assert first.health().healthy


def test_check_sees_who_writes_a_log(place: Place, opened: Callable[..., LogSink], tmp_path: Path) -> None:
    try_sink(place.options(tmp_path / "log")).close()
    sink = opened("log")
    sink.write(sample_record(1))
    wait_until(lambda: len(place.entries()) == 1, seconds=60, what="it is published")
    try_sink(place.options(tmp_path / "log")).close()
    place.relay.answer(500, matches=writes_of("tile/"))  # the next step is claimed, and cannot be made to its end
    sink.write(sample_record(2))
    wait_until(lambda: place.writer()["after"]["size"] == 2, seconds=60, what="a step is claimed")
    try_sink(place.options(tmp_path / "log")).close()
    with pytest.raises(ConfigError, match="is written by"):
        try_sink(place.options(tmp_path / "other"))
    with pytest.raises(ConfigError, match="in a bucket, which serves them itself"):
        LogRoutes(LogRoutesOptions.model_validate({"origin": ORIGIN, "directory": str(tmp_path / "log")}))


def take_over(place: Place, directory: Path, *more: str) -> str:
    key = place.settings.get("s3", {}).get("endpoint_url") or place.settings["gcs"]["endpoint"]
    arguments = ["--origin", ORIGIN, "--directory", str(directory), "--storage", place.url, "--endpoint", key, *more]
    outcome = CliRunner().invoke(log_command, ["take-over", "--log-key", str(LOG_KEY.key), *arguments])
    return f"{outcome.exit_code} {outcome.output}{outcome.exception or ''}"


def test_a_log_goes_on_elsewhere_when_its_machine_is_lost(
    place: Place, opened: Callable[..., LogSink], tmp_path: Path
) -> None:
    first = opened("first")
    first.write_all([sample_record(number) for number in range(1, 31)])
    wait_until(lambda: len(place.entries()) == 30, seconds=60, what="it is published")
    first.close()

    assert "0 log.example/tsa goes on here behind entry 30" in take_over(place, tmp_path / "second")
    assert "this directory has a log of 30 entries" in take_over(place, tmp_path / "second")
    second = opened("second")
    second.write(sample_record(41))
    wait_until(lambda: set(place.entries()) == entries_of_records(*range(1, 31), 41), seconds=60, what="it goes on")
    assert second.health().healthy

    back = opened("first")
    wait_until(lambda: "is written by" in (back.health().reason or ""), seconds=60, what="the first one is told")


@pytest.mark.parametrize(
    ("store", "module", "extra"), [("s3", "boto3.session", "s3"), ("gcs", "google.cloud.storage", "gcs")]
)
def test_an_sdk_that_is_missing_is_named(
    store: str, module: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = {"s3": "s3://some-bucket/log", "gcs": "gs://some-bucket/log"}[store]
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"tsa_log.{store}", raising=False)
    with pytest.raises(ConfigError, match=rf"tsa-log\[{extra}\]|plugins/tsa-log\[{extra}\]") as caught:
        open_sink(options(tmp_path, storage=url))
    assert caught.value.path == "audit.tokenlog.storage"
