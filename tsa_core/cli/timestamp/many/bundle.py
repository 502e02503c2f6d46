"""One file with all that the verification of many timestamps needs beside the files and the trusted roots.

A JSON document; `docs/verify/many.md` describes it. What it holds carries no trust: certificates, CRLs and OCSP
responses are helpers whose signatures are checked.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.many.item import json_name, name_from_json, shown_name
from tsa_core.cli.timestamp.many.records import is_record

FORMAT: Final = "tsa-core timestamp bundle"
VERSION: Final = 1
MAX_BUNDLE_OCTETS: Final = 4 << 30
_LISTS: Final = ("Certificates", "CRLs", "OCSPResponses")
_NAMES: Final = frozenset({"Format", "Version", "Files", "LogProofs", *_LISTS})


@dataclass(kw_only=True)
class Entry:
    """A file's timestamp: `digest` is `NAME:HEX`, `token` a bare TimeStampToken or an EvidenceRecord."""

    name: str
    digest: str
    token: bytes
    timestamp: str = ""
    size: int | None = None

    def document(self) -> dict[str, Any]:
        """Return what JSON says of it."""
        return {
            **json_name(self.name),
            "Digest": self.digest,
            **({"Size": self.size} if self.size is not None else {}),
            **({"Timestamp": self.timestamp} if self.timestamp else {}),
            "EvidenceRecord" if is_record(self.token) else "Token": base64.b64encode(self.token).decode(),
        }

    @classmethod
    def from_document(cls, document: Any) -> Entry:
        """Return what `document` wrote; raises ValueError."""
        if not isinstance(document, dict):
            raise ValueError("a file that is no object")
        kind = "EvidenceRecord" if "EvidenceRecord" in document else "Token"
        name, digest = name_from_json(document), document.get("Digest")
        size, timestamp = document.get("Size"), document.get("Timestamp", "")
        if not isinstance(digest, str) or not isinstance(timestamp, str) or not isinstance(size, int | None):
            raise ValueError(f"{shown_name(name)} without a digest")
        token = _octets(document.get(kind), f"the timestamp of {shown_name(name)}")
        return cls(name=name, digest=digest, token=token, timestamp=timestamp, size=size)


@dataclass(kw_only=True)
class Bundle:
    """The timestamps of many files by name, and DER that helps to verify them."""

    entries: dict[str, Entry] = field(default_factory=dict)
    certificates: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()
    ocsp_responses: tuple[bytes, ...] = ()
    log_proofs: tuple[Any, ...] = ()
    """Room for proofs that tokens are in a log; nobody checks them yet."""

    def encode(self) -> bytes:
        """Return the document, a line for each file."""
        head = {"Format": FORMAT, "Version": VERSION}
        tail = {
            "Certificates": _texts(self.certificates),
            "CRLs": _texts(self.crls),
            "OCSPResponses": _texts(self.ocsp_responses),
            "LogProofs": list(self.log_proofs),
        }
        files = ",\n".join(json.dumps(entry.document()) for entry in self.entries.values())
        return f'{json.dumps(head)[:-1]}, "Files": [\n{files}\n],\n{json.dumps(tail)[1:]}\n'.encode()


def is_bundle(data: bytes) -> bool:
    """Say whether data begins as a bundle of ours does."""
    return data[:200].lstrip().startswith(f'{{"Format": "{FORMAT}"'.encode())


def read_bundle(name: str, data: bytes) -> Bundle:
    """Return the bundle in a file; raises UsageMistake, which says what is wrong with it."""
    try:
        document = json.loads(data)
        if not isinstance(document, dict) or document.get("Format") != FORMAT:
            raise ValueError("it is no bundle of timestamps")
        if document.get("Version") != VERSION:
            raise ValueError(f"it has the version {document.get('Version')!r}; only {VERSION} is known here")
        if unknown := sorted(document.keys() - _NAMES):
            raise ValueError(f"it has {unknown[0]!r}, which is not known here")
        entries = [Entry.from_document(each) for each in _list(document, "Files")]
        certificates, crls, responses = (
            tuple(_octets(each, f"one of {name}") for each in _list(document, name)) for name in _LISTS
        )
        bundle = Bundle(
            entries={entry.name: entry for entry in entries},
            certificates=certificates,
            crls=crls,
            ocsp_responses=responses,
            log_proofs=tuple(_list(document, "LogProofs")),
        )
        if len(bundle.entries) != len(entries):
            raise ValueError("a file stands in it twice")
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UsageMistake(f"the bundle {name} cannot be read: {reason}") from None
    return bundle


def _list(document: Mapping[str, Any], name: str) -> list[Any]:
    value = document.get(name, [])
    if not isinstance(value, list):
        raise ValueError(f"its {name} are no list")
    return value


def _octets(value: Any, what: str) -> bytes:
    try:
        if not isinstance(value, str):
            raise ValueError("it is no text")
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{what} is not base64") from None


def _texts(values: Iterable[bytes]) -> list[str]:
    return [base64.b64encode(value).decode() for value in values]
