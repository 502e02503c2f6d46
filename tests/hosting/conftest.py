"""Servers of these tests are processes from the beginning: how they start, live and end is what is tested.

A module that tests what they do in between says `pytestmark = pytest.mark.usefixtures("forked_servers")`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tsa_backends.commands import ForkedServer
from tsa_core.testing import ServerProcess


@pytest.fixture(scope="package", autouse=True)
def _processes_from_the_beginning() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServerProcess, "popen", subprocess.Popen)
        yield


@pytest.fixture(scope="module")
def forked_servers() -> Iterator[None]:
    """Start a module's servers as forks of a process that has loaded the program."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServerProcess, "popen", ForkedServer)
        yield
