"""Servers of these tests are forks of a process that has loaded the program, as in all others (decision 136).

A module that tests how a process starts or ends says `pytest.mark.usefixtures("servers_from_the_beginning")`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tsa_core.testing import ServerProcess


@pytest.fixture(scope="module")
def servers_from_the_beginning() -> Iterator[None]:
    """Start each of a module's servers as a Python of its own, as an operator does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServerProcess, "popen", subprocess.Popen)
        yield
