"""Lines reach their reader: all of them, soon, each in one piece."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tsa_core.logs.writer import LineWriter
from tsa_core.testing import ends_within, wait_until
from tsa_core.testing.threads import on_threads

LINES = 3000


class _Collected(logging.Handler):
    """Keeps the texts of records."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


class Reader:
    """Collects what arrives at the other end of a pipe."""

    def __init__(self) -> None:
        self.end, self.descriptor = os.pipe()
        self._data = bytearray()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while data := os.read(self.end, 65536):
            self._data += data

    def wait_for(self, count: int) -> None:
        """Return when `count` lines are there, though nothing more is written."""
        wait_until(lambda: self._data.count(b"\n") >= count, seconds=60, what=f"{count} lines arrive")

    def lines(self) -> list[str]:
        """Return everything, once all writers have gone."""
        os.close(self.descriptor)
        self._thread.join(30)
        os.close(self.end)
        return self._data.decode().splitlines()


@pytest.fixture
def reader() -> Iterator[Reader]:
    made = Reader()
    yield made
    if made._thread.is_alive():
        made.lines()


def test_a_line_is_written_within_a_moment_by_itself(reader: Reader) -> None:
    writer = LineWriter(reader.descriptor)
    for number in range(3):
        writer.add(f"{number}\n")
        reader.wait_for(number + 1)
    writer.close()
    assert reader.lines() == ["0", "1", "2"]


def test_many_threads_lose_no_line(reader: Reader) -> None:
    writer = LineWriter(reader.descriptor)
    on_threads(lambda number: writer.add(f"{number}\n"), range(LINES))
    writer.close()
    assert sorted(map(int, reader.lines())) == list(range(LINES))


def test_what_is_written_now_comes_after_what_waits(reader: Reader) -> None:
    writer = LineWriter(reader.descriptor)
    writer.add("first\n")
    writer.write("second\n")
    reader.wait_for(2)
    writer.close()
    assert reader.lines() == ["first", "second"]


def test_after_close_lines_are_still_written(reader: Reader) -> None:
    writer = LineWriter(reader.descriptor)
    writer.close()
    writer.add("late\n")
    assert reader.lines() == ["late"]


def test_lines_of_several_processes_do_not_mix_and_none_is_written_twice(reader: Reader) -> None:
    writer = LineWriter(reader.descriptor)
    writer.add("of the parent\n")
    children = []
    for name in "abc":
        child = os.fork()
        if child == 0:
            for number in range(LINES):
                writer.add(f"{name} {number} {name * 200}\n")
            writer.close()
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    writer.close()
    lines = reader.lines()
    assert lines.count("of the parent") == 1
    expected = {f"{name} {number} {name * 200}" for name in "abc" for number in range(LINES)}
    assert len(lines) == len(expected) + 1
    assert set(lines) - {"of the parent"} == expected


def test_a_slow_reader_keeps_nobody_waiting_and_loses_nothing() -> None:
    end, descriptor = os.pipe()
    writer = LineWriter(descriptor)
    for number in range(20_000):  # 2 MB fit into no pipe, and nobody reads yet
        writer.add(f"{number:0100d}\n")
    with os.fdopen(end, "rb") as stream:
        assert [int(stream.readline()) for _ in range(20_000)] == list(range(20_000))
    writer.close()
    os.close(descriptor)
    assert not writer.dropped


def test_a_file_takes_all_that_waits_in_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    write = os.write

    def noted(descriptor: int, data: bytes) -> int:
        written.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", noted)
    with (tmp_path / "log").open("ab") as file:
        writer = LineWriter(file.fileno())
        writer._texts.append("x" * 99 + "\n")  # as if it had waited since the last piece
        writer._texts.append(("y" * 99 + "\n") * 999)
        writer.write("last\n")
        writer.close()
    assert written == [100_005]
    assert (tmp_path / "log").read_bytes().splitlines()[-1] == b"last"


def test_what_nobody_reads_for_a_second_is_dropped_counted_and_told() -> None:
    end, descriptor = os.pipe()
    writer = LineWriter(descriptor)
    writer.write("x" * 100_000 + "\n")  # more than the pipe holds

    def drops() -> bool:
        writer.add("y\n")
        return writer.dropped > 0

    wait_until(drops, seconds=60, what="a line is dropped")
    kept = writer.dropped
    with ends_within(0):
        writer.flush()
        writer.add("z\n")
    assert writer.dropped == kept + 1
    set_up = logging.getLogger("tsa_core.logs.writer")
    told = _Collected()
    set_up.addHandler(told)
    try:
        with os.fdopen(end, "rb") as stream:
            assert stream.readline() == b"x" * 100_000 + b"\n"
            assert stream.readline() == b"y\n"
            wait_until(lambda: bool(told.texts), seconds=60, what="the loss is told")
            writer.close()
            os.close(descriptor)
            assert set(stream) == {b"y\n"}
    finally:
        set_up.removeHandler(told)
    assert told.texts == [f"{kept + 1} lines of the log were dropped, because nobody read them in time"]


