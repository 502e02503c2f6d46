"""Verifies a protocol of a key ceremony, and says what was not checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tsa_core.api import one_line, read_file
from tsa_core.cli import console
from tsa_core.cli.keys.protocol_parts import NOT_CHECKED, verifier_of
from tsa_core.documents.ceremony.protocol import DESTROYED, MAX_OCTETS, BrokenProtocolError, Protocol
from tsa_core.paths.chains import subject_text
from tsa_core.verify import VerificationError


def read_protocol(path: Path) -> Protocol:
    """Return the protocol of a file; raises ConfigError, or ClickException for a file that is none."""
    data = read_file(path, "protocol of a key ceremony", limit=MAX_OCTETS)
    try:
        return Protocol.from_json(data)
    except BrokenProtocolError as error:
        raise click.ClickException(f"{path}: {error}") from None


def verify_protocol(path: Path, roots: Path | None) -> None:
    """Print what a protocol says and whether it is what the key signed; raises ClickException when it is not."""
    protocol = read_protocol(path)
    content = protocol.content
    faults = []
    try:
        sha256 = str(content["key"]["sha256"])
        protocol.public_key()
        if content.get("what") != DESTROYED or protocol.signature is not None:
            protocol.check_signature()
            signature = "good, by the key itself"
        else:
            signature = "none: a key that is destroyed signs nothing"
    except (BrokenProtocolError, KeyError, TypeError) as error:
        sha256, signature = "unknown", "NOT GOOD"
        faults.append(str(error) if isinstance(error, BrokenProtocolError) else "it names no key")
    what = str(content.get("what"))
    # Whoever wrote it may have left out what was not checked.
    not_checked = [*_texts(content.get("not_checked")), *NOT_CHECKED.get(what, ())]
    if protocol.signature is None:
        not_checked.append("Who wrote it: nothing signs it. Compare its SHA-256 with the one in the audit trail.")
    stamp = _timestamp(protocol, roots, faults, not_checked)
    rows = [
        ("what", one_line(what)),
        ("ended", one_line(str(content.get("ended")))),
        ("attendees", ", ".join(_attendees(content.get("attendees")))),
        ("key (SHA-256)", sha256),
        ("protocol (SHA-256)", protocol.fingerprint),
        ("signature", signature),
        ("timestamp", stamp),
    ]
    console.print_facts(("FACT", "VALUE"), [(name, _printable(value)) for name, value in rows])
    for text in dict.fromkeys(not_checked):
        console.tell(f"not checked: {_printable(text)}")
    if faults:
        raise click.ClickException("\n".join(_printable(fault) for fault in faults))


def _timestamp(protocol: Protocol, roots: Path | None, faults: list[str], not_checked: list[str]) -> str:
    """Return what is to be said of the timestamp; append what is wrong, and what was not checked."""
    if protocol.timestamp is None:
        if roots is not None:
            faults.append("it has no timestamp, and --tsa-roots asks for one")
        not_checked.append("When it was written: it has no timestamp, and its times are those of the machine's clock.")
        return "none"
    url, reply = protocol.timestamp
    if roots is None:
        not_checked.append("The timestamp: nothing says which roots to trust (--tsa-roots).")
        return f"of {url}, NOT VERIFIED"
    try:
        verified = verifier_of(roots).verify_response(reply, artifact=protocol.stamped_octets())
    except VerificationError as error:
        faults.append(f"the timestamp of {url} is not good: {one_line(error)}")
        return "NOT GOOD"
    not_checked += [f"Of the timestamp: {note.text}." for note in verified.unchecked]
    not_checked.append(f"Whether the timestamp came from {url}: it does not hold its address.")
    return f"good, of {subject_text(verified.signer_certificate)} at {verified.tst_info.gen_time:%Y-%m-%dT%H:%M:%SZ}"


def _texts(value: Any) -> list[str]:
    return [one_line(str(each)) for each in value] if isinstance(value, list) else []


def _attendees(value: Any) -> list[str]:
    found = [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
    return [f"{each.get('name')} ({each.get('role')})" for each in found]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
