"""No traceback for standard streams that are full, closed, unread or not UTF-8, and none for foreign metadata."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.timestamp_shell import CHAIN
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import issue, signer_extensions

COMMANDS: list[Any] = [
    pytest.param(("tsa_core.cli.server", "check"), marks=pytest.mark.plugin("memory")),
    ("tsa_core.cli.server", "check-chain", "chain.pem"),
    ("tsa_core.cli.server", "plugins", "list", "--json"),
    ("tsa_core.cli.server", "serve", "--help"),
    ("tsa_core.cli.timestamp", "inspect", "--timestamp", "r.tsr"),
]
NAMED = issue("Zeitstempel \u65e5\u672c Müller", issuer=CHAIN.intermediate, extensions=signer_extensions())


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    end = b"-----END CERTIFICATE-----\n"
    from cryptography.hazmat.primitives.serialization import Encoding

    issuers = CHAIN.pem.split(end, 1)[1]
    Path("chain.pem").write_bytes(NAMED.certificate.public_bytes(Encoding.PEM) + issuers)
    Path("r.tsr").write_bytes(forge.reply(forge.token(NAMED, certificates=[NAMED.der])))
    for name in [name for name in os.environ if name.startswith(("TSA_", "TIMESTAMP_"))]:
        monkeypatch.delenv(name)


def start(command: tuple[str, ...], stdout: int, **environment: str) -> subprocess.Popen[bytes]:
    module, *arguments = command
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[1:3]))
@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_an_encoding_that_lacks_characters(command: tuple[str, ...], encoding: str) -> None:
    out, err = start(command, subprocess.PIPE, PYTHONIOENCODING=encoding).communicate(timeout=120)
    assert b"Traceback" not in err
    out.decode(encoding)
    assert out


def test_json_stays_json_in_any_encoding() -> None:
    command = ("tsa_core.cli.timestamp", "inspect", "--timestamp", "r.tsr", "--format", "json")
    out, _ = start(command, subprocess.PIPE, PYTHONIOENCODING="cp1252").communicate(timeout=120)
    document = json.loads(out.decode("cp1252"))
    assert "Müller" in document["TimestampResponse"]["Certificates"][0]["SubjectName"]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[1:3]))
@pytest.mark.needs(Path("/dev/full").exists(), "writes to /dev/full")
def test_a_full_stdout_is_one_line_and_exit_code_2(command: tuple[str, ...]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        process = start(command, full)
        _, err = process.communicate(timeout=120)
    finally:
        os.close(full)
    assert process.returncode == 2
    assert b"Traceback" not in err
    assert err.splitlines()[-1].endswith(b"standard output cannot be written: No space left on device")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_pipe_that_nobody_reads_is_silent(unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        process = start(COMMANDS[-1], writing, PYTHONUNBUFFERED=unbuffered)
        _, err = process.communicate(timeout=120)
    finally:
        os.close(writing)
    assert (process.returncode, err) == (2, b"")


CLOSED = """
import os, sys
for descriptor in map(int, sys.argv.pop(1)):
    os.close(descriptor)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
"""Runs a program with descriptors closed, as `program <&- >&- 2>&-` does in a shell."""
SHOWS_DESCRIPTORS = """
import os, sys
os._exit = sys.exit  # timestamp-cli ends at once
module = __import__(sys.argv.pop(1), fromlist=["main"])
try:
    module.main()
finally:
    taken = os.open(__file__, os.O_RDONLY)
    links = [os.readlink(f"/proc/self/fd/{descriptor}") for descriptor in range(3)]
    with open("seen", "w") as seen:
        print(taken > 2, *(link == os.devnull for link in links), file=seen)
"""


@pytest.mark.needs(Path("/proc/self/fd").exists(), "reads /proc/self/fd")
@pytest.mark.parametrize("closed", ["012", "0", "2"])
@pytest.mark.parametrize(
    "program", ["tsa_core.cli.server", "tsa_core.cli.timestamp.program", "tsa_core.cli.fetch_tsa_certs"]
)
def test_closed_descriptors_lead_to_the_null_device(program: str, closed: str) -> None:
    """Else the next file that is opened gets the number, and the log is written into it."""
    Path("shows.py").write_text(SHOWS_DESCRIPTORS)
    command = [sys.executable, "-c", CLOSED, closed, "shows.py", program, "--help"]
    process = subprocess.run(command, stdin=subprocess.PIPE, capture_output=True, check=False, timeout=120)
    assert process.returncode == 0, process.stderr
    expected = ["True", *(str(str(number) in closed) for number in range(3))]
    assert Path("seen").read_text().split() == expected


@pytest.mark.parametrize(
    ("metadata", "entry_points"),
    [
        (b"Name: odd\nAuthor: J\xe9r\xf4me\n", b"[console_scripts]\nx = y:z\n"),
        (b"", b"[tsa_core.plugins]\nodd = odd.plugin\n"),
        (b"Name: odd\nSummary: \xe9\nVersion: x y\n", b"[tsa_core.plugins]\nodd = odd.plugin\n"),
    ],
)
def test_broken_metadata_of_a_foreign_distribution(tmp_path: Path, metadata: bytes, entry_points: bytes) -> None:
    folder = tmp_path / "site" / "odd-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_bytes(metadata)
    (folder / "entry_points.txt").write_bytes(entry_points)
    for arguments in (("plugins", "list"), ("--help",)):
        command = ("tsa_core.cli.server", *arguments)
        out, err = start(command, subprocess.PIPE, PYTHONPATH=str(tmp_path / "site")).communicate(timeout=120)
        assert b"Traceback" not in err
        assert out
