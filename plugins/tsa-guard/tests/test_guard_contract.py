"""The contract of guards, for each way to recognise clients and to count requests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tsa_backends.redis_server import PASSWORD, RedisServer
from tsa_core.testing import GuardContract, ProviderContract
from tsa_guard import plugin as guard_plugin
from tsa_guard.key_file import changed_keys, new_key


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.jsonl"
    with changed_keys(path) as known:
        for name in ("one", "two"):
            _, key = new_key(name=name, tenant="acme")
            known[key.id] = key
    return path


class TestGuardProvider(ProviderContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return guard_plugin

    @pytest.fixture
    def distribution_name(self) -> str:
        return "tsa-guard"

    @pytest.fixture
    def options(self, keys: Path) -> Mapping[str, Any]:
        return {"keys": str(keys), "storage": f"redis://:{PASSWORD}@127.0.0.1:1/0"}


class TestGuardInMemory(GuardContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return guard_plugin

    @pytest.fixture(params=["refuse", "allow"])
    def options(self, request: pytest.FixtureRequest, keys: Path) -> Mapping[str, Any]:
        table = {"keys": str(keys), "tenants": {"acme": {"limits": ["5/second"]}}, "client_limits": ["3/second"]}
        limits = {"anonymous_limits": ["4/second"]} if request.param == "allow" else {}
        return {**table, **limits, "anonymous": request.param}


class TestGuardInRedis(GuardContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return guard_plugin

    @pytest.fixture
    def options(self, keys: Path, redis_server: RedisServer) -> Mapping[str, Any]:
        return {
            "keys": str(keys),
            "storage": redis_server.url,
            "storage_timeout": "10s",
            "anonymous": "allow",
            "anonymous_limits": ["4/second", "100/day"],
        }
