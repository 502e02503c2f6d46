"""Evidence records (RFC 4998) of files: whether some bytes are one, and what one says of a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tsa_core.cli.timestamp.many.item import Item
from tsa_core.cli.timestamp.many.reading import digest_of
from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.hashes import IMPRINT_HASHES
from tsa_core.verify.statement import check_imprint

if TYPE_CHECKING:
    from datetime import datetime

    from tsa_core.evidence import EvidenceVerifier


def is_record(data: bytes) -> bool:
    """Say whether data begins as an EvidenceRecord does, with a number, and not as a reply or a token."""
    try:
        _, start, _ = der.read(data, 0, len(data))
        return data[start] == der.INTEGER
    except (EncodingError, IndexError):
        return False


class FileDigests(Mapping[str, bytes]):
    """The digests of a file by the hashes' names; those that are not known are computed when they are asked for.

    Raises Unreadable then. A renewed record may need another hash than the one that a list of sums has.
    """

    def __init__(self, item: Item, known: Mapping[str, bytes] | None = None) -> None:
        self._item = item
        self._known = dict(known or {})
        if item.digest is not None and item.algorithm is not None:
            self._known[item.algorithm.name] = item.digest

    def __getitem__(self, name: str) -> bytes:
        if name not in self._known:
            if self._item.digest is not None or name not in IMPRINT_HASHES:
                raise KeyError(name)
            self._known[name], _ = digest_of(self._item, IMPRINT_HASHES[name])
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def check_record(data: bytes, digests: FileDigests, verifier: EvidenceVerifier | None) -> datetime:
    """Return the time of a file's record; raises a VerificationError when it is not about the file, or EvidenceError.

    Without a verifier, everything is checked but who signed the timestamps, and when the algorithms ended.
    """
    if verifier is not None:
        return verifier.verify(data, digests).gen_time
    from tsa_core.evidence import EvidenceRecord
    from tsa_core.evidence.coverage import check_coverage
    from tsa_core.evidence.objects import digests as read_digests
    from tsa_core.evidence.verifier import check_order

    record = EvidenceRecord.from_der(data)
    check_order(record)
    algorithms = tuple(chain[0].hash_algorithm for chain in record.chains)
    covered, _ = check_coverage(record, algorithms, [read_digests(digests, algorithms)], whole=False)
    infos = [check_imprint(each.token, each.root, each.algorithm, bare_token=True) for each in covered]
    return infos[0].gen_time
