"""Lines reach their reader: all of them, soon, each in one piece."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from tsa_core.logs.writer import LineWriter
from tsa_core.testing import wait_until
from tsa_core.testing.threads import on_threads

LINES = 3000


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


def test_a_slow_reader_makes_writers_wait_and_nothing_is_dropped() -> None:
    end, descriptor = os.pipe()
    writer = LineWriter(descriptor)
    done = threading.Event()

    def write() -> None:
        for number in range(20_000):
            writer.add(f"{number:0100d}\n")
        writer.close()
        os.close(descriptor)
        done.set()

    threading.Thread(target=write, daemon=True).start()
    assert not done.wait(0.3), "2 MB fit nowhere, and yet nobody waited"
    with os.fdopen(end, "rb") as stream:
        assert [int(line) for line in stream] == list(range(20_000))
    assert done.wait(60)


def test_a_reader_that_has_gone_stops_nothing() -> None:
    end, descriptor = os.pipe()
    os.close(end)
    writer = LineWriter(descriptor)
    writer.write("nobody reads this\n")
    writer.add("nor this\n")
    writer.close()
    os.close(descriptor)


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


def test_a_signal_handler_may_log_while_its_thread_writes(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, write = LineWriter(reader.descriptor), os.write

    def interrupted(descriptor: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", write)
        writer.write("from the handler\n")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", interrupted)
    thread = threading.Thread(target=writer.write, args=("line\n",), daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "it waits for itself"
    writer.close()
    assert reader.lines() == ["from the handler", "line"]


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
