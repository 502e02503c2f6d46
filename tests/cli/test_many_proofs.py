"""What is a timestamp by its content, whatever it is called."""

from __future__ import annotations

from pathlib import Path

from tests.cli.timestamp_shell import CHAIN
from tsa_core.cli.timestamp.log_commands import _timestamps
from tsa_core.cli.timestamp.many.proofs import is_proof, tokens_in
from tsa_core.evidence import ArchiveTimeStamp, record_of_token
from tsa_core.protocol.timestamped_data import Layer, TimeStampedData
from tsa_core.testing import forge

FIRST = forge.token(CHAIN.signer, forge.tst_info(b"first"))
SECOND = forge.token(CHAIN.signer, forge.tst_info(b"second"))


def test_every_token_of_every_form_is_found() -> None:
    record = record_of_token(FIRST).with_timestamp(ArchiveTimeStamp(time_stamp=SECOND))
    data = TimeStampedData(layers=(Layer(token=FIRST), Layer(token=SECOND)))
    assert tokens_in(FIRST) == tokens_in(forge.reply(FIRST)) == (FIRST,)
    assert tokens_in(record.encode()) == tokens_in(data.encode()) == (FIRST, SECOND)


def test_a_refusal_and_other_data_hold_none() -> None:
    for data in (b"", b"0", b"\x30\x00", FIRST + b"#", forge.reply(status=2), CHAIN.signer.der):
        assert not is_proof(data), data


def test_a_folder_is_searched_by_content(tmp_path: Path) -> None:
    record = record_of_token(FIRST).with_timestamp(ArchiveTimeStamp(time_stamp=SECOND))
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a.ers").write_bytes(record.encode())
    (tmp_path / "anything").write_bytes(FIRST)
    (tmp_path / "c.TSR").write_bytes(b"")
    (tmp_path / "notes.txt").write_bytes(b"no timestamp")
    assert list(_timestamps(tmp_path)) == [
        (f"{tmp_path}/anything", FIRST),
        (f"{tmp_path}/below/a.ers, timestamp 1 of 2", FIRST),
        (f"{tmp_path}/below/a.ers, timestamp 2 of 2", SECOND),
        (f"{tmp_path}/c.TSR", "it is no timestamp"),
    ]
