"""What the sequencer knows between two steps, in files of its own that nobody else reads.

`state.json` is the tree as it is; `batch` is what is being added to it. A step writes the batch, then the tiles, then
the state. A batch whose tree is older than the state's is done with. One that is not is added again, entry for entry,
so that whatever was written of its tiles is what will be written.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from tsa_core.api import ConfigError, replace_file
from tsa_core.api.transparency import HASH_OCTETS, EncodingError

_MODE: Final = 0o600
_STATE: Final = "state.json"
_BATCH: Final = "batch"
_PUBLISHED: Final = "published.json"
_STOP: Final = "stop"
_TROUBLE: Final = "trouble"
WRITER: Final = "writer"
"""Only a directory whose public files are in a bucket has this file."""
_MAX_REASON_OCTETS: Final = 4096


@dataclass(frozen=True, kw_only=True)
class LogState:
    """The tree of what is integrated. `consumed` says how much of each journal that is."""

    origin: str
    size: int = 0
    root: bytes = b""
    newest: int = 0
    """The latest genTime, in microseconds since 1970."""
    consumed: Mapping[str, int] = field(default_factory=dict)
    stopped: str = ""
    """Why nothing is integrated any more, until an operator accepts it; empty while the log goes on."""
    accepted: int = 0
    """How often an operator has let it go on."""
    ordered: Mapping[str, int] = field(default_factory=dict)
    """How much of each journal has been compared with `newest`, where an engine takes entries one by one."""

    def encode(self) -> bytes:
        """Return the file."""
        document = {
            "version": 1,
            "origin": self.origin,
            "size": self.size,
            "root": self.root.hex(),
            "newest": self.newest,
            "consumed": dict(self.consumed),
            "stopped": self.stopped,
            "accepted": self.accepted,
            "ordered": dict(self.ordered),
        }
        return json.dumps(document, indent=1).encode()


@dataclass(frozen=True, kw_only=True)
class Published:
    """What everybody can see: the tree's size, and how much of each journal is in it."""

    size: int = 0
    consumed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Entries that follow a tree of `size` leaves, and the journals' places behind them."""

    size: int
    newest: int
    consumed: Mapping[str, int]
    entries: Sequence[bytes]

    def encode(self) -> bytes:
        """Return the file: a line of JSON, then the entries, each behind its length."""
        head = {"version": 1, "size": self.size, "newest": self.newest, "consumed": dict(self.consumed)}
        entries = (part for entry in self.entries for part in (len(entry).to_bytes(2, "big"), entry))
        return json.dumps(head).encode() + b"\n" + b"".join(entries)


@dataclass(frozen=True)
class Trouble:
    """Why the process that integrates does not get on; empty when it does."""

    reason: str = ""
    conflict: bool = False
    """Whether another server writes the log, so that no token may leave."""


