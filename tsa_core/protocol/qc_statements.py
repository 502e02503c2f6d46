"""The qcStatements extension of a token (RFC 3739 3.2.6), by which it claims to be qualified (EN 319 422 9.1)."""

from __future__ import annotations

from typing import NamedTuple

from tsa_core.protocol import der, oids
from tsa_core.protocol.errors import EncodingError


class QcStatements(NamedTuple):
    """What a token claims of itself. Who signed it says so; whether it is true is in a trusted list.

    `identifiers` are those of the statements, dotted, in their order; empty when `readable` is false: then the
    extension is not a DER QCStatements.
    """

    identifiers: tuple[str, ...]
    critical: bool
    readable: bool = True

    @property
    def claims_qualified(self) -> bool:
        """Whether the token claims to be a qualified electronic timestamp: esi4-qtstStatement-1 is among them."""
        return oids.ESI4_QTST_STATEMENT_1 in self.identifiers


def read_qc_statements(value: bytes, *, critical: bool = False) -> QcStatements:
    """Return what an extension's value says; never raises, because nobody is made to understand the extension."""
    try:
        return QcStatements(tuple(_identifiers(value)), critical)
    except EncodingError:
        return QcStatements((), critical, readable=False)


def _identifiers(value: bytes) -> list[str]:
    """Return the identifiers in a DER QCStatements that fills `value`; raises EncodingError for anything else."""
    tag, offset, end = der.read(value, 0, len(value))
    if tag != der.SEQUENCE or end != len(value):
        raise EncodingError("the qcStatements are not one SEQUENCE")
    found = []
    while offset < end:
        tag, start, stop = der.read(value, offset, end)
        if tag != der.SEQUENCE:
            raise EncodingError("a statement is not a SEQUENCE")
        tag, content, after = der.read(value, start, stop)
        if tag != der.OBJECT_IDENTIFIER:
            raise EncodingError("a statement does not begin with an identifier")
        der.check_oid(value[content:after])
        if after < stop and der.read(value, after, stop)[2] != stop:
            raise EncodingError("a statement has more than one statementInfo")
        found.append(der.dotted(value[start:after]))
        offset = stop
    if not found:
        raise EncodingError("the qcStatements are empty")
    return found
