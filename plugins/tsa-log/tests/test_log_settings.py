"""Settings that would have no effect, or contradict one another, are refused."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tsa_core.api import ConfigError, ProfileSummary
from tsa_log.sink import open_sink
from tsa_log.trial import try_sink

from .logs import LOG_KEY, WITNESS_KEY, options

WITNESS = {"url": "http://127.0.0.1:9/witness", "key": str(WITNESS_KEY.key)}
ENGINE = {"url": "http://127.0.0.1:9", "log_key": str(LOG_KEY.key)}
BUCKET = "s3://some-bucket/log"
PROFILES = [ProfileSummary(name="default", policies=("1.2.3",))]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"wait_timeout": "1s"}, "wait_timeout has no effect without wait"),
        ({"witness_timeout": "1s"}, "witness_timeout has no effect without witnesses"),
        ({"required": False, "max_delay": "1m"}, "max_delay has no effect without required"),
        ({"wait": {"default": "witnessed"}}, "needs witnesses"),
        ({"witnesses": [WITNESS]}, "say with witness_threshold"),
        ({"witness_threshold": 1}, "there are 0 witnesses"),
        ({"witnesses": [WITNESS, WITNESS], "witness_threshold": 1}, "listed twice"),
        ({"witnesses": [{**WITNESS, "key": "x"}], "witness_threshold": 1}, "a key is written"),
        ({"origin": "https://log.example"}, "without scheme"),
        ({"key": None}, "key is missing"),
        ({"backend": "tessera", "key": None}, "belong together"),
        ({"tessera": ENGINE}, "belong together"),
        ({"backend": "tessera", "tessera": ENGINE}, "key has no effect with backend"),
        ({"backend": "tessera", "tessera": ENGINE, "key": None, "origin": "log.example/b"}, "they must be the same"),
        ({"backend": "tessera", "tessera": {**ENGINE, "url": "ftp://a"}, "key": None}, "write https://HOST/PATH"),
        ({"backend": "tessera", "tessera": {**ENGINE, "connections": 0}, "key": None}, "greater than or equal to 1"),
        ({"witnesses": [{"key": WITNESS["key"]}], "witness_threshold": 1}, "only an engine asks witnesses"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else None,
)
def test_a_setting_without_effect_is_an_error(tmp_path: Path, table: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        options(tmp_path, **table)


@pytest.mark.parametrize("opened_by", [open_sink, try_sink], ids=["serve", "check"])
def test_a_profile_that_waits_must_exist(tmp_path: Path, opened_by: Any) -> None:
    sink = opened_by(options(tmp_path, wait={"defualt": "integrated"}))
    with pytest.raises(ConfigError, match="there is no profile 'defualt'; there are: default"):
        sink.bind(PROFILES, timedelta(seconds=5))
    sink.close()


def test_a_token_must_not_wait_longer_than_the_core(tmp_path: Path) -> None:
    sink = try_sink(options(tmp_path, wait={"default": "integrated"}, wait_timeout="5s"))
    with pytest.raises(ConfigError, match=r"shorter than \[audit\] sink_timeout, 5 s"):
        sink.bind(PROFILES, timedelta(seconds=5))
    sink.bind(PROFILES, timedelta(seconds=6))


def test_what_is_private_is_private(tmp_path: Path) -> None:
    open_sink(options(tmp_path / "log")).close()
    assert (tmp_path / "log" / "private").stat().st_mode & 0o777 == 0o700
    assert not [path for path in (tmp_path / "log" / "private").rglob("*") if path.stat().st_mode & 0o077]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"storage_timeout": "3s"}, "storage_timeout has no effect without storage"),
        ({"s3": {"region": "eu-west-1"}}, 's3 has no effect without storage = "s3://'),
        ({"storage": "gs://some-bucket/log", "s3": {"region": "eu-west-1"}}, "s3 has no effect"),
        ({"storage": BUCKET, "gcs": {"endpoint": "http://127.0.0.1:9"}}, "gcs has no effect"),
        (
            {"storage": BUCKET, "backend": "tessera", "tessera": ENGINE, "key": None},
            "the engine serves the log",
        ),
        ({"storage": "s3://some-bucket"}, "write s3://BUCKET/PREFIX"),
        ({"storage": "s3://some-bucket/../log"}, "write s3://BUCKET/PREFIX"),
        ({"storage": "s3://key:secret@some-bucket/log"}, "write s3://BUCKET/PREFIX"),
        ({"storage": "azure://some-bucket/log"}, "write s3://BUCKET/PREFIX"),
        ({"storage": BUCKET, "s3": {"endpoint_url": "https://key:secret@host"}}, "without user"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value.split()[0],
)
def test_a_bucket_that_cannot_be_is_refused(tmp_path: Path, table: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        options(tmp_path, **table)
