"""A FIFO in place of a file, which hangs as a file system does whose server is gone: one line within a time limit."""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr, TypeAdapter

from tsa_core.api import ConfigError, files, key_file, read_file
from tsa_core.api.errors import UnavailableError
from tsa_core.api.fields import Secret
from tsa_core.testing import wait_until


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "chain.pem"
    os.mkfifo(path)
    return path


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FILE_SECONDS", 0.2)


@contextmanager
def writing(fifo: Path) -> Iterator[int]:
    """Somebody has opened the FIFO to write to it."""
    descriptor = os.open(fifo, os.O_RDWR)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "read-file"]


def read_key(path: Path) -> bytes:
    with key_file(path, "private key", limit=100) as data:
        return bytes(data)


def test_fifo_that_nobody_writes_to_is_refused_at_once(fifo: Path) -> None:
    with pytest.raises(ConfigError, match=r"the certificate chain cannot be read: it is a FIFO that nobody writes to$"):
        read_file(fifo, "certificate chain", limit=100)
    with pytest.raises(ConfigError, match="it is a FIFO that nobody writes to"):
        read_key(fifo)


@pytest.mark.usefixtures("short")
def test_fifo_whose_writer_is_silent_is_given_up(fifo: Path) -> None:
    with writing(fifo):
        with pytest.raises(UnavailableError, match=r"nothing came within 0.2 s; is it a FIFO, or does its file system"):
            read_file(fifo, "certificate chain", limit=100)
        with pytest.raises(UnavailableError, match="nothing came within"):
            read_key(fifo)
        assert len(readers()) == 2
    wait_until(lambda: not readers(), seconds=20, what="the threads end with their FIFO")


@pytest.mark.usefixtures("short")
def test_key_that_comes_too_late_is_overwritten(fifo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rooms: list[bytearray] = []

    def noted(size: int = 0) -> bytearray:
        rooms.append(bytearray(size))
        return rooms[-1]

    monkeypatch.setattr(files, "bytearray", noted, raising=False)
    with writing(fifo) as descriptor:
        with pytest.raises(UnavailableError):
            read_key(fifo)
        os.write(descriptor, b"secret")
    wait_until(lambda: not readers(), seconds=20, what="the thread has read it")
    assert [bytes(room) for room in rooms if room] == [bytes(101)]


def test_pipe_that_a_program_writes_to_is_read_to_its_end() -> None:
    """As a shell gives it: serve --certificate-chain-path <(program)."""
    ends = os.pipe()
    path = Path(f"/dev/fd/{ends[0]}")

    def write() -> None:
        for part in (b"first ", b"second"):
            os.write(ends[1], part)
            threading.Event().wait(0.01)
        os.close(ends[1])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert read_file(path, "certificate chain", limit=100) == b"first second"
    finally:
        writer.join()
        os.close(ends[0])


# -- keys that others may read ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "owner", "group", "warned"),
    [
        (0o600, 1000, 1000, None),
        (0o400, 1000, 1000, None),
        (0o640, 1000, 1000, "600"),
        (0o604, 1000, 1000, "600"),
        (0o440, 0, 1000, None),  # Kubernetes: root's, with the group of fsGroup
        (0o640, 0, 1000, None),  # root's, and the server's group may read it
        (0o640, 0, 1001, "600"),
        (0o444, 0, 1000, "440"),
        (0o460, 0, 1000, "440"),
    ],
)
def test_key_that_others_may_read_is_warned_of(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    mode: int,
    owner: int,
    group: int,
    warned: str | None,
) -> None:
    assert warnings_of(mode, owner, group, user=1000, monkeypatch=monkeypatch, caplog=caplog) == warned


@pytest.mark.parametrize(
    ("mode", "group", "warned"),
    [
        (0o600, 0, None),
        (0o640, 900, None),
        (0o640, 0, None),
        (0o644, 900, "640"),
        (0o644, 0, "600"),
        (0o660, 900, "640"),
    ],
)
def test_root_is_not_told_to_take_the_key_from_the_group_of_the_service(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, mode: int, group: int, warned: str | None
) -> None:
    """`init --for systemd`, `check` and `renew` run as root; the service reads root:tsa, mode 0640."""
    assert warnings_of(mode, 0, group, user=0, monkeypatch=monkeypatch, caplog=caplog) == warned


def warnings_of(
    mode: int, owner: int, group: int, *, user: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> str | None:
    """Return the mode that somebody is told to give such a file, None when nothing is said."""
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(os, "getegid", lambda: user)
    monkeypatch.setattr(os, "getgroups", lambda: [user])
    found = os.stat_result((stat.S_IFREG | mode, 1, 1, 1, owner, group, 6, 0, 0, 0))
    with caplog.at_level(logging.WARNING):
        files._warn_of_readers(found, "private key", Path("/etc/tsa/tsa.key"))
    if not caplog.records:
        return None
    [record] = caplog.records
    start = f"the private key /etc/tsa/tsa.key is open to other users (mode {mode:04o}); chmod "
    assert record.getMessage().startswith(start)
    return record.getMessage().removeprefix(start).split()[0]


def test_group_that_is_not_the_servers_is_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(b"secret")
    path.chmod(0o440)
    group = path.stat().st_gid
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    monkeypatch.setattr(os, "getegid", lambda: group + 1)
    monkeypatch.setattr(os, "getgroups", lambda: [group + 2])
    read_key(path)
    assert "is open to other users (mode 0440); chmod 600" in caplog.text


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o644, True)])
def test_a_secret_in_a_file_that_others_may_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, warned: bool
) -> None:
    path = tmp_path / "password"
    path.write_text("hunter2")
    path.chmod(mode)
    secret: SecretStr = TypeAdapter(Secret).validate_python({"file": str(path)})
    assert secret.get_secret_value() == "hunter2"
    expected = [f"the secret {path} is open to other users (mode 0644); chmod 600 {path}"] if warned else []
    assert [record.getMessage() for record in caplog.records] == expected
