"""Names of a token as people read them: distinguished names as RFC 4514 writes them, and general names."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

from tsa_core.paths.errors import printable
from tsa_core.paths.names import DIRECTORY_NAME, DNS_NAME, IP_ADDRESS, REGISTERED_ID, RFC822_NAME, URI, attribute_texts
from tsa_core.paths.names import general_name as read_general_name
from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError

_SHORT: Final = {
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
}
"""The attributes that have a short name (RFC 4514 3)."""


def distinguished_name(encoded: bytes) -> str:
    """Return a Name, the last RDN first (RFC 4514 2); raises EncodingError."""
    rdns = [
        "+".join(f"{_SHORT.get(der.dotted(oid), der.dotted(oid))}={_escaped(text)}" for oid, text in rdn)
        for rdn in attribute_texts(encoded)
    ]
    return printable(",".join(reversed(rdns)))


def general_name(encoded: bytes) -> str:
    """Return a GeneralName in words; its bytes in hexadecimal when they cannot be read."""
    try:
        form, value = read_general_name(encoded)
        if form == DIRECTORY_NAME:
            return distinguished_name(value)
        if form in {RFC822_NAME, DNS_NAME, URI}:
            return printable(value.decode("ascii"))
        if form == IP_ADDRESS:
            return str(ip_address(value))
        if form == REGISTERED_ID:
            return der.dotted(der.tlv(der.OBJECT_IDENTIFIER, value))
    except (EncodingError, ValueError):
        pass
    return encoded.hex()


def _escaped(text: str) -> str:
    """Return a value as RFC 4514 2.4 writes it."""
    shown = "".join(f"\\{c}" if c in '\\",+;<>' else c for c in text).replace("\0", "\\00")
    if shown[:1] in {" ", "#"}:
        shown = "\\" + shown
    return shown[:-1] + "\\ " if shown.endswith(" ") and not shown.endswith("\\ ") else shown
