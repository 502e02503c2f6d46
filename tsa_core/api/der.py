"""DER for protocols that plugins speak: a strict reader of single values, and encoders.

`read(data, offset, end)` returns tag, start and end of one value's content; it raises EncodingError for what is no DER.
"""

from tsa_core.protocol.der import (
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    SET,
    dotted,
    explicit,
    octet_string,
    oid,
    read,
    sequence,
    set_of,
    tlv,
)
from tsa_core.protocol.errors import EncodingError

__all__ = [
    "OBJECT_IDENTIFIER",
    "OCTET_STRING",
    "SEQUENCE",
    "SET",
    "EncodingError",
    "dotted",
    "explicit",
    "octet_string",
    "oid",
    "read",
    "sequence",
    "set_of",
    "tlv",
]