class StateFiles:
    """Reads and writes both files; OSError when that fails, ConfigError for files that are not ours."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, origin: str) -> LogState:
        """Return the state; a new one where nothing was written yet."""
        path = self._folder / _STATE
        try:
            document = _document(path.read_bytes(), path)
        except FileNotFoundError:
            return LogState(origin=origin)
        try:
            root = bytes.fromhex(document["root"])
            state = LogState(
                origin=document["origin"],
                size=int(document["size"]),
                root=root,
                newest=int(document["newest"]),
                consumed={str(name): int(end) for name, end in document["consumed"].items()},
                stopped=str(document["stopped"]),
                accepted=int(document["accepted"]),
                ordered={str(name): int(end) for name, end in document.get("ordered", {}).items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise _damaged(path) from None
        if len(root) != (HASH_OCTETS if state.size else 0):
            raise _damaged(path)
        if state.origin != origin:
            raise ConfigError(
                f"the directory holds the log {state.origin}, and this is {origin}; a log has a directory of its own",
                path="audit.tokenlog.directory",
            )
        return state

    def write(self, state: LogState) -> None:
        """Replace the state."""
        replace_file(self._folder / _STATE, state.encode(), mode=_MODE)

    def ask_to_stop(self, reason: str) -> None:
        """Let the sequencer, in whatever process it is, stop the log."""
        replace_file(self._folder / _STOP, reason.encode(), mode=_MODE)

    def read_wish_to_stop(self) -> str:
        """Return why a process asked for a stop; empty when none did."""
        try:
            return (self._folder / _STOP).read_bytes()[:_MAX_REASON_OCTETS].decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def forget_stop(self) -> None:
        """Take back what processes asked for."""
        (self._folder / _STOP).unlink(missing_ok=True)

    def writer(self) -> str:
        """Return this directory's random name, made when it is first asked for, by whoever holds the lock."""
        if not (name := self.read_writer()):
            name = secrets.token_hex(8)
            replace_file(self._folder / WRITER, name.encode(), mode=_MODE)
        return name

    def read_writer(self) -> str:
        """Return this directory's random name, empty when it has none."""
        try:
            return (self._folder / WRITER).read_text(encoding="ascii")
        except FileNotFoundError:
            return ""
        except UnicodeDecodeError:
            raise _damaged(self._folder / WRITER) from None

    def tell_trouble(self, trouble: Trouble) -> None:
        """Let all processes know why the one that integrates does not get on; with none, that it does."""
        if trouble.reason:
            replace_file(self._folder / _TROUBLE, json.dumps({"version": 1, **asdict(trouble)}).encode(), mode=_MODE)
        else:
            (self._folder / _TROUBLE).unlink(missing_ok=True)

    def read_trouble(self) -> Trouble:
        """Return what was told last."""
        path = self._folder / _TROUBLE
        try:
            document = _document(path.read_bytes(), path)
            return Trouble(str(document["reason"]), conflict=bool(document["conflict"]))
        except FileNotFoundError:
            return Trouble()
        except KeyError:
            raise _damaged(path) from None

    def read_batch(self) -> Batch | None:
        """Return what was written last, whether it was added to the tree or not."""
        path = self._folder / _BATCH
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        head, _, rest = data.partition(b"\n")
        document = _document(head, path)
        entries = []
        place = 0
        while place < len(rest):
            end = place + 2 + int.from_bytes(rest[place : place + 2], "big")
            entries.append(rest[place + 2 : end])
            place = end
        try:
            if place != len(rest):
                raise EncodingError("the last entry is cut off")
            consumed = {str(name): int(end) for name, end in document["consumed"].items()}
            return Batch(size=int(document["size"]), newest=int(document["newest"]), consumed=consumed, entries=entries)
        except (KeyError, TypeError, ValueError, AttributeError, EncodingError):
            raise _damaged(path) from None

    def read_published(self) -> Published:
        """Return what is published."""
        path = self._folder / _PUBLISHED
        try:
            document = _document(path.read_bytes(), path)
            consumed = {str(name): int(end) for name, end in document["consumed"].items()}
            return Published(size=int(document["size"]), consumed=consumed)
        except FileNotFoundError:
            return Published()
        except (KeyError, TypeError, ValueError, AttributeError):
            raise _damaged(path) from None

    def write_published(self, published: Published) -> None:
        """Write down what is published."""
        document = {"version": 1, "size": published.size, "consumed": dict(published.consumed)}
        replace_file(self._folder / _PUBLISHED, json.dumps(document).encode(), mode=_MODE)

    def write_batch(self, batch: Batch) -> None:
        """Write down what is to be added next."""
        replace_file(self._folder / _BATCH, batch.encode(), mode=_MODE)


def _document(data: bytes, path: Path) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError:
        raise _damaged(path) from None
    if not isinstance(document, dict) or document.get("version") != 1:
        raise _damaged(path)
    return document


def _damaged(path: Path) -> ConfigError:
    return ConfigError(
        "the file is damaged, or of another version; restore it from a backup, together with the log's other files",
        path=str(path),
    )
