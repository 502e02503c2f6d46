"""Tokens in Windows programs: the Authenticode signatures in the attribute certificate table (PE/COFF 5.9.1)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from tsa_core.extract.cms import tokens_in_cms
from tsa_core.extract.found import ExtractError, Found

_MAX_CERTIFICATES: Final = 16
_PKCS_SIGNED_DATA: Final = 2
_DIRECTORIES: Final = {0x10B: 96, 0x20B: 112}
"""Where the data directories begin in the optional header, by its magic number: PE32 and PE32+."""


def tokens_in_pe(data: bytes) -> Iterator[Found]:
    """Yield the tokens of every signature of a program; raises ExtractError."""
    offset, size = _certificate_table(data)
    end = offset + size
    for number in range(1, _MAX_CERTIFICATES + 2):
        if offset + 8 > end:
            return
        if number > _MAX_CERTIFICATES:
            raise ExtractError(f"the program has more than {_MAX_CERTIFICATES} signatures")
        length, _, kind = struct.unpack_from("<IHH", data, offset)
        if length < 8 or offset + length > end:
            raise ExtractError(f"signature {number} of the program is longer than the table that holds it")
        if kind == _PKCS_SIGNED_DATA:
            yield from tokens_in_cms(data[offset + 8 : offset + length], f"signature {number}")
        offset += -(-length // 8) * 8


def _certificate_table(data: bytes) -> tuple[int, int]:
    try:
        (header,) = struct.unpack_from("<I", data, 0x3C)
        if data[header : header + 4] != b"PE\x00\x00":
            raise ExtractError("the file begins as a Windows program, but has no PE header")
        optional = header + 24
        (magic,) = struct.unpack_from("<H", data, optional)
        if magic not in _DIRECTORIES:
            raise ExtractError(f"the program's optional header has the unknown magic number {magic:#x}")
        directories = optional + _DIRECTORIES[magic]
        (count,) = struct.unpack_from("<I", data, directories - 4)
        if count < 5:
            return 0, 0
        offset, size = struct.unpack_from("<II", data, directories + 4 * 8)
    except struct.error:
        raise ExtractError("the program ends inside of its headers") from None
    if offset + size > len(data):
        raise ExtractError("the program's table of signatures lies beyond the end of the file")
    return offset, size
