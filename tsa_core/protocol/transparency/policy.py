"""Whose signatures make a checkpoint count: logs, witnesses, groups and a quorum (C2SP tlog-policy)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.transparency.note import SignatureType, VerifierKey, parse_verifier_key

MAX_POLICY_OCTETS: Final = 1 << 20
MAX_MEMBERS: Final = 256
"""Logs, witnesses and groups together."""
NO_QUORUM: Final = "none"
_FORBIDDEN: Final = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_COSIGNERS: Final = frozenset({SignatureType.COSIGNATURE_ED25519, SignatureType.COSIGNATURE_ML_DSA_44})


class Member(NamedTuple):
    """A log or a witness: its name in the policy, its key, and where it is; `url` is empty when not said."""

    name: str
    key: VerifierKey
    url: str = ""


class Group(NamedTuple):
    """Names of which at least `threshold` must have witnessed."""

    threshold: int
    members: tuple[str, ...]


class LogPolicy(NamedTuple):
    """What a checkpoint needs in order to count.

    `quorum` names a witness or a group, or is `none`.
    """

    logs: tuple[Member, ...]
    witnesses: dict[str, Member]
    groups: dict[str, Group]
    quorum: str

    def satisfied_by(self, witnessed: Callable[[VerifierKey], bool]) -> bool:
        """Say whether the witnesses for whose keys `witnessed` is true are a quorum."""
        if self.quorum == NO_QUORUM:
            return True
        # A group names only what stands before it, so that one pass suffices.
        done = {name: witnessed(witness.key) for name, witness in self.witnesses.items()}
        for name, group in self.groups.items():
            done[name] = sum(done[member] for member in group.members) >= group.threshold
        return done[self.quorum]

    @property
    def wants(self) -> str:
        """The quorum in words."""
        if self.quorum == NO_QUORUM:
            return "no witness"
        if (group := self.groups.get(self.quorum)) is None:
            return f"the witness {self.quorum}"
        return f"{group.threshold} of {', '.join(group.members)}"


def threshold_policy(logs: Iterable[VerifierKey], witnesses: Sequence[VerifierKey], threshold: int) -> LogPolicy:
    """Return the policy that wants `threshold` of these witnesses; ValueError when there are fewer, or one twice."""
    if not 0 <= threshold <= len(witnesses):
        raise ValueError(f"{threshold} of {len(witnesses)} witnesses cannot be had")
    if len({key.public_key for key in witnesses}) != len(witnesses):
        raise ValueError("a witness is named twice")
    members = {f"w{number}": Member(key.name, key) for number, key in enumerate(witnesses, 1)}
    return LogPolicy(
        tuple(Member(key.name, key) for key in logs),
        members,
        {"quorum": Group(threshold, tuple(members))} if threshold else {},
        "quorum" if threshold else NO_QUORUM,
    )


class _Parser:
    """Reads the lines, one after the other."""

    def __init__(self) -> None:
        self.logs: list[Member] = []
        self.witnesses: dict[str, Member] = {}
        self.groups: dict[str, Group] = {}
        self.quorum: str | None = None
        self._grouped: set[str] = set()

    def line(self, words: Sequence[str]) -> None:
        """Take one line; raises EncodingError."""
        word, *rest = words
        if word == "log" and len(rest) in {1, 2}:
            self._log(*rest)
        elif word == "witness" and len(rest) in {2, 3}:
            self._witness(*rest)
        elif word == "group" and len(rest) >= 3:
            self._group(rest[0], rest[1], rest[2:])
        elif word == "quorum" and len(rest) == 1:
            if self.quorum is not None:
                raise EncodingError("there is a second quorum")
            if rest[0] != NO_QUORUM:
                self._known(rest[0])
            self.quorum = rest[0]
        else:
            raise EncodingError("a line is `log KEY [URL]`, `witness NAME KEY [URL]`, `group NAME K NAME...` or "
                                "`quorum NAME`")  # fmt: skip
        if len(self.logs) + len(self.witnesses) + len(self.groups) > MAX_MEMBERS:
            raise EncodingError(f"the policy names more than {MAX_MEMBERS} logs, witnesses and groups")

    def _log(self, vkey: str, url: str = "") -> None:
        key = parse_verifier_key(vkey)
        if any(key.public_key == other.key.public_key for other in self.logs):
            raise EncodingError(f"the log {key.name} is there twice")
        self.logs.append(Member(key.name, key, url))

    def _witness(self, name: str, vkey: str, url: str = "") -> None:
        self._new(name)
        key = parse_verifier_key(vkey)
        if key.kind not in _COSIGNERS:
            raise EncodingError(f"the key of the witness {name} is none for cosignatures")
        if any(key.public_key == other.key.public_key for other in self.witnesses.values()):
            raise EncodingError(f"the key of the witness {name} is there twice")
        self.witnesses[name] = Member(name, key, url)

    def _group(self, name: str, threshold: str, members: Sequence[str]) -> None:
        self._new(name)
        for member in members:
            self._known(member)
            if member in self._grouped:
                raise EncodingError(f"{member} is a member twice")
            self._grouped.add(member)
        words = {"any": 1, "all": len(members)}
        number = words.get(threshold)
        if number is None and re.fullmatch(r"[1-9][0-9]{0,3}", threshold, re.ASCII):
            number = int(threshold)
        if number is None or number > len(members):
            raise EncodingError(f"a group of {len(members)} wants any, all, or a number up to {len(members)}")
        self.groups[name] = Group(number, tuple(members))

    def _new(self, name: str) -> None:
        if name == NO_QUORUM or name in self.witnesses or name in self.groups:
            raise EncodingError(f"the name {name} is taken")

    def _known(self, name: str) -> None:
        if name not in self.witnesses and name not in self.groups:
            raise EncodingError(f"{name} is not defined before this line")


def parse_policy(data: bytes) -> LogPolicy:
    """Read a policy file; raises EncodingError, with the line's number."""
    if len(data) > MAX_POLICY_OCTETS:
        raise EncodingError(f"the policy is longer than {MAX_POLICY_OCTETS} octets")
    parser = _Parser()
    for number, line in enumerate(data.split(b"\n"), 1):
        words = [word for word in re.split(rb"[ \t]+", line) if word]
        if not words or words[0].startswith(b"#"):
            continue
        try:
            if _FORBIDDEN.search(line):
                raise EncodingError("the line has control characters")
            # Names are octets: two are the same when their octets are.
            parser.line([word.decode("utf-8", "surrogateescape") for word in words])
        except EncodingError as error:
            raise EncodingError(f"line {number}: {error}") from None
    if parser.quorum is None:
        raise EncodingError("the policy has no quorum; write `quorum none` to ask for no witness")
    return LogPolicy(tuple(parser.logs), parser.witnesses, parser.groups, parser.quorum)
