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
from tsa_core.testing import AuditSinkContract, ProviderContract, TrailContract

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
        return {"path": str(tmp_path / "trail" / "audit.jsonl"), "sync": request.param, "refusals": True}

    @pytest.fixture
    def read_serial_numbers(self, tmp_path: Path) -> Callable[[], Collection[int]]:
        return lambda: serials(tmp_path / "trail" / "audit.jsonl")

    @pytest.fixture
    def failing_sink(self, tmp_path: Path) -> AuditSink:
        sink = open_sink(tmp_path / "lost" / "audit.jsonl")
        shutil.rmtree(tmp_path / "lost")
        return sink


class TestAuditFileTrail(TrailContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return audit_plugin

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "trail" / "audit.jsonl"

    @pytest.fixture(params=["no key", "key"])
    def options(self, path: Path, request: pytest.FixtureRequest) -> Mapping[str, Any]:
        key = {"key": "a key of some length"} if request.param == "key" else {}
        return {"path": str(path), "digests": True, **key}

    @pytest.fixture
    def change_a_byte(self, path: Path) -> Callable[[], None]:
        return lambda: void(path.write_bytes(path.read_bytes().replace(b"press", b"dress", 1)))

    @pytest.fixture
    def remove_the_last_line(self, path: Path) -> Callable[[], None]:
        return lambda: void(path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1])))


def void(_: object) -> None:
    """A function that is called for what it does."""