def test_no_more_than_a_few_megabytes_wait_for_a_reader() -> None:
    end, descriptor = os.pipe()
    writer = LineWriter(descriptor)
    for _ in range(100):
        writer.add("x" * 100_000 + "\n")
        writer._format_waiting()
    assert 50 < writer.dropped < 60
    os.close(end)
    writer.close()
    assert writer.dropped == 100
    os.close(descriptor)


def test_a_reader_that_has_gone_stops_nothing() -> None:
    end, descriptor = os.pipe()
    os.close(end)
    writer = LineWriter(descriptor)
    writer.write("nobody reads this\n")
    writer.add("nor this\n")
    writer.close()
    os.close(descriptor)


def test_lines_for_a_reader_that_has_gone_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """That a line was dropped is a line of the log too, which must not be dropped, and told, over and over."""
    read_end, write_end = os.pipe()
    writer = LineWriter(write_end)
    told: list[str] = []

    def tell(text: str, count: int) -> None:
        told.append(text % count)
        writer.write(f"{told[-1]}\n")

    monkeypatch.setattr("tsa_core.logs.writer.log.warning", tell)
    os.close(read_end)
    for number in range(1, 6):
        writer.write("nobody reads this\n")
        writer.flush()
        assert writer.dropped == number
    assert told == []
    writer.close()
    os.close(write_end)


def test_a_line_that_cannot_be_made_does_not_keep_the_others(reader: Reader) -> None:
    def fail(_facts: object) -> str:
        raise ValueError("of no use")

    writer = LineWriter(reader.descriptor)
    writer.add("first\n")
    writer.add((fail, None))
    writer.add((str, "last\n"))
    writer.close()
    first, failed, last = reader.lines()
    assert (first, last) == ("first", "last")
    assert "of no use" in failed


def test_a_signal_handler_may_log_while_its_own_thread_does(reader: Reader) -> None:
    writer = LineWriter(reader.descriptor)

    def interrupted(_facts: object) -> str:
        # As a handler does that runs in the middle of the formatting.
        writer.write("from the handler\n")
        writer._format_waiting()
        return "line\n"

    def log_one() -> None:
        writer.add((interrupted, None))
        writer._format_waiting()

    thread = threading.Thread(target=log_one, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "it waits for itself"
    writer.close()
    assert sorted(reader.lines()) == ["from the handler", "line"]


def test_lines_let_go_of_their_facts_before_they_are_written(reader: Reader) -> None:
    made: list[int] = []

    def make(number: int) -> str:
        made.append(number)
        return f"{number}\n"

    writer = LineWriter(reader.descriptor)
    for number in range(100):
        writer.add((make, number))
        assert number - len(made) < 40
    writer.close()
    assert made == list(range(100))
    assert reader.lines() == [str(number) for number in range(100)]


def test_a_thread_that_was_ended_has_written_all_and_the_next_line_starts_another(reader: Reader) -> None:
    """As in uWSGI's master, which forks without telling Python."""
    others = set(threading.enumerate())

    def writing() -> set[threading.Thread]:
        return set(threading.enumerate()) - others

    writer = LineWriter(reader.descriptor)
    for number in range(3):
        writer.write(f"{number}\n")
        assert len(writing()) == 1
        writer.end_thread()
        assert writing() == set()
        reader.wait_for(number + 1)
    writer.end_thread()
    writer.close()
    assert reader.lines() == ["0", "1", "2"]


def test_an_end_that_waits_for_no_thread_loses_nothing(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that writes has taken a piece, and gets no CPU."""
    writer = LineWriter(reader.descriptor)
    monkeypatch.setattr(writer, "_wake_thread", lambda: None)
    writer._unwritten.append(b"taken\n")
    writer.add("waits\n")
    writer.write_waiting_here()
    assert reader.lines() == ["taken", "waits"]


def test_a_line_that_a_full_disk_has_torn_spoils_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = [12]
    write = os.write

    def until_full(descriptor: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = write(descriptor, data[: room[0]])
        room[0] -= taken
        return taken

    monkeypatch.setattr(os, "write", until_full)
    with (tmp_path / "log").open("ab") as file:
        writer = LineWriter(file.fileno())
        for lines in ("first\nsecond\nthird\n", "fourth\n"):
            writer.write(lines)
            writer.flush()
        room[0] = 100
        writer.write("fifth\n")
        writer.close()
    assert (tmp_path / "log").read_text().splitlines() == ["first", "second", "fifth"]
    assert writer.dropped == 3
