"""Evidence records inside of signatures: the unsigned attributes of CMS SignedData (RFC 4998 appendix A).

`id-aa-er-internal` is about the CMS object alone; `id-aa-er-external` about it and its detached content, as a data
group. The record is about the object without the attribute, octet for octet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from tsa_core.evidence.errors import EvidenceError, MalformedRecord
from tsa_core.evidence.objects import DataGroup, DataObject
from tsa_core.evidence.syntax import EvidenceRecord
from tsa_core.evidence.verdict import VerifiedRecord
from tsa_core.evidence.verifier import EvidenceVerifier
from tsa_core.paths.der_fields import Fields
from tsa_core.protocol import der, oids
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.reply import values_of

ID_AA_ER_INTERNAL: Final = "1.2.840.113549.1.9.16.2.49"
ID_AA_ER_EXTERNAL: Final = "1.2.840.113549.1.9.16.2.50"

_TYPES: Final = {der.oid(ID_AA_ER_INTERNAL): False, der.oid(ID_AA_ER_EXTERNAL): True}
_SIGNED_DATA: Final = der.oid(oids.ID_SIGNED_DATA)
_UNSIGNED: Final = 0xA1


class AttachedRecord(NamedTuple):
    """A record in a signature, and the CMS object that it is about; `external` is about the detached content, too."""

    record: EvidenceRecord
    external: bool
    covered: bytes

    def item(self, content: DataObject | None = None) -> DataObject | DataGroup:
        """Return what the record proves; raises EvidenceError when the detached content is needed and not given."""
        if not self.external:
            return self.covered
        if content is None:
            raise EvidenceError("the record is about the signature and its detached content: give the content")
        return DataGroup((self.covered, content))


def attach(cms: bytes, record: EvidenceRecord, *, external: bool = False) -> bytes:
    """Return the CMS SignedData with a record in its first SignerInfo, behind what is there.

    `record` must be about `cms` as it is, or with `external` about the group of `cms` and its content. Raises
    EvidenceError for what is no SignedData with definite lengths.
    """
    signature = _Signature.read(cms)
    name = next(encoded for encoded, is_external in _TYPES.items() if is_external is external)
    attribute = der.sequence(name, der.tlv(der.SET, record.encode()))
    return signature.with_attributes((*signature.attributes, attribute))


def attached_records(cms: bytes) -> tuple[AttachedRecord, ...]:
    """Return the records in a CMS SignedData, oldest first; raises EvidenceError or MalformedRecord.

    Each is about the object with the older records in it and without itself and the younger ones.
    """
    signature = _Signature.read(cms)
    try:
        found = [(position, *parsed) for position, each in enumerate(signature.attributes) if (parsed := _record(each))]
    except EncodingError as error:
        raise EvidenceError(f"the unsigned attributes cannot be read: {error}") from None
    found.sort(key=lambda each: each[1].timestamps[0].info.gen_time)
    records = []
    for number, (_, record, external) in enumerate(found):
        without = {position for position, *_ in found[number:]}
        kept = [each for position, each in enumerate(signature.attributes) if position not in without]
        records.append(AttachedRecord(record, external, signature.with_attributes(kept)))
    return tuple(records)


def verify_attached(
    cms: bytes, verifier: EvidenceVerifier, *, content: DataObject | None = None
) -> tuple[VerifiedRecord, ...]:
    """Verify every record in a CMS SignedData, oldest first; the signature itself is not verified.

    Raises EvidenceError when there is none, and a VerificationError for the first one that does not hold.
    """
    records = attached_records(cms)
    if not records:
        raise EvidenceError("the signature holds no evidence record")
    return tuple(verifier.verify(each.record, each.item(content)) for each in records)


def _record(attribute: bytes) -> tuple[EvidenceRecord, bool] | None:
    """Return the record in an unsigned attribute, and whether it is external; None for another attribute."""
    fields = Fields.of_sequence(attribute, "an unsigned attribute")
    external = _TYPES.get(fields.whole(der.OBJECT_IDENTIFIER, "the type of an unsigned attribute"))
    if external is None:
        return None
    values = values_of(fields.content(der.SET, "the values of an unsigned attribute"))
    if len(values) != 1:
        raise MalformedRecord("an attribute for an evidence record has not exactly one value")
    return EvidenceRecord.from_der(values[0]), external


class _Signature(NamedTuple):
    """A SignedData taken apart down to the unsigned attributes of its first signer."""

    before: tuple[bytes, ...]
    signer: tuple[bytes, ...]
    others: tuple[bytes, ...]
    attributes: tuple[bytes, ...]

    @classmethod
    def read(cls, cms: bytes) -> _Signature:
        try:
            outer = Fields.of_sequence(cms, "the CMS object")
            if outer.whole(der.OBJECT_IDENTIFIER, "the type of the CMS object") != _SIGNED_DATA:
                raise EncodingError("it is not SignedData")
            content = outer.enter(0xA0, "the content of the CMS object")
            outer.finish("the CMS object")
            signed_data = content.content(der.SEQUENCE, "SignedData")
            content.finish("the content of the CMS object")
            *before, signers = values_of(signed_data)
            signer, *others = values_of(Fields(signers, 0, len(signers)).content(der.SET, "signerInfos"))
            parts = values_of(Fields(signer, 0, len(signer)).content(der.SEQUENCE, "a SignerInfo"))
            attributes: tuple[bytes, ...] = ()
            if parts[-1][0] == _UNSIGNED:
                attributes = values_of(Fields(parts[-1], 0, len(parts[-1])).content(_UNSIGNED, "unsigned attributes"))
                parts = parts[:-1]
        except (EncodingError, ValueError, IndexError) as error:
            raise EvidenceError(f"it is no CMS SignedData in DER with a signer: {error}") from None
        return cls(tuple(before), parts, tuple(others), attributes)

    def with_attributes(self, attributes: Sequence[bytes]) -> bytes:
        """Return the object with these unsigned attributes, in this order, and everything else as it was."""
        unsigned = der.tlv(_UNSIGNED, b"".join(attributes)) if attributes else b""
        signers = der.tlv(der.SET, b"".join((der.sequence(*self.signer, unsigned), *self.others)))
        return der.sequence(_SIGNED_DATA, der.explicit(0, der.sequence(*self.before, signers)))
