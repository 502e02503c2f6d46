"""Verification of timestamps: the calls that programs make.

from tsa_core.verify import TrustStore, verify_response
result = verify_response(reply, artifact=open("release.tar.gz", "rb"), trust=TrustStore.from_chain(chain))
print(result.gen_time, result.earliest, result.latest)
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from tsa_core.paths.certificate import PathCertificate
from tsa_core.paths.revocation import Revocation
from tsa_core.protocol.hashes import HashAlgorithm, hash_by_name
from tsa_core.protocol.reply import Token
from tsa_core.protocol.request import TimeStampReq
from tsa_core.protocol.tstinfo_reader import TSTInfo
from tsa_core.verify.errors import ImprintMismatch, NonceMismatch, NotAccepted, PolicyMismatch, printable
from tsa_core.verify.path import Path, PathBuilder
from tsa_core.verify.request import verify_request
from tsa_core.verify.signed_data import SignedToken, check_signature, find_signer
from tsa_core.verify.statement import Octets, check_request, open_reply, open_token, read_statement, readable
from tsa_core.verify.trust import TrustStore

CHUNK_OCTETS: Final = 1 << 20
_MAX_PATHS: Final = 256
_MAX_CACHED_OCTETS: Final = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifiedTimestamp:
    """A timestamp that holds: the artifact existed at `gen_time`, says the owner of `signer_certificate`.

    `earliest` and `latest` bound the moment of signing by the stated accuracy; None means that the authority
    stated none, which is not the same as zero (rule V12). `path` runs from the signer to the root.
    `status` is 0 for granted and 1 for grantedWithMods; None for a bare token.
    """

    tst_info: TSTInfo
    signer_certificate: x509.Certificate
    path: tuple[x509.Certificate, ...]
    status: int | None

    @property
    def gen_time(self) -> datetime:
        """The time that the authority states, in UTC."""
        return self.tst_info.gen_time

    @property
    def earliest(self) -> datetime | None:
        """The start of the interval in which the token was made; None when unknown."""
        return self.tst_info.earliest

    @property
    def latest(self) -> datetime | None:
        """The end of the interval in which the token was made; None when unknown."""
        return self.tst_info.latest


class Verifier:
    """Verifies timestamps against one set of expectations; safe to use from many threads.

    Paths are remembered, bounded, by the very bytes that led to them (the token's certificates, the
    signer's name and its ESSCertID) and used again only for times at which every certificate of the path is
    valid; what one token carried never helps another one. Revocation is judged anew for each token.

    `policies` are dotted identifiers of which the token's must be one; `common_name` is the signer's,
    compared exactly; `tsa_certificate` is the only certificate accepted as the signer's (rule V10).
    """

    def __init__(
        self,
        trust: TrustStore,
        *,
        tsa_certificate: x509.Certificate | None = None,
        policies: Iterable[str] = (),
        common_name: str | None = None,
        revocation: Revocation | None = None,
    ) -> None:
        self._builder = PathBuilder(trust)
        self._tsa_certificate = PathCertificate(tsa_certificate) if tsa_certificate is not None else None
        self._helpers = self._builder.helpers + ((self._tsa_certificate,) if self._tsa_certificate else ())
        self._policies = frozenset(policies)
        self._common_name = common_name
        self._revocation = revocation
        self._paths: dict[tuple[object, ...], Path] = {}
        self._lock = threading.Lock()

    def verify_response(
        self,
        reply: Octets,
        *,
        artifact: Octets | None = None,
        digest: bytes | None = None,
        digest_algorithm: str | None = None,
        request: bytes | TimeStampReq | None = None,
        nonce: int | None = None,
        policy: str | None = None,
        time: datetime | None = None,
    ) -> VerifiedTimestamp:
        """Return what a TimeStampResp proves about an artifact, or raise a VerificationError.

        At least one of `artifact`, `digest` and `request` says what the timestamp must be about; all that
        are given must agree with it. `digest_algorithm` names the digest's hash, which is the token's
        unless given. With `request`, policy and nonce must be what it asked for, and a nonce must be absent
        if it sent none. The path must be valid at `time`, aware, which is genTime unless given.
        """
        status, token = open_reply(reply)
        return self._verify(
            token,
            status=status,
            artifact=artifact,
            digest=digest,
            digest_algorithm=digest_algorithm,
            request=request,
            nonce=nonce,
            policy=policy,
            time=time,
        )

    def verify_token(
        self,
        token: Octets,
        *,
        artifact: Octets | None = None,
        digest: bytes | None = None,
        digest_algorithm: str | None = None,
        request: bytes | TimeStampReq | None = None,
        nonce: int | None = None,
        policy: str | None = None,
        time: datetime | None = None,
    ) -> VerifiedTimestamp:
        """Return what a bare TimeStampToken proves; everything else is as in `verify_response`."""
        return self._verify(
            open_token(token),
            status=None,
            artifact=artifact,
            digest=digest,
            digest_algorithm=digest_algorithm,
            request=request,
            nonce=nonce,
            policy=policy,
            time=time,
        )

    def forget(self) -> None:
        """Drop the remembered paths; the next verification of every authority builds its path anew."""
        with self._lock:
            self._paths.clear()

    def _verify(
        self,
        token: Token,
        *,
        status: int | None,
        artifact: Octets | None,
        digest: bytes | None,
        digest_algorithm: str | None,
        request: bytes | TimeStampReq | None,
        nonce: int | None,
        policy: str | None,
        time: datetime | None,
    ) -> VerifiedTimestamp:
        if artifact is None and digest is None and request is None:
            raise TypeError("verification needs the artifact, its digest or the request")
        if time is not None and time.tzinfo is None:
            raise TypeError("the time of verification must be an aware datetime")
        signed, info, algorithm = read_statement(token)
        path = self._path(token, signed, time if time is not None else info.gen_time)
        check_signature(signed, path.signer)
        self._check_acceptance(info, path)
        if request is not None:
            check_request(info, request if isinstance(request, TimeStampReq) else verify_request(request))
        if nonce is not None and info.nonce != nonce:
            raise NonceMismatch("the token's nonce is not the one that was sent")
        if policy is not None and info.policy != policy:
            raise PolicyMismatch(f"the token was made under policy {info.policy}, not under {policy}")
        if digest is not None:
            _check_digest(info, algorithm, digest, digest_algorithm)
        if artifact is not None and hash_artifact(artifact, algorithm) != info.hashed_message:
            raise ImprintMismatch(f"the artifact's {algorithm.name} digest is not the one in the token")
        if self._revocation is not None:
            self._revocation.check(path, info.gen_time)
        return VerifiedTimestamp(
            tst_info=info,
            signer_certificate=path.signer.certificate,
            path=tuple([c.certificate for c in path.certificates]),
            status=status,
        )

    def _path(self, token: Token, signed: SignedToken, time: datetime) -> Path:
        key = (token.certificates, signed.info.sid_der, signed.ess_values)
        path = self._paths.get(key)
        if path is not None and path.not_before <= time <= path.not_after:
            return path
        embedded = readable(token.certificates, self._builder.known)
        signer = find_signer(signed, (*embedded, *self._helpers))
        if self._tsa_certificate is not None and signer.der != self._tsa_certificate.der:
            raise NotAccepted("the token was signed with another certificate than the one demanded")
        path = self._builder.build(signer, embedded, time)
        if sum(map(len, token.certificates)) <= _MAX_CACHED_OCTETS:
            with self._lock:
                if len(self._paths) >= _MAX_PATHS:
                    del self._paths[next(iter(self._paths))]
                self._paths[key] = path
        return path

    def _check_acceptance(self, info: TSTInfo, path: Path) -> None:
        if self._policies and info.policy not in self._policies:
            raise NotAccepted(f"the token was made under policy {info.policy}, which is not an accepted one")
        if self._common_name is not None:
            subject = path.signer.certificate.subject
            names = [attribute.value for attribute in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
            if self._common_name not in names:
                raise NotAccepted(
                    f"the signer's common name is {printable(', '.join(map(str, names))) or 'absent'!r}, "
                    f"not {self._common_name!r}"
                )


def _check_digest(info: TSTInfo, algorithm: HashAlgorithm, digest: bytes, name: str | None) -> None:
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
    """Return the digest of data in memory or of everything a stream still holds, read in chunks."""
    if isinstance(artifact, bytes | bytearray | memoryview):
        return algorithm.digest(bytes(artifact) if not isinstance(artifact, bytes) else artifact)
    state = algorithm.new()
    while chunk := artifact.read(CHUNK_OCTETS):
        state.update(chunk)
    return state.digest()


def verify_response(
    reply: Octets,
    *,
    trust: TrustStore,
    artifact: Octets | None = None,
    digest: bytes | None = None,
    digest_algorithm: str | None = None,
    request: bytes | TimeStampReq | None = None,
    nonce: int | None = None,
    policies: Iterable[str] = (),
    common_name: str | None = None,
    tsa_certificate: x509.Certificate | None = None,
    revocation: Revocation | None = None,
    time: datetime | None = None,
) -> VerifiedTimestamp:
    """Verify one TimeStampResp; see Verifier, which is faster for more than one, for every argument."""
    verifier = Verifier(
        trust,
        tsa_certificate=tsa_certificate,
        policies=policies,
        common_name=common_name,
        revocation=revocation,
    )
    return verifier.verify_response(
        reply,
        artifact=artifact,
        digest=digest,
        digest_algorithm=digest_algorithm,
        request=request,
        nonce=nonce,
        time=time,
    )


def verify_token(
    token: Octets,
    *,
    trust: TrustStore,
    artifact: Octets | None = None,
    digest: bytes | None = None,
    digest_algorithm: str | None = None,
    request: bytes | TimeStampReq | None = None,
    nonce: int | None = None,
    policies: Iterable[str] = (),
    common_name: str | None = None,
    tsa_certificate: x509.Certificate | None = None,
    revocation: Revocation | None = None,
    time: datetime | None = None,
) -> VerifiedTimestamp:
    """Verify one bare TimeStampToken; see Verifier, which is faster for more than one, for every argument."""
    verifier = Verifier(
        trust,
        tsa_certificate=tsa_certificate,
        policies=policies,
        common_name=common_name,
        revocation=revocation,
    )
    return verifier.verify_token(
        token,
        artifact=artifact,
        digest=digest,
        digest_algorithm=digest_algorithm,
        request=request,
        nonce=nonce,
        time=time,
    )
