"""Which files are proofs of the files beside them, by their names and by what is in them.

The name alone says nothing: `contract.pdf.p7s` is the signature of contract.pdf more often than its timestamp.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from tsa_core.cli.timestamp.files import MAX_FILE_OCTETS
from tsa_core.cli.timestamp.many.reading import read_whole
from tsa_core.cli.timestamp.many.records import is_record
from tsa_core.cli.timestamp.tokens import bare_token, without_armor
from tsa_core.cli.timestamp.whole_file import TEMPORARY
from tsa_core.protocol import der, oids
from tsa_core.protocol.errors import TsaError
from tsa_core.protocol.reply import is_token, read_reply, read_token
from tsa_core.protocol.timestamped_data import is_timestamped_data, read_timestamped_data

SUFFIXES: Final = (".tsr", ".tst", ".p7s", ".ers")
"""Endings of files that hold proofs: a reply, a bare token (two), an evidence record (RFC 4998)."""
_TST_INFO: Final = der.oid(oids.ID_CT_TST_INFO)


def is_proof(data: bytes) -> bool:
    """Say whether data is a reply with a token, a bare token or an evidence record, whatever it is of."""
    return bool(tokens_in(data))


def tokens_in(data: bytes) -> tuple[bytes, ...]:
    """Return the tokens in a reply, a bare token, an evidence record or a TimeStampedData; none in anything else."""
    try:
        if is_record(data):
            from tsa_core.evidence import EvidenceRecord

            return tuple(each.time_stamp for each in EvidenceRecord.from_der(data).timestamps)
        if is_timestamped_data(data[:32]):
            return tuple(layer.token for layer in read_timestamped_data(data).layers)
        token = read_token(data) if is_token(data) else read_reply(data).token
    except TsaError:
        return ()
    return (bare_token(data),) if token is not None and token.content_type == _TST_INFO else ()


def is_left_out(path: str, exists: Callable[[str], bool]) -> bool:
    """Say whether a file is the proof of a file beside it, or one that is being written; an empty one counts as both.

    `exists` says whether a path is there. What cannot be read is not left out, so that somebody hears of it.
    """
    base, suffix = os.path.splitext(path)
    if not (os.path.basename(path).startswith(TEMPORARY) or (suffix in SUFFIXES and exists(base))):
        return False
    try:
        data = read_whole(path, MAX_FILE_OCTETS) if os.path.isfile(path) else b""
    except FileNotFoundError:  # another run has finished with it
        return True
    except OSError:
        return False
    return not data or is_proof(without_armor(data))
