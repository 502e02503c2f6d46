"""A list of files with their digests and where their timestamps are; `docs/verify/many.md` describes it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.files import read_file
from tsa_core.cli.timestamp.many.item import json_name, name_from_json, shown_name
from tsa_core.cli.timestamp.many.outcome import Outcome
from tsa_core.cli.timestamp.shown import shown_time

FORMAT: Final = "tsa-core timestamp manifest"
VERSION: Final = 1
MAX_MANIFEST_OCTETS: Final = 1 << 30
_NAMES: Final = frozenset({"Format", "Version", "Server", "Files"})


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A file in a manifest: the digest that its timestamp must be of, `NAME:HEX`, and where that is."""

    name: str
    digest: str
    location: str


def encode_manifest(outcomes: Iterable[Outcome], server: str) -> bytes:
    """Return the document for the files that have timestamps, a line for each."""
    files = ",\n".join(json.dumps(_document(outcome)) for outcome in outcomes if outcome.location is not None)
    head = json.dumps({"Format": FORMAT, "Version": VERSION, "Server": server})
    return f'{head[:-1]}, "Files": [\n{files}\n]}}\n'.encode()


def _document(outcome: Outcome) -> dict[str, Any]:
    assert outcome.location is not None and outcome.time is not None  # noqa: S101, PT018 - there is a timestamp
    return {
        **json_name(outcome.item.name),
        "Digest": outcome.digest,
        **({"Size": outcome.size} if outcome.size is not None else {}),
        "Timestamp": shown_time(outcome.time),
        **{f"Location{key.removeprefix('File')}": name for key, name in json_name(outcome.location).items()},
    }


def is_manifest(data: bytes) -> bool:
    """Say whether data begins as a manifest of ours does."""
    return data[:200].lstrip().startswith(f'{{"Format": "{FORMAT}"'.encode())


def read_manifest(name: str) -> list[Listed]:
    """Return the files in a manifest; raises UsageMistake, which says what is wrong with it."""
    data = read_file(name, MAX_MANIFEST_OCTETS)
    try:
        document = json.loads(data)
        if not isinstance(document, dict) or document.get("Format") != FORMAT:
            raise ValueError("it is no manifest of timestamps")
        if document.get("Version") != VERSION:
            raise ValueError(f"it has the version {document.get('Version')!r}; only {VERSION} is known here")
        if unknown := sorted(document.keys() - _NAMES):
            raise ValueError(f"it has {unknown[0]!r}, which is not known here")
        files = document.get("Files")
        if not isinstance(files, list):
            raise ValueError("its Files are no list")
        return _each_once([_listed(each) for each in files])
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UsageMistake(f"the manifest {name} cannot be read: {reason}") from None


def _each_once(listed: list[Listed]) -> list[Listed]:
    seen: set[str] = set()
    for each in listed:
        if each.name in seen:
            raise ValueError(f"it lists {shown_name(each.name)} twice")
        seen.add(each.name)
    return listed


def _listed(document: Any) -> Listed:
    if not isinstance(document, dict):
        raise ValueError("a file that is no object")
    name = name_from_json(document)
    located = {f"File{key.removeprefix('Location')}": value for key, value in document.items() if "Location" in key}
    digest = document.get("Digest")
    if not isinstance(digest, str):
        raise ValueError(f"{shown_name(name)} without a digest")
    return Listed(name=name, digest=digest, location=name_from_json(located))
