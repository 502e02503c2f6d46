"""The reference's own tests of its server and of its timestamp-cli, in Go, against our server and our timestamp-cli."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.interop.builds import BuildFailed, NoToolchain, built, not_on_this_machine
from tests.interop.reference_tests import PROGRAM
from tests.serving import served_by_waitress
from tsa_core.cli.reference_settings import load
from tsa_core.cli.serve import serve
from tsa_core.service import Service
from tsa_core.testing import missing

pytestmark = [pytest.mark.plugin("memory"), pytest.mark.timeout(900)]  # the first build

SERVERS = {
    "SERVER": ["--include-chain-in-response=false"],
    "SERVER_WITH_CHAIN": ["--include-chain-in-response"],
    "SERVER_WITH_EXTENSIONS": ["--allow-custom-extensions", "--accepted-policy-oids=1.3.6.1.4.1.57264.2,1.2.3.4.5"],
}
ORDER_OF_CERTIFICATES = "TestGetTimestampResponse"
"""Wants the signer's certificate first in the token, which is DER only when it is also the shortest."""
OF_THE_SERVER = {
    "TestGetTimestampCertChain",
    "TestGetTimestampResponseWithExtsAndOID",
    "TestGetTimestampResponseWithNoCertificateOrNonce",
    "TestUnsupportedHashAlgorithm",
    "TestInvalidJSONArtifactHashNotBase64Encoded",
}
OF_THE_CLIENT = {
    "TestInspect",
    "TestTimestamp",
    "TestVerify_CertificateChainFlag",
    "TestVerify_RootAndIntermediateCertificateFlags",
    "TestVerify_AllCertFlagsIncluded",
    "TestVerify_NoCertFlagsIncluded",
    "TestVerify_PassLeafCertificate",
    "TestVerify_InvalidTSR",
    "TestVerify_InvalidPEM",
}


@pytest.fixture(scope="module")
def program() -> Path:
    try:
        return built(PROGRAM) / PROGRAM
    except NoToolchain as reason:
        not_on_this_machine(str(reason))
    except BuildFailed as reason:
        missing(str(reason))


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, str]]:
    """The addresses of our servers, started with the flags that the tests set, by the variable that names them."""
    with ExitStack() as stack:
        urls = {}
        for name, flags in SERVERS.items():
            arguments = [*flags, "--timestamp-signer=memory", "--rejections=sigstore", "--host=127.0.0.1", "--port=0"]
            service = stack.enter_context(Service(load(serve.make_context("serve", arguments).params).settings))
            urls[name] = stack.enter_context(served_by_waitress(service)).url
        yield urls


def outcomes(program: Path, servers: dict[str, str], folder: Path, names: set[str]) -> dict[str, str]:
    """Run these tests; return the outcome of each, PASS or what it printed."""
    place = folder / "pkg" / "tests"
    place.mkdir(parents=True)
    client = folder / "bin" / "timestamp-cli"  # where the tests look for it
    client.parent.mkdir()
    client.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tsa_core.cli.timestamp "$@"\n', encoding="utf-8")
    client.chmod(0o700)
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": os.pathsep.join(sys.path), **servers}
    done = subprocess.run(
        [program, "-test.v", "-test.run", f"^({'|'.join(sorted(names))})$"],
        cwd=place, env=environ, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    found = {name: word for word, name in re.findall(r"^--- (\w+): (\w+) ", done.stdout, re.MULTILINE)}
    said = dict(re.findall(r"^=== RUN +(\w+)\n(.*?)^--- ", done.stdout, re.MULTILINE | re.DOTALL))
    return {name: "PASS" if found.get(name) == "PASS" else said.get(name, done.stderr) for name in names}


def test_its_tests_of_the_server_pass(program: Path, servers: dict[str, str], tmp_path: Path) -> None:
    assert outcomes(program, servers, tmp_path, OF_THE_SERVER) == dict.fromkeys(OF_THE_SERVER, "PASS")


def test_its_tests_of_timestamp_cli_pass(program: Path, servers: dict[str, str], tmp_path: Path) -> None:
    assert outcomes(program, servers, tmp_path, OF_THE_CLIENT) == dict.fromkeys(OF_THE_CLIENT, "PASS")


def test_there_are_no_others(program: Path, tmp_path: Path) -> None:
    listed = subprocess.run([program, "-test.list", "."], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert set(listed.stdout.split()) == OF_THE_SERVER | OF_THE_CLIENT | {ORDER_OF_CERTIFICATES}
