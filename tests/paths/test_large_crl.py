"""A CRL of a million entries: one walk, and no memory beyond its own bytes."""

from __future__ import annotations

import tracemalloc

from tests.paths.revocation_material import CHAIN, GEN_TIME, RECENTLY
from tsa_core.paths.crl_reader import CertificateList
from tsa_core.protocol import der
from tsa_core.protocol.certificate import certificate_fields
from tsa_core.testing.forged_revocation import crl, entry

ENTRIES = 200_000


class CountedBytes(bytes):
    """Bytes that count how many single octets were looked at."""

    looked_at = 0

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # the types of bytes, which it passes on
        type(self).looked_at += 1
        return super().__getitem__(index)


def large_list(*more: bytes) -> bytes:
    template = entry(0x1122334455667788, GEN_TIME, 4)
    place = template.index(bytes.fromhex("1122334455667788"))
    head, tail = template[:place], template[place + 8 :]
    entries = b"".join(head + number.to_bytes(8, "big") + tail for number in range(2**60, 2**60 + ENTRIES))
    return crl(CHAIN.intermediate, entries, *more, this_update=RECENTLY)


SERIAL = certificate_fields(CHAIN.signer.der).serial_number
ISSUER_NAME = CertificateList(crl(CHAIN.intermediate, this_update=RECENTLY)).issuer_name


def test_the_last_of_many_entries_is_found() -> None:
    listed = CertificateList(large_list(entry(CHAIN.signer, GEN_TIME, 1)))
    (found,) = listed.find(ISSUER_NAME, SERIAL)
    assert found.revocation_date == GEN_TIME
    assert listed.find(ISSUER_NAME, der.integer(2**60 + ENTRIES - 1))[0].reason is not None


def test_reading_and_searching_take_no_memory_beyond_the_bytes() -> None:
    data = large_list(entry(CHAIN.signer, GEN_TIME, 1))
    tracemalloc.start()
    try:
        assert CertificateList(data).find(ISSUER_NAME, SERIAL)
        assert tracemalloc.get_traced_memory()[1] < 1 << 16
    finally:
        tracemalloc.stop()


def test_each_entry_is_passed_once_and_an_answer_is_remembered() -> None:
    data = CountedBytes(large_list(entry(CHAIN.signer, GEN_TIME, 1)))
    listed = CertificateList(data)
    CountedBytes.looked_at = 0
    listed.find(ISSUER_NAME, SERIAL)
    assert ENTRIES < CountedBytes.looked_at <= 3 * ENTRIES
    CountedBytes.looked_at = 0
    listed.find(ISSUER_NAME, SERIAL)
    assert CountedBytes.looked_at == 0


def test_a_certificate_that_is_not_listed_needs_no_walk() -> None:
    data = CountedBytes(large_list())
    listed = CertificateList(data)
    CountedBytes.looked_at = 0
    assert listed.find(ISSUER_NAME, SERIAL) == ()
    assert CountedBytes.looked_at == 0
