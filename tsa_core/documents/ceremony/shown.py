"""A protocol as a document for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tsa_core.documents.blocks import Block, Document, Heading, Items, Paragraph, Table
from tsa_core.documents.ceremony.protocol import DESTROYED, MADE, Protocol

_TITLES = {MADE: "Protocol of making a key", DESTROYED: "Protocol of destroying a key"}


def document_of(protocol: Protocol) -> Document:
    """Return the document; of a protocol of somebody else's making, whatever it has of what a protocol has."""
    content = protocol.content
    return Document(
        title=_TITLES.get(str(content.get("what")), "Protocol of taking a key into use"),
        blocks=list(_blocks(protocol, content)),
    )


def _blocks(protocol: Protocol, content: Mapping[str, Any]) -> Iterator[Block]:
    host = _object(content, "host")
    rows = [
        ("Begun", _text(content, "begun")),
        ("Ended", _text(content, "ended")),
        ("Host", f"{_text(host, 'name')}, {_text(host, 'system')}"),
        ("Reason", _text(content, "reason")),
        ("SHA-256 of this protocol", protocol.fingerprint),
    ]
    yield Table(columns=("Fact", "Value"), rows=rows)
    yield Heading(level=2, text="Attendees")
    attendees = [(_text(each, "name"), _text(each, "role"), "") for each in _objects(content, "attendees")]
    yield Table(columns=("Name", "Role", "Signature by hand"), rows=attendees)
    yield Heading(level=2, text="Key")
    key = _object(content, "key")
    details = [(str(name), str(value)) for name, value in _object(key, "details").items()]
    facts = [
        ("Key URI, without secrets", _text(key, "uri")),
        ("Kind", _text(key, "kind")),
        ("SHA-256 of the SubjectPublicKeyInfo", _text(key, "sha256")),
        *details,
    ]
    yield Table(columns=("Fact", "Value"), rows=facts)
    for name, title in (("certificate", "Certificate"), ("request", "Certificate request")):
        if found := _object(content, name):
            yield Heading(level=2, text=title)
            yield Table(columns=("Fact", "Value"), rows=[(str(fact), str(value)) for fact, value in found.items()])
    yield Heading(level=2, text="Steps")
    steps = [(_text(each, "time"), _text(each, "step"), _text(each, "outcome")) for each in _objects(content, "steps")]
    yield Table(columns=("Time", "Step", "Outcome"), rows=steps)
    yield Heading(level=2, text="Software")
    software = [(str(name), str(version)) for name, version in _object(content, "software").items()]
    yield Table(columns=("Software", "Version"), rows=software)
    yield Heading(level=2, text="Not checked")
    yield Items(texts=[str(each) for each in content.get("not_checked") or ["nothing is said"]])
    yield Heading(level=2, text="Proof")
    if (signature := protocol.signature) is not None:
        how = f"{signature.scheme}, {signature.digest}"
        yield Paragraph(text=f"The key itself has signed this protocol ({how}): whoever wrote it had the key.")
    else:
        yield Paragraph(text="No key has signed this protocol.")
    stamped = f"It was timestamped by {protocol.timestamp[0]}." if protocol.timestamp else "It was not timestamped."
    check = "timestamp-server keys ceremony --verify FILE checks both; this text proves nothing."
    yield Paragraph(text=f"{stamped} {check}")


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return "" if value is None else str(value)


def _object(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def _objects(fields: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    value = fields.get(name)
    return (each for each in (value if isinstance(value, list) else []) if isinstance(each, dict))
