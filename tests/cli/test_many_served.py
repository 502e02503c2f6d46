"""timestamp-cli for many files against a server of ours, whose guard limits each client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_many_stamping import make_files
from tests.cli.timestamp_shell import Shell
from tsa_core.cli import timestamp as timestamp_cli
from tsa_core.testing import ServerProcess

LIMITED = """
[profiles.default]
signer = "memory"
[middleware]
guards = ["guard"]
[middleware.guard]
anonymous = "allow"
anonymous_limits = ["10/second"]
"""

pytestmark = [pytest.mark.plugin("memory"), pytest.mark.plugin("guard")]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    config = tmp_path_factory.mktemp("server") / "tsa.toml"
    config.write_text(LIMITED)
    with ServerProcess(config, "--port", "0", "--metrics-port", "0") as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def chain(url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("chain") / "served.pem"
    assert timestamp_cli.run(("certchain", "--timestamp_server", url, "--out", str(path))) == 0
    return str(path)


def test_a_limited_client_gets_all_its_timestamps(shell: Shell, url: str, chain: str) -> None:
    make_files(25)
    arguments = ("--timestamp_server", url, "--verify-with", chain)
    outcome = shell("timestamp", "--each", "d", *arguments)
    assert (outcome.code, outcome.out) == (0, "files: 25; timestamped: 25\n"), outcome
    assert shell("verify", "d", "--certificate-chain", chain).code == 0
    outcome = shell("timestamp", "--each", "d", *arguments, "--out-dir", "impatient", "--max-wait", "1ms")
    assert outcome.code == 1, "so there is a limit"
    assert "the server stays busy" in outcome.err


def test_one_request_is_within_any_limit(shell: Shell, url: str, chain: str) -> None:
    make_files(200)
    arguments = ("--timestamp_server", url, "--verify-with", chain, "--bundle", "b.json")
    assert shell("timestamp", "d", *arguments).out == "files: 200; timestamped: 200\n"
    assert shell("verify", "--bundle", "b.json", "--certificate-chain", chain).code == 0
    assert Path("b.json").stat().st_mode == Path("a.txt").stat().st_mode
