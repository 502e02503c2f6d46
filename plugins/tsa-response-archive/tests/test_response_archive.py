"""The archive: every token is there, whole, under its serial number, and is found again."""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
import threading
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from asn1crypto import tsp
from click.testing import CliRunner, Result

from tsa_core.api import ConfigError, HealthStatus, ResponseProcessor, TsaError, UnavailableError
from tsa_core.testing import (
    FakeSigner,
    IssuedToken,
    ProviderContract,
    ResponseProcessorContract,
    check_with_openssl,
    issue_token,
    on_threads,
    sample_draft,
    sample_request,
)
from tsa_response_archive import plugin as archive_plugin
from tsa_response_archive.options import ArchiveOptions
from tsa_response_archive.store import TokenStore


def open_archive(directory: Path, **options: Any) -> ResponseProcessor:
    [provider] = archive_plugin.tsa_response_processors()
    return provider.open(ArchiveOptions(directory=directory, **options))


def load_command() -> click.Command:
    [command] = archive_plugin.tsa_commands()
    assert command.name == "archive"
    return command.load()


def find(*arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(load_command(), ["find", *arguments], env={"TSA_CONFIG": "", **variables})


@pytest.fixture
def archived(tmp_path: Path) -> IssuedToken:
    """Issue a token through the archive in tmp_path/archive."""
    return issue_token(FakeSigner(), tmp_path, processors=[open_archive(tmp_path / "archive")])


def facts(token: IssuedToken) -> tuple[int, bytes]:
    content = tsp.TimeStampResp.load(token.response)["time_stamp_token"]["content"]["encap_content_info"]["content"]
    return content.parsed["serial_number"].native, content.parsed["message_imprint"]["hashed_message"].native


class TestArchiveProvider(ProviderContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return archive_plugin

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        return {"directory": "/var/lib/tsa/archive", "required": False}


class TestArchiveProcessor(ResponseProcessorContract):
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return archive_plugin

    @pytest.fixture
    def options(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"directory": str(tmp_path / "archive")}

    @pytest.fixture
    def failing_processor(self, tmp_path: Path) -> ResponseProcessor:
        return broken_archive(tmp_path / "broken")


def broken_archive(directory: Path, **options: Any) -> ResponseProcessor:
    """Return an archive whose directory has become a file since it was opened; root cannot write to that either."""
    processor = open_archive(directory, **options)
    directory.rmdir()
    directory.write_text("in the way")
    return processor


# -- keeping --------------------------------------------------------------------------------------------------------


def test_file_is_the_reply_under_its_serial_number(archived: IssuedToken, tmp_path: Path) -> None:
    serial_number, _ = facts(archived)
    name = f"{serial_number:040x}"
    path = tmp_path / "archive" / "serials" / name[:2] / name[2:4] / f"{name}.tsr"
    assert path.read_bytes() == archived.response
    check_with_openssl(archived, tmp_path)


def test_digest_leads_to_the_same_file(archived: IssuedToken, tmp_path: Path) -> None:
    serial_number, digest = facts(archived)
    name = digest.hex()
    link = tmp_path / "archive" / "digests" / name[:2] / name[2:4] / name / f"{serial_number:040x}.tsr"
    assert link.is_symlink()
    assert link.read_bytes() == archived.response


def test_archive_can_be_moved_as_a_whole(archived: IssuedToken, tmp_path: Path) -> None:
    moved = (tmp_path / "archive").rename(tmp_path / "elsewhere")
    [path] = TokenStore(moved).find_digest(facts(archived)[1])
    assert path.read_bytes() == archived.response
    [link] = (moved / "digests").glob("*/*/*/*")
    assert link.read_bytes() == archived.response


def test_small_serial_numbers_are_padded(tmp_path: Path) -> None:
    assert TokenStore(tmp_path).serial_path(0x5A).name == f"{'0' * 38}5a.tsr"


def test_nobody_else_may_write(archived: IssuedToken, tmp_path: Path) -> None:
    modes = {stat.S_IMODE(path.lstat().st_mode) for path in tmp_path.rglob("archive/**/*") if not path.is_symlink()}
    assert not any(mode & (stat.S_IWGRP | stat.S_IRWXO) for mode in modes)


def test_replies_of_many_threads_are_all_kept(tmp_path: Path) -> None:
    processor = open_archive(tmp_path, sync=False)
    drafts = [sample_draft(serial_number=number + 1) for number in range(200)]
    on_threads(lambda draft: processor.process(b"%d" % draft.serial_number, draft), drafts)
    store = TokenStore(tmp_path)
    assert [path.read_bytes() for path in store.find_digest(drafts[0].request.digest)] == [
        b"%d" % number for number in range(1, 201)
    ]
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_two_archives_may_share_a_directory(tmp_path: Path) -> None:
    first, second = open_archive(tmp_path), open_archive(tmp_path)
    first.process(b"1", sample_draft(serial_number=1))
    second.process(b"2", sample_draft(serial_number=2))
    assert len(list(TokenStore(tmp_path).find_digest(sample_request().digest))) == 2


def test_file_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    store = TokenStore(tmp_path)
    path = store.serial_path(7)
    fsync = os.fsync

    def look(descriptor: int) -> None:
        fsync(descriptor)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            seen.append([entry.name for entry in path.parent.iterdir()])

    monkeypatch.setattr(os, "fsync", look)
    store.add(7, b"\0" * 32, b"reply")
    # The data were on the disk while the file had its temporary name only.
    assert seen == [[f".{path.name}.{os.getpid()}"]]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.needs(Path("/proc/self/fd").is_dir(), "tells by /proc what a descriptor is")
def test_file_and_folders_are_synced_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(os.path.relpath(Path(f"/proc/self/fd/{descriptor}").readlink(), tmp_path))

    store = TokenStore(tmp_path)
    store.add(1, b"\0" * 32, b"makes the folders")
    monkeypatch.setattr(os, "fsync", record)
    path = store.add(2, b"\0" * 32, b"reply")
    folder = os.path.relpath(path.parent, tmp_path)
    assert synced == [
        f"{folder}/.{path.name}.{os.getpid()}",
        folder,
        os.path.relpath(store.digest_folder(b"\0" * 32), tmp_path),
    ]


def test_without_sync_the_disk_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise AssertionError("fsync was called")

    monkeypatch.setattr(os, "fsync", fail)
    open_archive(tmp_path / "archive", sync=False).process(b"reply", sample_draft())


# -- failing --------------------------------------------------------------------------------------------------------


def test_reply_that_cannot_be_kept_is_withheld(tmp_path: Path) -> None:
    with pytest.raises(TsaError, match=r"the archive could not keep the token 0*5a5a: Not a directory; the reply is"):
        broken_archive(tmp_path / "broken").process(b"reply", sample_draft())


def test_reply_that_need_not_be_kept_leaves_with_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        assert broken_archive(tmp_path / "broken", required=False).process(b"reply", sample_draft()) == b"reply"
    assert "request sample: the archive could not keep the token" in caplog.text


def full(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processor = open_archive(tmp_path)

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / "serials" / "00" / "00").mkdir(parents=True)
    with pytest.raises(TsaError, match="No space left on device"):
        processor.process(b"reply", sample_draft())
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_full_disk_is_seen_without_a_reply_and_so_is_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processor = open_archive(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert processor.health() == HealthStatus(
            healthy=False, reason="the archive cannot keep tokens: No space left on device"
        )
        assert not list(tmp_path.iterdir())
        with pytest.raises(UnavailableError, match="No space left on device; make room there"):
            open_archive(tmp_path)
    assert processor.health() == HealthStatus(healthy=True)
    assert not list(tmp_path.iterdir())


def test_no_file_is_made_while_replies_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processor = open_archive(tmp_path)
    processor.process(b"reply", sample_draft())
    monkeypatch.setattr(TokenStore, "probe", None)
    assert processor.health() == HealthStatus(healthy=True)


def test_a_probe_that_a_killed_process_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / f".probe-{os.getpid()}-{threading.get_ident()}").write_text("left behind")
    assert open_archive(tmp_path).health() == HealthStatus(healthy=True)
    assert not list(tmp_path.iterdir())


def test_tokens_that_leave_without_being_kept_are_one_line_and_a_count(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    processor = broken_archive(tmp_path / "broken", required=False)
    for number in range(1, 101):
        processor.process(b"reply", sample_draft(serial_number=number))
    assert len(caplog.records) == 1
    assert processor.health() == HealthStatus(healthy=True, reason="tokens leave without being kept: Not a directory")
    (tmp_path / "broken").unlink()
    (tmp_path / "broken").mkdir()
    assert processor.health() == HealthStatus(healthy=True)
    assert caplog.messages[1:] == ["the archive can keep tokens again; 100 left without being kept"]


def test_token_is_never_overwritten(tmp_path: Path) -> None:
    processor = open_archive(tmp_path)
    processor.process(b"first", sample_draft())
    with pytest.raises(TsaError, match="a serial number was used twice"):
        processor.process(b"second", sample_draft())
    [path] = TokenStore(tmp_path).find_serial(sample_draft().serial_number)
    assert path.read_bytes() == b"first"


def test_reader_never_sees_half_a_token(tmp_path: Path) -> None:
    store, body = TokenStore(tmp_path, sync=False), b"x" * 100_000
    done = threading.Event()
    halves: list[int] = []

    def read() -> None:
        while not done.is_set():
            halves.extend(
                len(p.read_bytes()) for p in tmp_path.glob("serials/*/*/[!.]*") if p.stat().st_size != 100_000
            )

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(50):
        store.add(number, b"\0" * 32, body)
    done.set()
    reader.join()
    assert halves == []


def test_directory_that_cannot_be_made_stops_the_server(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"response\.archive\.directory: .* cannot be used: Not a directory; make it"):
        open_archive(tmp_path / "file" / "archive")


# -- finding --------------------------------------------------------------------------------------------------------


def test_find_by_digest_and_serial_number(archived: IssuedToken, tmp_path: Path) -> None:
    serial_number, digest = facts(archived)
    directory = str(tmp_path / "archive")
    ways = [
        ("--digest", digest.hex()),
        ("--digest", digest.hex(":").upper()),
        ("--serial", str(serial_number)),
        ("--serial", hex(serial_number)),
        ("--serial", f"{serial_number:040X}"),
    ]
    for way in ways:
        result = find("--directory", directory, *way)
        assert result.exit_code == 0, result.output
        fields = result.output.rstrip("\n").split("\t")
        assert fields[0] == f"{serial_number:040x}"
        assert fields[2:5] == ["1.3.6.1.4.1.57264.2", "sha256", digest.hex()]
        assert Path(fields[5]).read_bytes() == archived.response


def test_find_prints_json(archived: IssuedToken, tmp_path: Path) -> None:
    serial_number, digest = facts(archived)
    result = find("--directory", str(tmp_path / "archive"), "--digest", digest.hex(), "--json")
    [token] = json.loads(result.output)
    assert token["serial"] == f"{serial_number:040x}"
    assert token["digest"] == digest.hex()
    assert token["time"].endswith("Z")


def test_find_takes_the_directory_from_the_configuration(archived: IssuedToken, tmp_path: Path) -> None:
    config = tmp_path / "tsa.toml"
    config.write_text('[response.archive]\ndirectory = "archive"\n')
    digest = facts(archived)[1].hex()
    assert find("--config", str(config), "--digest", digest).exit_code == 0
    assert find("--digest", digest, TSA_CONFIG=str(config)).exit_code == 0
    assert find("--digest", digest, TSA_RESPONSE__ARCHIVE__DIRECTORY=str(tmp_path / "archive")).exit_code == 0


def test_find_goes_past_what_others_have_put_there(archived: IssuedToken, tmp_path: Path) -> None:
    serial_number, digest = facts(archived)
    folder = TokenStore(tmp_path / "archive").digest_folder(digest)
    for name in ("README", ".DS_Store", "1.tsr", f"{1:040x}.tsr"):
        (folder / name).write_text("")
    (folder / f"{2:040x}.tsr").symlink_to(f"{2:040x}.tsr")
    result = find("--directory", str(tmp_path / "archive"), "--digest", digest.hex(), "--json")
    assert [token["serial"] for token in json.loads(result.output)] == [f"{serial_number:040x}"]


def test_nothing_found_is_exit_code_1(archived: IssuedToken, tmp_path: Path) -> None:
    for way in (("--digest", "00" * 32), ("--serial", "1")):
        result = find("--directory", str(tmp_path / "archive"), *way)
        assert result.exit_code == 1
        assert "there is no such token in" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either --serial or --digest"),
        (("--serial", "1", "--digest", "00" * 32), "give either --serial or --digest"),
        (("--serial", "1"), "say where the archive is"),
        (("--serial", "xyz"), "is not a serial number"),
        (("--serial", "-1"), "is not a serial number"),
        (("--digest", "zz"), "is not a digest"),
        (("--digest", "00"), "is not a digest: it has 1 bytes"),
    ],
)
def test_mistakes_are_usage_errors(arguments: tuple[str, ...], message: str) -> None:
    result = find(*arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_configuration_without_an_archive_is_said(tmp_path: Path) -> None:
    config = tmp_path / "tsa.toml"
    config.write_text("[response]\n")
    os.mkfifo(tmp_path / "fifo")
    for path, message in (
        (config, "no [response.archive] directory"),
        (tmp_path / "missing", "No such file"),
        (tmp_path / "fifo", "it is a FIFO that nobody writes to"),
    ):
        error = find("--config", str(path), "--serial", "1").exception
        assert isinstance(error, ConfigError)
        assert message in str(error)


def test_damaged_file_is_said(archived: IssuedToken, tmp_path: Path) -> None:
    serial_number, _ = facts(archived)
    [path] = TokenStore(tmp_path / "archive").find_serial(serial_number)
    path.write_bytes(archived.response[:100])
    error = find("--directory", str(tmp_path / "archive"), "--serial", str(serial_number)).exception
    assert isinstance(error, ConfigError)
    assert "the file is damaged" in str(error)
