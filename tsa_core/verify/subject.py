"""Is the timestamp about what the caller says: artifact, digest, request, nonce, policy (rule V2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tsa_core.protocol.hashes import HashAlgorithm, hash_by_name
from tsa_core.protocol.request import TimeStampReq
from tsa_core.protocol.tstinfo_reader import TSTInfo
from tsa_core.sources import chunks
from tsa_core.verify.errors import ImprintMismatch, NonceMismatch, PolicyMismatch
from tsa_core.verify.request import verify_request
from tsa_core.verify.statement import Octets, check_request

if TYPE_CHECKING:
    from tsa_core.verify.expectations import Subject


def check_subject(info: TSTInfo, algorithm: HashAlgorithm, subject: Subject) -> None:
    """Raise a RequestMismatch unless the token is about all that the caller names."""
    artifact, digest, request = subject.get("artifact"), subject.get("digest"), subject.get("request")
    if request is not None:
        check_request(info, request if isinstance(request, TimeStampReq) else verify_request(request))
    nonce, policy = subject.get("nonce"), subject.get("policy")
    if nonce is not None and info.nonce != nonce:
        raise NonceMismatch("the token's nonce is not the one that was sent")
    if policy is not None and info.policy != policy:
        raise PolicyMismatch(f"the token was made under policy {info.policy}, not under {policy}")
    if digest is not None:
        _check_digest(info, algorithm, digest, subject.get("digest_algorithm"))
    if artifact is not None and hash_artifact(artifact, algorithm) != info.hashed_message:
        raise ImprintMismatch(f"the artifact's {algorithm.name} digest is not the one in the token")


def _check_digest(info: TSTInfo, algorithm: HashAlgorithm, digest: bytes, name: str | None) -> None:
    if not isinstance(digest, bytes | bytearray | memoryview):
        raise TypeError(f"the digest must be bytes, not {type(digest).__name__}; bytes.fromhex reads hexadecimal")
    if name is not None:
        try:
            given = hash_by_name(name)
        except KeyError:
            raise TypeError(f"{name!r} is not the name of a hash algorithm") from None
        if given is not algorithm:
            raise ImprintMismatch(f"the token holds a {algorithm.name} digest, not a {given.name} one")
    if len(digest) != algorithm.digest_size:
        raise ImprintMismatch(f"a {algorithm.name} digest has {algorithm.digest_size} bytes, {len(digest)} were given")
    if digest != info.hashed_message:
        raise ImprintMismatch("the digest is not the one in the token")


def hash_artifact(artifact: Octets, algorithm: HashAlgorithm) -> bytes:
    """Return the digest of a file at a path, of bytes, or of everything that an open file still holds.

    Files are read in pieces. Raises OSError for a file that cannot be read.
    """
    if isinstance(artifact, bytes | bytearray | memoryview):
        return algorithm.digest(bytes(artifact) if not isinstance(artifact, bytes) else artifact)
    state = algorithm.new()
    for chunk in chunks(artifact, "the artifact"):
        state.update(chunk)
    return state.digest()
