"""A witness (C2SP tlog-witness): cosigns a checkpoint that continues the last one of its log, and never a fork."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature

from tsa_core.api import AuthorityAccess, ConfigError, Route, RouteReply, RouteRequest, Routes, replace_file
from tsa_core.api.transparency import (
    EMPTY_ROOT,
    MAX_PATH,
    EncodingError,
    NoteSigner,
    SignedCheckpoint,
    VerifierKey,
    is_consistent,
    parse_signed_checkpoint,
    parse_verifier_key,
    read_decimal,
    read_hash,
)
from tsa_log.keys import cosigner
from tsa_log.options import WitnessRoutesOptions

_MAX_BODY: Final = 1 << 16
_SIZE_TYPE: Final = "text/x.tlog.size"


class Submission(NamedTuple):
    """What a log sends."""

    old: int
    path: tuple[bytes, ...]
    signed: SignedCheckpoint


def parse_submission(body: bytes) -> Submission:
    """Read the body of add-checkpoint; raises EncodingError."""
    head, separator, note = body.partition(b"\n\n")
    try:
        first, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        first, lines = "", []
    if not separator or not first.startswith("old "):
        raise EncodingError("the body is `old SIZE`, a proof's lines, an empty line and a checkpoint")
    if len(lines) > MAX_PATH:
        raise EncodingError(f"the proof has more than {MAX_PATH} lines")
    old = read_decimal(first.removeprefix("old "), "the old size")
    return Submission(
        old, tuple(read_hash(line, "a line of the proof") for line in lines), parse_signed_checkpoint(note)
    )


class Seen(NamedTuple):
    """The last checkpoint of a log that was cosigned."""

    size: int = 0
    root: bytes = b""


class WitnessStore:
    """The last checkpoint of each log, in a file each. Compares and replaces under a lock that processes share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def locked(self, origin: str) -> Iterator[Path]:
        """Hold the lock of a log; yields its file."""
        name = hashlib.sha256(origin.encode()).hexdigest()
        descriptor = os.open(self._folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield self._folder / f"{name}.checkpoint"
        finally:
            os.close(descriptor)

    @staticmethod
    def read(path: Path) -> Seen:
        """Return what was cosigned last; raises EncodingError for a damaged file: then nothing is cosigned."""
        try:
            checkpoint = parse_signed_checkpoint(path.read_bytes()).checkpoint
        except FileNotFoundError:
            return Seen()
        return Seen(checkpoint.size, checkpoint.root)


class WitnessRoutes(Routes):
    """Answers `POST /witness/add-checkpoint`."""

    def __init__(self, signer: NoteSigner, logs: Sequence[VerifierKey], store: WitnessStore) -> None:
        self._signer = signer
        self._logs: dict[str, list[VerifierKey]] = {}
        for key in logs:
            self._logs.setdefault(key.name, []).append(key)
        self._store = store
        self._access: AuthorityAccess | None = None

    def bind(self, access: AuthorityAccess) -> None:
        """Learn how to ask whether the clock is right: a cosignature is worth what its time is."""
        self._access = access

    def routes(self) -> Sequence[Route]:
        """Return the paths."""
        return [
            Route(path="/witness/add-checkpoint", methods=("POST",), max_body=_MAX_BODY, answer=self._add),
            Route(path="/witness/key", answer=RouteReply(body=f"{self._signer.key}\n".encode())),
        ]

    def _add(self, request: RouteRequest) -> RouteReply:
        try:
            submission = parse_submission(request.body)
        except EncodingError as error:
            return _refusal(400, str(error))
        checkpoint = submission.signed.checkpoint
        if (keys := self._logs.get(checkpoint.origin)) is None:
            return _refusal(404, "this witness does not know the log")
        try:
            if not submission.signed.signed_by(keys):
                return _refusal(403, "the checkpoint is not signed by the log")
        except InvalidSignature:
            return _refusal(403, "the signature of the log does not verify")
        if submission.old > checkpoint.size:
            return _refusal(400, "the old size is larger than the checkpoint's")
        with self._store.locked(checkpoint.origin) as path:
            return self._compare(submission, path)

    def _compare(self, submission: Submission, path: Path) -> RouteReply:
        """Cosign what continues the last checkpoint, after it was stored. With the log's lock held."""
        checkpoint = submission.signed.checkpoint
        try:
            seen = self._store.read(path)
        except EncodingError:
            return _refusal(
                500, "the last checkpoint of this log cannot be read; the witness's operator must restore it"
            )
        if submission.old != seen.size:
            return RouteReply(status=409, body=f"{seen.size}\n".encode(), content_type=_SIZE_TYPE)
        if seen.size == checkpoint.size and seen.size and seen.root != checkpoint.root:
            return RouteReply(status=409, body=f"{seen.size}\n".encode(), content_type=_SIZE_TYPE)
        if seen.size:
            consistent = is_consistent(seen.size, seen.root, checkpoint.size, checkpoint.root, submission.path)
        else:
            # Nothing is known of the log yet.
            consistent = not submission.path and (checkpoint.size > 0 or checkpoint.root == EMPTY_ROOT)
        if not consistent:
            return _refusal(422, "the proof does not show that the log continues the last checkpoint")
        if self._access is not None and not self._access.clock().trusted:
            return _refusal(503, "the clock of this witness cannot be trusted now")
        cosignature = self._signer.sign(checkpoint, seconds=int(time.time()))
        replace_file(path, submission.signed.note.signed_also([cosignature]).encode(), mode=0o600)
        return RouteReply(body=str(cosignature).encode())


def _refusal(status: int, text: str) -> RouteReply:
    return RouteReply(status=status, body=f"{text}\n".encode())


def open_witness(options: WitnessRoutesOptions) -> WitnessRoutes:
    """Return the witness; raises ConfigError for a key that is none, a log twice, a directory that cannot be used."""
    signer = cosigner(options.key.get_secret_value(), "routes.witness.key")
    logs = [parse_verifier_key(log.key) for log in options.logs]
    if len(set(logs)) != len(logs):
        raise ConfigError("a log is listed twice", path="routes.witness.logs")
    try:
        options.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(error.strerror or str(error), path="routes.witness.directory") from None
    return WitnessRoutes(signer, logs, WitnessStore(options.directory))
