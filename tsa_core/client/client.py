"""Asking timestamp authorities: one, or several of which enough must answer.

from tsa_core.client import TimestampClient
timestamp = TimestampClient("https://timestamp.example.org").stamp(artifact=open("release.tar.gz", "rb"))
Path("release.tsr").write_bytes(timestamp.reply)
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from tsa_core.client.errors import BadReply, ClientError, ThresholdNotMet, TimestampRefused
from tsa_core.client.request import build_request, strong_hash
from tsa_core.client.tls import tls
from tsa_core.client.transport import Transport, timestamp_url, without_credentials
from tsa_core.protocol.tstinfo_reader import TSTInfo
from tsa_core.verify import (
    NotGranted,
    VerificationError,
    VerifiedTimestamp,
    Verifier,
    check_answer,
    hash_artifact,
)
from tsa_core.verify.statement import Octets

_MAX_THREADS: Final = 8


@dataclass(frozen=True, kw_only=True)
class Timestamp:
    """A reply that answers the request; `url` is the authority's, without credentials.

    `verified` is None unless the client had a verifier: then nobody has said yet whether to trust the signer.
    """

    url: str
    request: bytes
    reply: bytes
    tst_info: TSTInfo
    verified: VerifiedTimestamp | None

    @property
    def time(self) -> datetime:
        """The time that the authority states, in UTC."""
        return self.tst_info.gen_time


@dataclass(frozen=True, kw_only=True)
class Timestamps:
    """What several authorities gave, in the order of their URLs, and why others gave nothing."""

    timestamps: tuple[Timestamp, ...]
    failures: tuple[ClientError, ...]


class TimestampClient:
    """Asks one authority; safe to use from many threads, which then share its connections.

    `url` is used as it is when it has a path; without one, `/api/v1/timestamp` is added. Every reply is checked
    against its request: with `verifier` completely, without one in everything that needs no trust.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 30.0,
        verifier: Verifier | None = None,
        ssl_context: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.url = timestamp_url(url)
        self._shown = without_credentials(self.url)
        self._verifier = verifier
        own = dict(headers or {})
        self._transport = Transport(timeout=timeout, tls=tls(context=ssl_context), headers=lambda: own)

    def stamp(
        self,
        *,
        artifact: Octets | None = None,
        digest: bytes | None = None,
        hash_name: str = "sha256",
        nonce: bool | int = True,
        certificate: bool = True,
        policy: str | None = None,
    ) -> Timestamp:
        """Return a timestamp of an artifact or its digest; the arguments are those of `build_request`.

        Raises RequestError, TimestampRefused, BadReply, or a TransportError.
        """
        return self.send(
            build_request(
                artifact=artifact,
                digest=digest,
                hash_name=hash_name,
                nonce=nonce,
                certificate=certificate,
                policy=policy,
            )
        )

    def send(self, request: bytes) -> Timestamp:
        """Return the answer to a request that was built before; errors as of `stamp`."""
        reply = self._transport.post(self.url, request)
        verified = None
        try:
            if self._verifier is not None:
                verified = self._verifier.verify_response(reply, request=request)
                info = verified.tst_info
            else:
                info = check_answer(reply, request)
        except NotGranted as error:
            raise TimestampRefused(self._shown, error) from error
        except VerificationError as error:
            raise BadReply(self._shown, error) from error
        return Timestamp(url=self._shown, request=request, reply=reply, tst_info=info, verified=verified)

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def stamp_all(
    urls: Sequence[str],
    *,
    threshold: int | None = None,
    artifact: Octets | None = None,
    digest: bytes | None = None,
    hash_name: str = "sha256",
    nonce: bool = True,
    certificate: bool = True,
    policy: str | None = None,
    timeout: float = 30.0,
    verifier: Verifier | None = None,
) -> Timestamps:
    """Ask several authorities at once; at least `threshold` of them, all unless given, must give a timestamp.

    Each gets a request with a nonce of its own. Raises ThresholdNotMet, which holds what came and why the rest
    did not, and RequestError for a request that cannot be built.
    """
    needed = len(urls) if threshold is None else threshold
    if not 1 <= needed <= len(urls):
        raise ValueError(f"the threshold must be between 1 and the number of authorities, {len(urls)}")
    if artifact is not None:
        digest = hash_artifact(artifact, strong_hash(hash_name))

    def ask(url: str) -> Timestamp | ClientError:
        try:
            with TimestampClient(url, timeout=timeout, verifier=verifier) as client:
                return client.stamp(
                    digest=digest, hash_name=hash_name, nonce=nonce, certificate=certificate, policy=policy
                )
        except ClientError as error:
            return error

    with ThreadPoolExecutor(max_workers=min(len(urls), _MAX_THREADS)) as pool:
        answers = list(pool.map(ask, urls))
    timestamps = tuple(answer for answer in answers if isinstance(answer, Timestamp))
    failures = tuple(answer for answer in answers if isinstance(answer, ClientError))
    if len(timestamps) < needed:
        raise ThresholdNotMet(needed, timestamps, failures)
    return Timestamps(timestamps=timestamps, failures=failures)
