"""`workers = "auto"`: one process for each CPU that this one may use, by affinity and by a container's quota."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tsa_core.api import ConfigError
from tsa_core.config import Settings, cores, load_settings


def load(workers: object, **server: object) -> Settings:
    return load_settings(overrides={"server": {"workers": workers, **server}}, environ={})


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Control groups of the test's own: this process is in /pods/one, on a machine with eight CPUs."""
    own = tmp_path / "cgroup"
    own.write_text("1:cpu:/elsewhere\n0::/pods/one\n")
    monkeypatch.setattr(cores, "_OWN_GROUP", own)
    monkeypatch.setattr(cores, "_CONTROL_GROUPS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    (tmp_path / "pods" / "one").mkdir(parents=True)
    return tmp_path


def test_auto_is_one_for_each_cpu(groups: Path) -> None:
    assert load("auto").server.workers == 8


@pytest.mark.parametrize(
    ("quotas", "expected"),
    [
        ({"pods/one": "max 100000"}, 8),
        ({"pods/one": "200000 100000"}, 2),
        ({"pods/one": "250000 100000"}, 3),
        ({"pods/one": "20000 100000"}, 1),
        ({"pods/one": "400000 100000", "pods": "150000 100000"}, 2),
        ({".": "300000 100000"}, 3),
        ({"pods/one": "not a quota"}, 8),
    ],
)
def test_a_quota_of_a_container_counts(groups: Path, quotas: dict[str, str], expected: int) -> None:
    for group, quota in quotas.items():
        (groups / group / "cpu.max").write_text(quota + "\n")
    assert load("auto").server.workers == expected


def test_a_system_without_control_groups_has_no_quota(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_OWN_GROUP", groups / "nowhere")
    assert load("auto").server.workers == 8


def test_auto_on_one_cpu_is_no_reason_to_refuse_what_several_workers_need(
    groups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0})
    assert load("auto", worker_timeout="5s").server.workers == 1
    with pytest.raises(ConfigError, match="no effect with one process"):
        load(1, worker_timeout="5s")


def test_a_number_may_be_text_and_other_text_is_refused() -> None:
    assert load("2").server.workers == 2
    with pytest.raises(ConfigError, match=r"server\.workers: must be a whole number, or auto"):
        load("many")
