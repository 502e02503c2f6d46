"""The contracts of every plugin and of every audit sink."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tsa_audit_file import plugin as audit_plugin
from tsa_core.api import AuditSink
from tsa_core.testing import AuditSinkContract, ProviderContract

from .trail import open_sink, serials


class TestAuditFileProvider(ProviderContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return audit_plugin

    @pytest.fixture
    def distribution_name(self) -> str:
        return "tsa-audit-file"

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"path": "/var/log/tsa/audit.jsonl", "key": "a key of some length"}


class TestAuditFileSink(AuditSinkContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return audit_plugin

    @pytest.fixture(params=["always", "interval", "never"])
    def options(self, tmp_path: Path, request: pytest.FixtureRequest) -> Mapping[str, Any]:
        return {"path": str(tmp_path / "trail" / "audit.jsonl"), "sync": request.param}

    @pytest.fixture
    def read_serial_numbers(self, tmp_path: Path) -> Callable[[], Collection[int]]:
        return lambda: serials(tmp_path / "trail" / "audit.jsonl")

    @pytest.fixture
    def failing_sink(self, tmp_path: Path) -> AuditSink:
        sink = open_sink(tmp_path / "lost" / "audit.jsonl")
        shutil.rmtree(tmp_path / "lost")
        return sink
