"""Servers of these tests are processes from the beginning: how they start, live and end is what is tested."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tsa_core.testing import ServerProcess


@pytest.fixture(scope="package", autouse=True)
def _processes_from_the_beginning() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServerProcess, "popen", subprocess.Popen)
        yield
