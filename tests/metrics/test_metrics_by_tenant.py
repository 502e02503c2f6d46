"""Requests by tenant: as many tenants as the settings allow, the same in all processes, a setting with an effect."""

from __future__ import annotations

import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tsa_core.api import ConfigError
from tsa_core.config import load_settings
from tsa_core.metrics.tenants import NONE, OTHER, TenantNames

ODD = 'a\n"b\\ {}'


def test_the_first_tenants_have_names_and_the_others_have_one_together() -> None:
    names = TenantNames(2, lambda: None)
    assert [names.label(each) for each in ("", "a", ODD, "c", "a", "d")] == [NONE, "a", ODD, OTHER, "a", OTHER]


def test_no_tenant_takes_a_name_that_stands_for_others() -> None:
    names = TenantNames(3, lambda: None)
    assert [names.label(each) for each in (OTHER, NONE, "", "a", "b")] == [
        "tenant other",
        "tenant none",
        NONE,
        "a",
        OTHER,
    ]


def test_processes_that_share_metrics_show_the_same_tenants(tmp_path: Path) -> None:
    processes = [TenantNames(5, lambda: tmp_path) for _ in range(8)]
    wanted = [f"tenant {number}" for number in range(50)]

    def label_all(number: int) -> dict[str, str]:
        order = wanted[number * 6 :] + wanted[: number * 6]
        return {tenant: processes[number].label(tenant) for tenant in order}

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(label_all, range(8)))
    assert all(each == found[0] for each in found)
    assert len(set(found[0].values()) - {OTHER}) == 5


def test_where_the_directory_has_no_room_a_process_names_its_own(tmp_path: Path) -> None:
    names = TenantNames(1, lambda: tmp_path / "not there")
    assert [names.label("a"), names.label("b"), names.label("a")] == ["a", OTHER, "a"]


def test_on_a_full_disk_a_process_names_its_own_and_what_is_half_written_hurts_nobody(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    writing = TenantNames(3, lambda: tmp_path)
    assert writing.label("a") == "a"
    resource.setrlimit(resource.RLIMIT_FSIZE, (6, before[1]))  # "a" and its quotes and line break are four
    try:
        assert writing.label("longer") == "longer"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "tenants.jsonl").read_bytes() == b'"a"\n"l'
    assert TenantNames(3, lambda: tmp_path).label("b") == "b"
    names = TenantNames(3, lambda: tmp_path)
    assert [names.label(each) for each in ("c", "d", "a", "b")] == ["c", OTHER, "a", "b"]


@pytest.mark.parametrize(
    "other", [{}, {"middleware": {"guards": ["keys"]}, "metrics": {"enabled": False}}], ids=["guards", "metrics"]
)
def test_tenants_need_guards_and_metrics(other: dict[str, dict[str, object]]) -> None:
    with pytest.raises(ConfigError, match="tenants has no effect"):
        load_settings(overrides={**other, "metrics": {**other.get("metrics", {}), "tenants": 5}}, environ={})
