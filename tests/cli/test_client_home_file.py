"""`$HOME/.timestamp.yaml` is read unasked, as Sigstore's client does, below flags, variables and --config."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.timestamp_shell import Shell
from tsa_core.testing.http_tsa import HttpTsa


@pytest.fixture
def home() -> Path:
    path = Path("home")
    path.mkdir()
    return path


STAMP = ("timestamp", "--artifact", "a.txt")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".timestamp.yaml", "timestamp_server: {url}\nout: h.tsr\n"),
        (".timestamp.yml", "timestamp_server: {url}\nout: h.tsr\n"),
        (".timestamp.toml", 'timestamp_server = "{url}"\nout = "h.tsr"\n'),
        (".timestamp.json", '{{"timestamp_server": "{url}", "out": "h.tsr"}}'),
    ],
)
def test_the_file_in_home_is_read(shell: Shell, tsa: HttpTsa, home: Path, name: str, text: str) -> None:
    (home / name).write_text(text.format(url=tsa.url))
    assert shell(*STAMP).code == 0
    assert Path("h.tsr").exists()


def test_whatever_is_named_goes_before_it(
    shell: Shell, tsa: HttpTsa, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".timestamp.yaml").write_text(f"timestamp_server: {tsa.url}\nout: h.tsr\n")
    assert shell(*STAMP, "--out", "flag.tsr").code == 0
    Path("c.yaml").write_text(f"timestamp_server: {tsa.url}\nout: config.tsr\nforce: true\n")
    assert shell("--config", "c.yaml", *STAMP).code == 0
    assert shell(*STAMP, "--config", "c.yaml", "--hash", "sha384").code == 0
    monkeypatch.setenv("TIMESTAMP_OUT", "variable.tsr")
    assert shell(*STAMP).code == 0
    assert Path("flag.tsr").exists()
    assert Path("config.tsr").exists()
    assert Path("variable.tsr").exists()
    assert not Path("h.tsr").exists()


def test_a_mistake_in_it_names_it(shell: Shell, home: Path) -> None:
    (home / ".timestamp.yaml").write_text("timestampserver: http://127.0.0.1\n")
    assert "home/.timestamp.yaml has a setting that does not exist: timestampserver" in shell.fails(2, *STAMP)


def test_without_a_home_there_is_no_file(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    assert shell("version").code == 0
