"""No output takes the place of an input, by whatever name it is called."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.cli.timestamp_shell import CHAIN, Shell, honest
from tsa_core.api import ConfigError
from tsa_core.cli.fetch_tsa_certs import fetch_tsa_certs
from tsa_core.cli.server_group import server
from tsa_core.hosting.pid_file import PidFile
from tsa_core.testing.http_tsa import HttpTsa

LINKS: dict[str, Callable[[Path], None]] = {
    "the name": lambda path: None,
    "another path": lambda path: None,
    "a symbolic link": lambda path: path.symlink_to("a.txt"),
    "a hard link": lambda path: os.link("a.txt", path),
}


@pytest.mark.parametrize("kind", LINKS)
def test_out_that_names_the_artifact_is_refused(shell: Shell, tsa: HttpTsa, kind: str) -> None:
    out = {"the name": "a.txt", "another path": f"../{Path.cwd().name}/a.txt"}.get(kind, "other")
    LINKS[kind](Path(out))
    arguments = ("timestamp", "--artifact", "a.txt", "--timestamp_server", tsa.url, "--out", out)
    assert "is the file that --artifact reads" in shell.fails(2, *arguments)
    assert Path("a.txt").read_bytes() == b"hello"
    assert tsa.received == []


def test_out_that_names_another_input_is_refused(shell: Shell, tsa: HttpTsa) -> None:
    arguments = ("timestamp", "--artifact", "a.txt", "--timestamp_server", tsa.url, "--out", "chain.pem")
    assert "--verify-with" in shell.fails(2, *arguments, "--verify-with", "chain.pem")
    assert Path("chain.pem").read_bytes() == CHAIN.pem
    Path("settings.toml").write_text("timeout = '9s'\n")
    named = ("timestamp", "--artifact", "a.txt", "--timestamp_server", tsa.url, "--config", "settings.toml")
    assert "--config" in shell.fails(2, *named, "--out", "settings.toml")


def test_out_that_names_what_standard_input_is_redirected_from(
    shell: Shell, tsa: HttpTsa, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("a.txt").open("rb") as file:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
        arguments = ("timestamp", "--artifact", "-", "--timestamp_server", tsa.url, "--out", "a.txt")
        shell.fails(2, *arguments)
    assert Path("a.txt").read_bytes() == b"hello"


def test_lists_of_timestamps_and_chains_that_name_an_input_are_refused(shell: Shell, tsa: HttpTsa, reply: str) -> None:
    Path("names").write_text("a.txt\n")
    ask = ("timestamp", "--from-file", "names", "--timestamp_server", tsa.url, "--force", "--verify-with", "chain.pem")
    asked = len(tsa.received)
    for flag in ("--manifest", "--bundle"):
        assert "is the file that --verify-with reads" in shell.fails(2, *ask, flag, "chain.pem")
        assert "is the file that --from-file reads" in shell.fails(2, *ask, flag, "names")
    taken = ("certchain", "--timestamp", reply, "--out", reply, "--force")
    assert "is the file that --timestamp reads" in shell.fails(2, *taken)
    assert len(tsa.received) == asked
    assert Path("chain.pem").read_bytes() == CHAIN.pem


def test_one_of_several_outputs_that_names_the_artifact_is_refused(shell: Shell, tsa: HttpTsa) -> None:
    Path("r.2.tsr").write_bytes(b"an artifact with such a name")
    with HttpTsa(honest) as other:
        servers = ("--timestamp_server", tsa.url, "--timestamp_server", other.url)
        shell.fails(2, "timestamp", "--artifact", "r.2.tsr", "--out", "r.tsr", *servers)
        assert other.received == []
    assert Path("r.2.tsr").read_bytes() == b"an artifact with such a name"


@pytest.mark.parametrize("flag", ["--out", "--token-out"])
def test_an_older_timestamp_is_replaced_with_force_alone(shell: Shell, tsa: HttpTsa, flag: str) -> None:
    arguments = ("timestamp", "--artifact", "a.txt", "--timestamp_server", tsa.url, flag, "r.tsr")
    Path("r.tsr").touch()  # as mktemp makes it
    assert shell(*arguments).code == 0
    older = Path("r.tsr").read_bytes()
    assert "--force" in shell.fails(2, *arguments)
    assert Path("r.tsr").read_bytes() == older
    assert len(tsa.received) == 1, "refused before the server is asked"
    assert shell(*arguments, "--force").code == 0
    assert Path("r.tsr").read_bytes() != older
    assert shell(*arguments[:-1], "/dev/null").code == 0


@pytest.mark.parametrize("option", ["--chain-in", "--parent-chain", "--csr-in", "--config", "--leaf-kms-resource"])
def test_fetch_tsa_certs_does_not_overwrite_what_it_reads(tmp_path: Path, option: str) -> None:
    given = tmp_path / "given"
    given.write_bytes(b"what was there")
    value = f"file:{given}" if option == "--leaf-kms-resource" else str(given)
    result = CliRunner().invoke(fetch_tsa_certs, [option, value, "--output", str(given)])
    assert result.exit_code == 2
    assert f"is the file that {option} reads" in " ".join(result.output.split())
    assert given.read_bytes() == b"what was there"


@pytest.mark.plugin("file")
@pytest.mark.parametrize(
    ("command", "option", "output", "reader"),
    [
        (("policy-document", "--config", "tsa/tsa.toml"), "--output", "tsa/tsa.toml", "--config"),
        (("policy-document", "--config", "tsa/tsa.toml"), "--output", "tsa/chain.pem", "certificate_chain"),
        (("renew", "--offline", "tsa/offline", "--csr-in", "a.csr"), "--chain-out", "a.csr", "--csr-in"),
        *(
            (
                ("renew", "--offline", "tsa/offline", "--csr-in", "a.csr"),
                "--chain-out",
                f"tsa/offline/{name}",
                "--offline",
            )
            for name in ("intermediate.key", "root.key", "password", "offline.toml", "chain.pem")
        ),
    ],
)
def test_an_authoritys_own_files_survive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], option: str, output: str, reader: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (("init", "tsa"), ("renew", "--config", "tsa/tsa.toml", "--csr-out", "a.csr")):
        assert CliRunner().invoke(server, arguments).exit_code == 0
    before = Path(output).read_bytes()
    result = CliRunner().invoke(server, [*command, option, output])
    assert Path(output).read_bytes() == before
    assert f"is the file that {reader} reads" in f"{result.output} {result.exception}"


def test_a_pid_file_replaces_a_process_id_only(tmp_path: Path) -> None:
    path = tmp_path / "tsa.pid"
    path.write_text("12345\n")
    PidFile(path).close()
    path.write_bytes(CHAIN.pem)
    with pytest.raises(ConfigError, match="something else than a process id"):
        PidFile(path)
    assert path.read_bytes() == CHAIN.pem
