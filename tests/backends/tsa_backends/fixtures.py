"""The servers as pytest fixtures: started once per worker, when a test first asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tsa_backends.commands import ForkedServer
from tsa_backends.gcs_store import GcsStore
from tsa_backends.key_vault import KeyVault
from tsa_backends.ministack import Ministack
from tsa_backends.openbao import OpenBao
from tsa_backends.postgresql_server import PostgresqlServer
from tsa_backends.redis_server import RedisServer
from tsa_backends.softhsm import SoftHsm
from tsa_core.testing import ServerProcess

if TYPE_CHECKING:
    # The module needs google-cloud-kms, which only some environments have.
    from tsa_backends.gcp_kms import GcpKms


@pytest.fixture(scope="session", autouse=True)
def _servers_of_a_loaded_program() -> Iterator[None]:
    """Start servers as forks of a process that has loaded the program: decision 136."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServerProcess, "popen", ForkedServer)
        yield


@pytest.fixture(scope="session")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A running OpenBao; tests make keys of their own and leave the server up."""
    server = OpenBao(tmp_path_factory.mktemp("openbao"))
    server.start()
    yield server
    server.process.stop()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A running Redis; tests count under names of their own and leave it up."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.process.stop()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A running PostgreSQL that waits for no disk; tests have schemas of their own, and leave it up."""
    server = PostgresqlServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ministack]:
    """A running AWS emulator; tests make keys of their own and leave it up."""
    server = Ministack(tmp_path_factory.mktemp("ministack"))
    server.start()
    yield server
    server.process.stop()


@pytest.fixture(scope="session")
def gcp_kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcpKms]:
    """A stand-in for Google Cloud KMS in this process; tests make keys of their own and leave it up."""
    from tsa_backends.gcp_kms import GcpKms

    server = GcpKms(tmp_path_factory.mktemp("gcp_kms"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def gcs_store() -> Iterator[GcsStore]:
    """A stand-in for Google Cloud Storage in this process; tests have prefixes of their own and leave it up."""
    store = GcsStore()
    yield store
    store.stop()


@pytest.fixture
def softhsm(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    """An empty token store of the test's own, to which SOFTHSM2_CONF leads this process."""
    store = SoftHsm(tmp_path_factory.mktemp("softhsm"))
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    return store


@pytest.fixture
def key_vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyVault]:
    """A running stand-in for Azure Key Vault, of the test's own."""
    server = KeyVault(tmp_path_factory.mktemp("key_vault"))
    server.start()
    yield server
    server.kill()
