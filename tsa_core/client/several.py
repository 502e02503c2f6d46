"""Asking several authorities at once, of which enough must answer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final, Unpack

from tsa_core.client.client import TimestampClient
from tsa_core.client.deadline import Deadline
from tsa_core.client.errors import ClientError, NotAwaited, RequestTimeout, ThresholdNotMet
from tsa_core.client.request import build_request, strong_hash
from tsa_core.client.settings import ClientSettings
from tsa_core.client.timestamp import Timestamp
from tsa_core.client.transport import origin, timestamp_url, without_credentials
from tsa_core.values import Value
from tsa_core.verify import VerificationError, hash_artifact
from tsa_core.verify.statement import Octets

_GRACE: Final = 0.25
"""Seconds after the deadline in which the threads whose sockets were shut down say so."""


class Timestamps(Value):
    """What several authorities gave, in the order of their URLs, and why others gave nothing.

    `failures` holds NotAwaited for an authority that had not answered when enough others had.
    """

    timestamps: tuple[Timestamp, ...]
    failures: tuple[ClientError, ...]


def distinct_urls(urls: Sequence[str]) -> tuple[str, ...]:
    """Return the URLs without those that lead to the same place as an earlier one, whoever logs in there."""
    places: dict[object, str] = {}
    for url in urls:
        try:
            whole = timestamp_url(url)
            place: object = (origin(whole), without_credentials(whole).partition("://")[2].partition("/")[2])
        except ClientError:
            place = url
        places.setdefault(place, url)
    return tuple(places.values())


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
    **settings: Unpack[ClientSettings],
) -> Timestamps:
    """Ask several authorities at once and return when `threshold` of them, all unless given, gave a timestamp.

    `artifact` is a path, bytes, or a file open for reading bytes. The same URL counts once; of two URLs at which one
    key signs, the later one's timestamp has a warning that says so. Each gets a request with a nonce of its own.
    `timeout` is a deadline over all of it; an authority that has not answered when enough others have is left. The
    settings are those of TimestampClient and are used for every URL. Raises ThresholdNotMet, which holds what came and
    why the rest did not, RequestError for a request that cannot be built, and ClientSettingError.
    """
    distinct = distinct_urls(urls)
    needed = len(distinct) if threshold is None else threshold
    if not 1 <= needed <= len(distinct):
        raise ValueError(f"the threshold must be between 1 and the number of authorities, {len(distinct)}")
    if artifact is not None:
        digest = hash_artifact(artifact, strong_hash(hash_name))
    answers: dict[str, Timestamp | ClientError] = {}
    asked: dict[str, tuple[TimestampClient, bytes]] = {}
    for url in distinct:
        request = build_request(digest=digest, hash_name=hash_name, nonce=nonce, certificate=certificate, policy=policy)
        try:
            asked[url] = TimestampClient(url, **settings), request
        except ClientError as error:
            answers[url] = error
    with Deadline(settings.get("timeout", 30.0)) as deadline:
        try:
            answers |= _collect(asked, needed, deadline)
        finally:
            deadline.cancel()
    enough = sum(isinstance(answer, Timestamp) for answer in answers.values()) >= needed
    for url, (client, _) in asked.items():
        answers.setdefault(url, _missing(client, deadline, enough=enough))
    given = _of_one_key([answer for url in distinct if isinstance(answer := answers[url], Timestamp)])
    failures = tuple(answer for url in distinct if isinstance(answer := answers[url], ClientError))
    if len(given) < needed:
        raise ThresholdNotMet(needed, given, failures)
    return Timestamps(timestamps=given, failures=failures)


def _collect(
    asked: dict[str, tuple[TimestampClient, bytes]], needed: int, deadline: Deadline
) -> dict[str, Timestamp | ClientError]:
    """Return the answers that came until there were enough, or no more to come, or the deadline."""
    if len(asked) == 1:
        # Without a thread: the deadline ends the exchange itself.
        [(url, (client, request))] = asked.items()
        with client:
            try:
                return {url: client.send(request, deadline=deadline)}
            except ClientError as error:
                return {url: error}
    import queue

    arrivals: queue.SimpleQueue[tuple[str, Timestamp | Exception]] = queue.SimpleQueue()

    def ask(url: str, client: TimestampClient, request: bytes) -> None:
        try:
            with client:
                arrivals.put((url, client.send(request, deadline=deadline)))
        except Exception as error:  # noqa: BLE001 - raised again by the thread that waits
            arrivals.put((url, error))

    for url, (client, request) in asked.items():
        # A thread for each: with fewer, as many silent authorities would keep the others from being asked.
        threading.Thread(target=ask, args=(url, client, request), name="tsa-client-ask", daemon=True).start()
    answers: dict[str, Timestamp | ClientError] = {}
    good = 0
    while len(answers) < len(asked):
        try:
            url, answer = arrivals.get(timeout=deadline.remaining + _GRACE if good < needed else 0)
        except queue.Empty:
            break
        if not isinstance(answer, Timestamp | ClientError):
            raise answer
        answers[url] = answer
        good += isinstance(answer, Timestamp)
    return answers


def _of_one_key(given: Sequence[Timestamp]) -> tuple[Timestamp, ...]:
    """Return the timestamps, those with a warning whose key signed at an earlier URL too: it is no other authority."""
    if len(given) < 2:
        return tuple(given)
    urls: dict[bytes, str] = {}
    return tuple(_told(each, urls) for each in given)


def _told(timestamp: Timestamp, urls: dict[bytes, str]) -> Timestamp:
    """Return a timestamp, with a warning when its key is in `urls`, and add it there otherwise."""
    key = _signers_key(timestamp)
    if key is None or (earlier := urls.setdefault(key, timestamp.url)) == timestamp.url:
        return timestamp
    text = f"it is the authority of {earlier}: both sign with one key, so that both prove what one does"
    return timestamp.replace(warnings=(*timestamp.warnings, text))


def _signers_key(timestamp: Timestamp) -> bytes | None:
    """Return the public key that signed; None without its certificate."""
    from tsa_core.paths.certificate import PathCertificate
    from tsa_core.paths.ocsp import subject_public_key
    from tsa_core.verify.signed_data import find_signer
    from tsa_core.verify.statement import open_reply, read_statement, readable

    try:
        if timestamp.verified is not None:
            signer = PathCertificate(timestamp.verified.signer_certificate)
        else:
            token = open_reply(timestamp.reply)[1]
            signer = find_signer(read_statement(token).signed, readable(token.certificates))
    except VerificationError:
        return None
    return subject_public_key(signer)


def _missing(client: TimestampClient, deadline: Deadline, *, enough: bool) -> ClientError:
    if enough:
        return NotAwaited(client.url, "not waited for, because enough others had answered")
    return RequestTimeout(client.url, f"no complete answer within {deadline.seconds:g} seconds")
