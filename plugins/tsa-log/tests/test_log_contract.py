"""The contracts of the provider, of every audit sink and of all routes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tsa_core.api import AuditSink
from tsa_core.api.transparency import entry_of
from tsa_core.testing import AuditSinkContract, ProviderContract, RoutesContract, sample_record
from tsa_log import plugin as log_plugin
from tsa_log.journal import read_records
from tsa_log.sink import open_sink

from .logs import LOG_KEY, ORIGIN, WITNESS_KEY, entries, options, settings

SERIALS = {entry_of(sample_record(number).response).encode(): number for number in range(1, 65)}


class TestLogProvider(ProviderContract):
    kind = "audit"

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return log_plugin

    @pytest.fixture
    def distribution_name(self) -> str:
        return "tsa-log"

    @pytest.fixture
    def options(self, tmp_path: Path) -> Mapping[str, Any]:
        return settings(tmp_path / "log")


def stored(directory: Path) -> set[bytes]:
    """Return what is integrated, and what waits in the journals."""
    waiting = {
        each
        for path in (directory / "private" / "pending").glob("*.entries")
        for each, _ in read_records(path, 0, 1 << 20)
        if each
    }
    return waiting | set(entries(directory / "public"))


class TestLogSink(AuditSinkContract):
    kind = "audit"

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return log_plugin

    @pytest.fixture(params=[{}, {"wait": {"default": "integrated"}}], ids=str)
    def options(self, tmp_path: Path, request: pytest.FixtureRequest) -> Mapping[str, Any]:
        return settings(tmp_path / "log", **request.param)

    @pytest.fixture
    def read_serial_numbers(self, tmp_path: Path) -> Callable[[], Collection[int]]:
        return lambda: [SERIALS[each] for each in stored(tmp_path / "log")]

    @pytest.fixture
    def failing_sink(self, tmp_path: Path) -> Iterator[AuditSink]:
        with closing(open_sink(options(tmp_path / "lost"))) as sink:
            shutil.rmtree(tmp_path / "lost")
            yield sink


class TestLogRoutes(RoutesContract):
    kind = "routes"
    provider_name = "log"

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return log_plugin

    @pytest.fixture
    def options(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"origin": ORIGIN, "directory": str(tmp_path / "log")}


class TestWitnessRoutes(RoutesContract):
    kind = "routes"
    provider_name = "witness"

    @pytest.fixture
    def plugin(self) -> ModuleType:
        return log_plugin

    @pytest.fixture
    def options(self, tmp_path: Path) -> Mapping[str, Any]:
        logs = [{"key": str(LOG_KEY.key)}]
        return {"directory": str(tmp_path / "witness"), "key": WITNESS_KEY.text(), "logs": logs}
