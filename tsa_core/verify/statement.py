"""What a reply states, before anyone is trusted: status, structure, TSTInfo, and whether it answers a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from tsa_core.paths.algorithms import STRICT, AlgorithmRules
from tsa_core.paths.certificate import PathCertificate
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.hashes import HashAlgorithm
from tsa_core.protocol.reply import MAX_REPLY_OCTETS, Token, read_reply, read_token
from tsa_core.protocol.request import TimeStampReq
from tsa_core.protocol.tstinfo_reader import TSTInfo, read_tst_info
from tsa_core.sources import Source
from tsa_core.sources import octets as octets_of
from tsa_core.verify.algorithms import strong_hash
from tsa_core.verify.errors import (
    ImprintMismatch,
    MalformedTimestamp,
    NonceMismatch,
    NotGranted,
    PathError,
    PolicyMismatch,
    SignedDataError,
    SignerCertificateMissing,
    UnknownCriticalExtension,
)
from tsa_core.verify.request import verify_request
from tsa_core.verify.signed_data import SignedToken, check_signature, check_structure, find_signer
from tsa_core.verify.signer import check_signer
from tsa_core.verify.tsa_name import check_tsa_name

Octets: TypeAlias = Source
"""A path, bytes, or a file that is open for reading bytes."""


class Statement(NamedTuple):
    """A token whose parts fit together; who signed it is not known yet."""

    signed: SignedToken
    info: TSTInfo
    hash_algorithm: HashAlgorithm


class Reading(NamedTuple):
    """All that the bytes of a reply or token say; `status` is None for a bare token."""

    status: int | None
    token: Token
    statement: Statement


def open_reply(reply: Octets) -> tuple[int, Token]:
    """Return the PKIStatus and the token of a granted TimeStampResp (rules V1 and V14)."""
    try:
        status, token = read_reply(octets(reply))
    except EncodingError as error:
        raise MalformedTimestamp(f"the reply cannot be read: {error}") from None
    if not status.granted:
        raise NotGranted(status=status.status, name=status.name, texts=status.texts, failures=status.failure_names)
    if status.failures:
        raise MalformedTimestamp("the reply says both granted and why it was refused")
    if token is None:
        raise MalformedTimestamp("the reply says granted but holds no token")
    return status.status, token


def open_token(token: Octets) -> Token:
    """Return a bare TimeStampToken (rule V14)."""
    try:
        return read_token(octets(token))
    except EncodingError as error:
        raise MalformedTimestamp(f"the token cannot be read: {error}") from None


def read_statement(token: Token, rules: AlgorithmRules = STRICT) -> Statement:
    """Return what the token states once its structure, its TSTInfo and its hash are in order (V3, V11, V13, V15)."""
    signed = check_structure(token, rules)
    try:
        info = read_tst_info(token.content)
    except EncodingError as error:
        raise MalformedTimestamp(str(error)) from None
    if info.version != 1:
        raise SignedDataError(f"the TSTInfo has version {info.version}; only version 1 exists")
    for extension in info.extensions:
        if extension.critical:
            raise UnknownCriticalExtension(
                f"the TSTInfo has a critical extension, {extension.oid}, that is not known here"
            )
    return Statement(signed, info, strong_hash(info.hash_oid, "the message imprint", rules))


def readable(
    certificates: Iterable[bytes], known: Mapping[bytes, PathCertificate] = MappingProxyType({})
) -> list[PathCertificate]:
    """Return the certificates of a token's bag; what is not a certificate helps nobody and is passed over.

    `known` are certificates that have been read before, by their bytes.
    """
    found = []
    for data in certificates:
        try:
            found.append(known.get(data) or PathCertificate.from_der(data))
        except PathError:
            continue
    return found


def check_request(info: TSTInfo, request: TimeStampReq) -> None:
    """Raise a RequestMismatch unless the token answers this request (RFC 3161 2.4.2, rule V2)."""
    if info.hash_oid != request.hash_oid or info.hashed_message != request.digest:
        raise ImprintMismatch("the token's message imprint is not the one in the request")
    if request.policy is not None and info.policy != request.policy:
        raise PolicyMismatch(f"policy {request.policy} was asked for, the token has {info.policy}")
    if request.nonce is None and info.nonce is not None:
        raise NonceMismatch("the token has a nonce although the request had none")
    if request.nonce is not None and info.nonce != request.nonce:
        raise NonceMismatch("the token does not have the request's nonce")


def check_answer(reply: Octets, request: Octets | TimeStampReq) -> TSTInfo:
    """Return the TSTInfo of a reply that answers the request, without trusting anyone.

    Both are paths, bytes or open files.

    For a client that has no roots at hand: everything but the certificate path is checked, the signature
    with the signer's certificate in the token. A token without it is only accepted if the request did not
    ask for it (certReq, RFC 3161 2.4.1), and its signature is then not checked. Raises a VerificationError.
    """
    parsed = request if isinstance(request, TimeStampReq) else verify_request(request)
    _, token = open_reply(reply)
    signed, info, _ = read_statement(token)
    check_request(info, parsed)
    _check_own_signature(signed, info, token, needed=parsed.cert_req)
    return info


def check_imprint(timestamp: Octets, digest: bytes, algorithm: HashAlgorithm, *, bare_token: bool) -> TSTInfo:
    """Return the TSTInfo of a timestamp of a digest, without trusting anyone; for a request that nobody kept.

    Everything that `check_answer` checks is checked but what only the request says: nonce and policy. Raises a
    VerificationError.
    """
    token = open_token(timestamp) if bare_token else open_reply(timestamp)[1]
    signed, info, found = read_statement(token)
    if found is not algorithm or info.hashed_message != digest:
        raise ImprintMismatch(f"the token is not about this {algorithm.name} digest")
    _check_own_signature(signed, info, token, needed=False)
    return info


def _check_own_signature(signed: SignedToken, info: TSTInfo, token: Token, *, needed: bool) -> None:
    """Check the signature with the signer's certificate in the token; unless it is `needed`, it may be missing."""
    try:
        signer = find_signer(signed, readable(token.certificates))
    except SignerCertificateMissing:
        if needed:
            raise SignerCertificateMissing("the signer's certificate was asked for but is not in the token") from None
        return
    check_signed_by(signed, info, signer)


def check_signed_by(signed: SignedToken, info: TSTInfo, signer: PathCertificate) -> None:
    """Raise a VerificationError unless this certificate may sign timestamps, and has signed this one."""
    check_signer(signer)
    check_signature(signed, signer)
    check_tsa_name(info, signer)


def octets(source: Octets) -> bytes:
    """Return the bytes of a reply or token; of a file, no more than shows that it is too large."""
    return octets_of(source, "the timestamp", MAX_REPLY_OCTETS)
