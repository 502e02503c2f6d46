"""Signed notes (C2SP signed-note): a text, and lines of signatures by keys that have names."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from enum import IntEnum
from typing import Final, NamedTuple

from tsa_core.protocol.errors import EncodingError

MAX_NOTE_OCTETS: Final = 1 << 20
MAX_SIGNATURES: Final = 100
_DASH: Final = "— "
_NAME: Final = re.compile(r"[^\s+\x00-\x1f]+")
_CONTROL: Final = re.compile("[\x00-\x09\x0b-\x1f]")


class SignatureType(IntEnum):
    """The kinds of keys that we read."""

    ED25519 = 0x01
    """A signature over the text."""
    COSIGNATURE_ED25519 = 0x04
    """A cosignature with its time (C2SP tlog-cosignature)."""
    COSIGNATURE_ML_DSA_44 = 0x06
    """The same with ML-DSA-44, over origin, size and root."""


_KEY_OCTETS: Final = {
    SignatureType.ED25519: 32,
    SignatureType.COSIGNATURE_ED25519: 32,
    SignatureType.COSIGNATURE_ML_DSA_44: 1312,
}


class UnknownKeyType(EncodingError):
    """A key of a kind that we do not read; signatures with it prove nothing here."""


class KeyName(NamedTuple):
    """What a signature line says of its key: the name, and four octets of a hash."""

    name: str
    key_id: bytes


class VerifierKey(NamedTuple):
    """A public key with its name, as the `vkey` texts have it: NAME+HASH+KEY."""

    name: str
    kind: SignatureType
    public_key: bytes
    """Raw: 32 octets of Ed25519, 1,312 of ML-DSA-44."""

    @property
    def key_id(self) -> bytes:
        """The first four octets of SHA-256 over name, kind and key."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public_key).digest()[:4]

    @property
    def signs_as(self) -> KeyName:
        """What the key's signature lines begin with."""
        return KeyName(self.name, self.key_id)

    def __str__(self) -> str:
        """Return the vkey text."""
        key = base64.b64encode(bytes([self.kind]) + self.public_key).decode("ascii")
        return f"{self.name}+{self.key_id.hex()}+{key}"


def check_key_name(name: str) -> str:
    """Return a key's name; raises EncodingError when it is empty or has blanks or plus signs."""
    if not _NAME.fullmatch(name):
        raise EncodingError(f"{name!r} cannot be a key's name: it must not be empty, nor hold blanks or +")
    return name


def parse_verifier_key(text: str) -> VerifierKey:
    """Read a vkey; raises EncodingError for what is none, UnknownKeyType for a kind that we do not read."""
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        data = base64.b64decode(encoded, validate=True)
        identifier = bytes.fromhex(key_id)
    except (binascii.Error, ValueError):
        data = identifier = b""
    if len(identifier) != 4 or len(data) < 2:
        raise EncodingError("a key is written NAME+HASH+KEY: 8 hexadecimal digits, then base64")
    check_key_name(name)
    try:
        kind = SignatureType(data[0])
    except ValueError:
        raise UnknownKeyType(f"the key {name} is of the unknown kind {data[0]}") from None
    key = VerifierKey(name, kind, data[1:])
    if len(key.public_key) != _KEY_OCTETS[kind]:
        raise EncodingError(f"the key {name} has {len(key.public_key)} octets, not {_KEY_OCTETS[kind]}")
    if key.key_id != identifier:
        raise EncodingError(f"the hash in the key {name} is not that of the key")
    return key


class NoteSignature(NamedTuple):
    """One signature line."""

    signer: KeyName
    signature: bytes

    def __str__(self) -> str:
        """Return the line, with its newline."""
        encoded = base64.b64encode(self.signer.key_id + self.signature).decode("ascii")
        return f"{_DASH}{self.signer.name} {encoded}\n"


class SignedNote(NamedTuple):
    """A text that ends with a newline, and its signatures, which nobody has verified yet."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        """Return the note."""
        return f"{self.text}\n{''.join(map(str, self.signatures))}".encode()

    def by(self, key: VerifierKey) -> tuple[NoteSignature, ...]:
        """Return the signatures that say they are by this key."""
        return tuple(each for each in self.signatures if each.signer == key.signs_as)

    def signed_also(self, more: Iterable[NoteSignature]) -> SignedNote:
        """Return the note with further signatures; one by a key that has signed takes the place of the old one."""
        found = {each.signer: each for each in (*self.signatures, *more)}
        return SignedNote(self.text, tuple(found.values()))


def parse_signatures(text: str) -> tuple[NoteSignature, ...]:
    """Read signature lines, each with its newline; raises EncodingError."""
    lines = text.split("\n")
    if lines.pop() or not lines:
        raise EncodingError("a note ends with lines of signatures")
    if len(lines) > MAX_SIGNATURES:
        raise EncodingError(f"the note has {len(lines)} signatures; at most {MAX_SIGNATURES} are read")
    found = []
    for line in lines:
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        try:
            data = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            data = b""
        if not line.startswith(_DASH) or len(data) < 5:
            raise EncodingError("a signature line is a dash, a name, and four octets of a hash with a signature")
        found.append(NoteSignature(KeyName(check_key_name(name), data[:4]), data[4:]))
    return tuple(found)


def parse_note(data: bytes) -> SignedNote:
    """Read a note; raises EncodingError. Its text must not be believed before a signature was verified."""
    if len(data) > MAX_NOTE_OCTETS:
        raise EncodingError(f"the note is longer than {MAX_NOTE_OCTETS} octets")
    try:
        content = data.decode("utf-8")
    except UnicodeDecodeError:
        raise EncodingError("the note is not UTF-8") from None
    if _CONTROL.search(content):
        raise EncodingError("the note has control characters")
    text, separator, signatures = content.rpartition("\n\n")
    if not separator:
        raise EncodingError("the note has no empty line between its text and its signatures")
    return SignedNote(f"{text}\n", parse_signatures(signatures))
