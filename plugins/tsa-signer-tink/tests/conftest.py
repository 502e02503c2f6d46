"""A KEK in each of the three servers, and an environment that leads to none of them by accident."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tsa_backends.gcp_kms import GcpKms
from tsa_backends.ministack import AWS_ENVIRONMENT, Ministack
from tsa_backends.openbao import OpenBao
from tsa_backends.tink_keks import Kek, aws_kek, gcp_kek, vault_kek


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith(("TSA_", "VAULT_", "BAO_", "AWS_", "GOOGLE_")) and not name.startswith("TSA_TEST_"):
            monkeypatch.delenv(name)
    for name, value in AWS_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    # Where there are no credentials, Google's library would ask a server of Google's machines for them.
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="session")
def vault(openbao: OpenBao) -> Kek:
    return vault_kek(openbao)


@pytest.fixture(scope="session")
def aws(ministack: Ministack) -> Kek:
    return aws_kek(ministack)


@pytest.fixture(scope="session")
def gcp(gcp_kms: GcpKms) -> Kek:
    return gcp_kek(gcp_kms)


@pytest.fixture(scope="session", params=["vault", "aws", "gcp"])
def kek(request: pytest.FixtureRequest) -> Kek:
    found: Kek = request.getfixturevalue(request.param)
    return found
