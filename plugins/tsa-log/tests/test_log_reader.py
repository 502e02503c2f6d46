"""A log that any web server serves, read by the client: what is in it is found; absence is told from damage."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tsa_core.api.transparency import Tile, TimestampEntry, read_entry
from tsa_core.client.deadline import Deadline
from tsa_core.client.log_monitor import Seen, look
from tsa_core.client.log_reader import LogReader, LogUnusable, NotInLog

from .logs import LOG_KEY, START, LocalLog, checkpoint, entry

ENTRIES = [entry(number, after=timedelta(seconds=number)) for number in range(1000)]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Print nothing."""


class LikeS3(Quiet):
    """Answers 403 where there is no file, as S3 does when readers may not list the bucket."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        super().send_error(403 if code == 404 else code, message, explain)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of a thousand entries, a second apart, all of which were published today."""
    log = LocalLog(tmp_path_factory.mktemp("log"))
    for first in range(0, len(ENTRIES), 100):
        log.journal.store(ENTRIES[first : first + 100])
        log.run()
    log.close()
    return log.public


@pytest.fixture
def public(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "public"))


@pytest.fixture(params=[Quiet, LikeS3], ids=["404", "403"])
def reader(request: pytest.FixtureRequest, public: Path) -> Iterator[LogReader]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(request.param, directory=str(public)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with Deadline(120) as deadline:
        yield LogReader(f"http://127.0.0.1:{server.server_port}", [LOG_KEY.key], deadline=deadline)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("number", [0, 1, 255, 256, 511, 512, 700, 999])
def test_an_entry_is_found_though_its_checkpoints_came_late(reader: LogReader, public: Path, number: int) -> None:
    """Witnesses were away, for example: the entry is in the log all the same, and the newest checkpoint covers it."""
    proof = reader.prove(read_entry(ENTRIES[number]))
    assert proof.index == number
    assert proof.proves(ENTRIES[number])
    assert proof.signed.checkpoint == checkpoint(public).checkpoint


def test_a_partial_tile_that_is_gone_is_read_from_the_full_one(reader: LogReader, public: Path) -> None:
    part = Tile(0, 0, 200)
    assert not (public / part.path).exists()
    assert reader.tile(part) == (public / part.whole.path).read_bytes()[: 200 * 32]
    assert reader.bundle(0, 200) == ENTRIES[:200]


@pytest.mark.parametrize(
    "gen_time",
    [
        START + timedelta(seconds=300),
        START - timedelta(days=1),
        START + timedelta(days=1),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    ],
    ids=["between", "before", "behind", "first year", "1969", "last year"],
)
def test_what_is_not_there_is_not_in_the_log(reader: LogReader, gen_time: datetime) -> None:
    absent = TimestampEntry(bytes(32), bytes(32), gen_time, bytes(32))
    with pytest.raises(NotInLog, match="not in this log, or not yet"):
        reader.prove(absent)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("tile/0/001", bytes(8192)),
        ("tile/0/001", b"short"),
        ("tile/entries/001", b"\0\1"),
        ("checkpoint", b"nothing"),
    ],
    ids=["wrong tile", "short tile", "damaged bundle", "no checkpoint"],
)
def test_damage_is_not_taken_for_absence(reader: LogReader, public: Path, name: str, data: bytes) -> None:
    (public / name).write_bytes(data)
    with pytest.raises(LogUnusable) as caught:
        reader.prove(read_entry(ENTRIES[300]))
    assert not isinstance(caught.value, NotInLog)


@pytest.mark.parametrize("most", [100, 256, 300, 999, 1000])
def test_a_long_log_is_looked_at_in_portions(reader: LogReader, public: Path, most: int) -> None:
    seen, indexes = Seen(), []
    for _ in range(-(-len(ENTRIES) // most)):
        found = look(reader, seen, now=datetime.now(UTC), each=lambda index, _: indexes.append(index), most=most)
        assert found.behind == (found.seen.size < len(ENTRIES))
        assert found.entries == found.seen.size - seen.size <= most
        seen = found.seen
    assert indexes == list(range(len(ENTRIES)))
    assert seen.root == checkpoint(public).checkpoint.root


def test_entries_of_another_tree_are_found_in_their_portion(reader: LogReader, public: Path) -> None:
    """The others follow from what the log signed, and would not show it before the last one is read."""
    bundle = public / "tile/entries/001"
    bundle.write_bytes(bundle.read_bytes().replace((300).to_bytes(32, "big"), (301).to_bytes(32, "big")))
    first = look(reader, Seen(), now=datetime.now(UTC), most=256)
    assert first.behind
    with pytest.raises(LogUnusable, match="its entries are not those of the tree that it signed"):
        look(reader, first.seen, now=datetime.now(UTC), most=256)
