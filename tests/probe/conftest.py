"""Fixtures of the probe's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.client.lying_server import Certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for servers on 127.0.0.1, good ones and bad ones."""
    folder: Path = tmp_path_factory.mktemp("certificates")
    return Certificates(folder)
