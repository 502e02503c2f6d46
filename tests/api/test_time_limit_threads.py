"""A call within a time limit leaves no thread that still ends."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tsa_core.api import LocalKeySigner
from tsa_core.api.time_limit import within_limit
from tsa_core.testing import new_key


@pytest.mark.needs(Path("/proc/self/task").is_dir(), "finds threads through /proc")
def test_the_thread_has_ended_when_the_call_returns() -> None:
    """Else a fork right after it may copy a lock that the thread holds while it ends, OpenSSL's for example."""
    sign = LocalKeySigner(new_key()).sign
    threads: list[int] = []

    def call() -> None:
        threads.append(threading.get_native_id())
        sign(b"what OpenSSL does in a thread of its own", timeout=1)

    for _ in range(200):
        within_limit(call, seconds=60, name="test")
        assert not Path(f"/proc/self/task/{threads[-1]}").exists()
