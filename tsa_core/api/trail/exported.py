"""A trail that was exported into a folder: whoever has it can verify it, without the sink that wrote it.

`trail.json` says what the folder is: version, the sink's name, whether the lines have a key, and for each segment its
name, chain, file and the line before its first one. The files hold the lines as they were stored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tsa_core.api.errors import ConfigError
from tsa_core.api.files import read_file
from tsa_core.api.trail.anchor import MAX_ANCHOR_OCTETS, Anchor, BrokenAnchorError
from tsa_core.api.trail.chain import MAX_LINE_OCTETS, Link, parse_link
from tsa_core.api.trail.segment import Segment
from tsa_core.api.trail.trail import Trail, UnsupportedByTrail

MANIFEST: Final = "trail.json"
_ANCHORS: Final = "anchors"
_VERSION: Final = 1
_MAX_MANIFEST_OCTETS: Final = 64 * 1_048_576


class ExportedTrail(Trail):
    """Reads what `export_trail` wrote; raises ConfigError for a folder that is not that."""

    def __init__(self, folder: Path, key: bytes | None = None) -> None:
        self._folder = folder
        self.key = key
        manifest = read_file(folder / MANIFEST, "manifest of an exported trail", limit=_MAX_MANIFEST_OCTETS)
        try:
            document = json.loads(manifest)
            if document["version"] != _VERSION:
                raise ConfigError(f"it has version {document['version']!r:.20}", path=str(folder / MANIFEST))
            self.name = str(document["sink"])
            self._has_anchors = bool(document["anchors"])
            keyed = bool(document["keyed"])
            self._segments = [self._segment(each, keyed=keyed) for each in document["segments"]]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ConfigError("it is no manifest of an exported trail", path=str(folder / MANIFEST)) from None
        if keyed and key is None:
            raise ConfigError("it was written with a key; give it with --key-file", path=str(folder))
        if not keyed and key is not None:
            raise ConfigError("it was written without a key", path=str(folder))

    def _segment(self, fields: Mapping[str, Any], *, keyed: bool) -> Segment:
        start = parse_link(fields["start"])
        path = self._folder / Path(str(fields["file"])).name
        if start is None:
            raise ValueError(fields["start"])
        return Segment(
            name=str(path),
            chain=str(fields["chain"]),
            start=start,
            begun=str(fields["begun"]),
            keyed=keyed,
            lines=lambda: _lines(path),
        )

    def segments(self) -> Sequence[Segment]:
        """Return the segments of the manifest."""
        return self._segments

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with the seals: without the sink's database, nothing else binds the chains together."""
        from tsa_core.api.trail.seals import check_seals

        yield from check_seals(self._segments)

    def heads(self) -> Mapping[str, Link]:
        """Raise UnsupportedByTrail: nothing is written to a copy."""
        raise UnsupportedByTrail("an exported trail is not written to")

    def anchors(self) -> Iterator[Anchor]:
        """Yield the exported anchors by number."""
        if not self._has_anchors:
            raise UnsupportedByTrail("the trail was exported without anchors")
        try:
            paths = sorted(each for each in (self._folder / _ANCHORS).iterdir() if each.suffix == ".json")
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigError(
                f"it cannot be read: {error.strerror or error}", path=str(self._folder / _ANCHORS)
            ) from None
        for path in paths:
            try:
                yield Anchor.from_json(read_file(path, "anchor", limit=MAX_ANCHOR_OCTETS))
            except BrokenAnchorError as error:
                raise BrokenAnchorError(f"{path}: {error}") from None


def _lines(path: Path) -> Iterator[bytes]:
    try:
        if not path.is_file():  # somebody else has made the folder, and reading a pipe would not end
            raise ConfigError("it is no file, or is missing", path=str(path))
        with path.open("rb") as stream:
            while line := stream.readline(MAX_LINE_OCTETS):
                yield line
    except OSError as error:
        raise ConfigError(f"it cannot be read: {error.strerror or error}", path=str(path)) from None


def export_trail(trail: Trail, folder: Path, *, tell: Callable[[str, int], None] = lambda _name, _lines: None) -> int:
    """Copy a trail into a new folder, and return the number of its lines; `tell` is called for each segment.

    The lines are copied as they are, whether they fit or not: `check_trail` on an ExportedTrail says so. The document
    and the replies of each anchor are there as files of their own too, for other tools. Raises ConfigError when
    something cannot be read or written; then the folder has no manifest, and is no exported trail.
    """
    try:
        folder.mkdir(mode=0o700)
        listed: list[dict[str, object]] = []
        count = 0
        for number, segment in enumerate(trail.segments(), 1):
            name = f"lines-{number:06d}.jsonl"
            lines = _write_lines(folder / name, segment.lines())
            count += lines
            listed.append(
                {
                    "name": segment.name,
                    "chain": segment.chain,
                    "file": name,
                    "start": str(segment.start),
                    "begun": segment.begun,
                    "lines": lines,
                }
            )
            tell(segment.name, lines)
        anchors = _export_anchors(trail, folder / _ANCHORS)
        document = {
            "version": _VERSION,
            "sink": trail.name,
            "exported": datetime.now(UTC).isoformat(timespec="seconds"),
            "keyed": trail.key is not None,
            "anchors": anchors is not None,
            "segments": listed,
        }
        (folder / MANIFEST).write_text(f"{json.dumps(document, indent=1)}\n", encoding="ascii")
    except OSError as error:
        where = error.filename or str(folder)
        raise ConfigError(f"it cannot be written: {error.strerror or error}", path=str(where)) from None
    return count


def _write_lines(path: Path, lines: Iterable[bytes]) -> int:
    count = 0
    with path.open("xb") as stream:
        for count, line in enumerate(lines, 1):  # noqa: B007 - the last one counts
            stream.write(line)
    return count


def _export_anchors(trail: Trail, folder: Path) -> int | None:
    """Write the anchors, and return how many there are; None for a trail that keeps none."""
    try:
        anchors = trail.anchors()
        count = 0
        folder.mkdir(mode=0o700)
        for count, anchor in enumerate(anchors, 1):  # noqa: B007 - the last one counts
            stem = f"{anchor.number:08d}"
            (folder / f"{stem}.json").write_bytes(anchor.to_json())
            (folder / f"{stem}.txt").write_bytes(anchor.document)
            for place, reply in enumerate(anchor.tokens.values(), 1):
                (folder / f"{stem}-{place}.tsr").write_bytes(reply)
    except UnsupportedByTrail:
        return None
    return count
