"""The servers as pytest fixtures: started once per worker, when a test first asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tsa_backends.ministack import Ministack
from tsa_backends.openbao import OpenBao


@pytest.fixture(scope="session")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A running OpenBao; tests make keys of their own and leave the server up."""
    server = OpenBao(tmp_path_factory.mktemp("openbao"))
    server.start()
    yield server
    server.process.stop()


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ministack]:
    """A running AWS emulator; tests make keys of their own and leave it up."""
    server = Ministack(tmp_path_factory.mktemp("ministack"))
    server.start()
    yield server
    server.process.stop()
