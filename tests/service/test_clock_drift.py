"""The start refuses an accuracy that the clock may drift out of between two measurements."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tsa_core.api import ConfigError
from tsa_core.config import Settings, load_settings
from tsa_core.service.opening import refuse_drift

MINUTE = timedelta(seconds=60)


def settings(accuracy: str, **clock: Any) -> Settings:
    return load_settings(overrides={"profiles": {"default": {"accuracy": accuracy}}, "clock": clock}, environ={})


def test_ten_milliseconds_with_the_defaults_are_refused_with_a_period_that_fits() -> None:
    with pytest.raises(ConfigError) as raised:
        refuse_drift(settings("10ms"), {"ntp": MINUTE})
    text = str(raised.value)
    assert text.startswith("profiles.default.accuracy: tokens would state 10 ms")
    assert "60 s apart, the clock may drift by 30 ms ([clock] drift_ppm = 500)" in text
    assert '[clock.ntp] period = "10s" for example' in text
    refuse_drift(settings("10ms"), {"ntp": timedelta(milliseconds=10_000)})


@pytest.mark.parametrize(
    ("accuracy", "clock"),
    [
        ("1s", {}),
        ("31ms", {}),
        ("none", {}),
        ("10ms", {"drift_ppm": 100}),
        ("10ms", {"widen_accuracy": True, "monitors": ["ntp"]}),
        ("10ms", {"on_failure": "warn"}),
    ],
)
def test_what_can_be_kept_or_is_not_promised_is_accepted(accuracy: str, clock: dict[str, Any]) -> None:
    refuse_drift(settings(accuracy, **clock), {"ntp": MINUTE, "other": None})


def test_every_monitor_counts() -> None:
    with pytest.raises(ConfigError, match=r"\[clock\.slow\] period"):
        refuse_drift(settings("10ms"), {"ntp": timedelta(seconds=1), "slow": MINUTE})


@pytest.mark.parametrize("clock", [{}, {"widen_accuracy": True, "monitors": ["ntp"]}, {"on_failure": "warn"}], ids=str)
def test_a_monitor_that_measures_less_often_than_a_standard_demands_is_refused(clock: dict[str, Any]) -> None:
    day, profile = timedelta(hours=24), {"signer": "memory:", "accuracy": "none", "conformance": "csbr"}
    found = load_settings(overrides={"clock": clock, "profiles": {"default": profile}}, environ={})
    refuse_drift(found, {"ntp": day, "other": None})
    with pytest.raises(ConfigError, match=r"clock\.ntp\.period: .* \(csbr-monitor-daily: CSBR 6\.8\)"):
        refuse_drift(found, {"ntp": day + timedelta(seconds=1)})
