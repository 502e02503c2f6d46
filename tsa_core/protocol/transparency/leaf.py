"""The entry of a token in a log of timestamps, version 1 (docs/reference/log-entries.md).

    struct {
        uint8 version = 1;
        opaque tst_info_hash[32];
        opaque signature_hash[32];
        uint64 gen_time;
        opaque certificate_hash<1..255>;
    } TimestampEntry;

All of it can be made again from the token alone, and none of it tells what the token is about or who asked for it: the
TSTInfo has a random serial number, so that nobody finds it by trying digests.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from tsa_core.protocol import der, oids
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.reply import is_token, read_reply, read_signer_info, read_token, values_of
from tsa_core.protocol.transparency.merkle import HASH_OCTETS
from tsa_core.protocol.tstinfo_reader import read_tst_info

VERSION: Final = 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIXED_OCTETS: Final = 1 + 2 * HASH_OCTETS + 8 + 1
_SIGNING_CERTIFICATES: Final = (der.oid(oids.ID_AA_SIGNING_CERTIFICATE_V2), der.oid(oids.ID_AA_SIGNING_CERTIFICATE))


class TimestampEntry(NamedTuple):
    """What a log keeps of one token."""

    tst_info_hash: bytes
    """SHA-256 of the DER of the TSTInfo."""
    signature_hash: bytes
    """SHA-256 of the signature's octets."""
    gen_time: datetime
    """In UTC; encoded as microseconds since 1970."""
    certificate_hash: bytes
    """What the token says its signer's certificate is: certHash of the first ESSCertIDv2 (RFC 5035), else ESSCertID."""

    @property
    def microseconds(self) -> int:
        """The genTime in microseconds since 1970."""
        return (self.gen_time - _EPOCH) // timedelta(microseconds=1)

    def encode(self) -> bytes:
        """Return the entry as the log has it; raises ValueError for a genTime before 1970."""
        microseconds = self.microseconds
        if microseconds < 0 or not 1 <= len(self.certificate_hash) <= 255:
            raise ValueError("an entry has a genTime since 1970, and a certificate's hash")
        return b"".join(
            (
                bytes([VERSION]),
                self.tst_info_hash,
                self.signature_hash,
                microseconds.to_bytes(8, "big"),
                bytes([len(self.certificate_hash)]),
                self.certificate_hash,
            )
        )


def read_entry(data: bytes) -> TimestampEntry:
    """Read an entry; raises EncodingError for another version or other octets."""
    if data[:1] != bytes([VERSION]):
        raise EncodingError("the entry is not of version 1")
    length = data[_FIXED_OCTETS - 1] if len(data) >= _FIXED_OCTETS else 0
    if not length or len(data) != _FIXED_OCTETS + length:
        raise EncodingError("the entry has not the octets of its version")
    time = int.from_bytes(data[1 + 2 * HASH_OCTETS : _FIXED_OCTETS - 1], "big")
    try:
        gen_time = _EPOCH + timedelta(microseconds=time)
    except OverflowError:
        raise EncodingError("the entry's genTime is behind the year 9999") from None
    return TimestampEntry(data[1:33], data[33:65], gen_time, data[_FIXED_OCTETS:])


def entry_of(timestamp: bytes) -> TimestampEntry:
    """Return the entry of a TimeStampResp or a bare token; raises EncodingError for what is none.

    Nothing is verified. A token's fields are read as it is, signed or not.
    """
    token = read_token(timestamp) if is_token(timestamp) else read_reply(timestamp).token
    if token is None:
        raise EncodingError("the reply holds no token")
    if len(token.signers) != 1:
        raise EncodingError("the token has not one signature")
    info = read_signer_info(token.signers[0])
    return TimestampEntry(
        hashlib.sha256(token.content).digest(),
        hashlib.sha256(info.signature).digest(),
        read_tst_info(token.content).gen_time,
        _certificate_hash(info.attributes),
    )


def _certificate_hash(attributes: dict[bytes, tuple[bytes, ...]]) -> bytes:
    for name in _SIGNING_CERTIFICATES:
        for value in attributes.get(name, ())[:1]:
            try:
                certificates = values_of(_content(value))[0]
                identifier = values_of(_content(values_of(_content(certificates))[0]))
                # ESSCertIDv2 begins with an algorithm when that is not SHA-256.
                found = identifier[1] if identifier[0][0] == der.SEQUENCE else identifier[0]
                tag, start, end = der.read(found, 0, len(found))
                if tag == der.OCTET_STRING and 1 <= end - start <= 255:
                    return found[start:end]
            except (EncodingError, IndexError, ValueError):
                pass
            raise EncodingError("the token's signing-certificate attribute cannot be read")
    raise EncodingError("the token does not say which certificate signed it")


def _content(encoded: bytes) -> bytes:
    tag, start, end = der.read(encoded, 0, len(encoded))
    if tag != der.SEQUENCE:
        raise EncodingError("it is not a SEQUENCE")
    return encoded[start:end]
