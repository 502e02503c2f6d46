"""The client library against authorities that behave, and against all the others."""

from __future__ import annotations

import base64
import io
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tsa_core.client import (
    BadReply,
    ClientSettings,
    ReplyTooLarge,
    RequestError,
    RequestTimeout,
    ThresholdNotMet,
    TimestampClient,
    TimestampRefused,
    TransportError,
    UnexpectedAnswer,
    build_request,
    stamp_all,
)
from tsa_core.client.transport import timestamp_url
from tsa_core.protocol.hashes import SHA256, SHA512
from tsa_core.protocol.request import read_request
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import make_chain
from tsa_core.testing.http_tsa import Answer, HttpTsa
from tsa_core.verify import ImprintMismatch, NonceMismatch, PathError, SignatureInvalid, TrustStore, Verifier

CHAIN = make_chain()


def stamp(request: bytes, **parts: Any) -> bytes:
    """Return the reply of an honest authority."""
    parsed = read_request(request)
    assert parsed.hash_algorithm is not None
    content = forge.tst_info(
        hash_algorithm=parsed.hash_algorithm,
        digest=parsed.digest,
        nonce=parsed.nonce,
        policy=parsed.policy or forge.POLICY,
        # Without a nonce only a recent reply counts (rule V6).
        gen_time=forge.GEN_TIME if parsed.nonce is not None else datetime.now(UTC),
    )
    certificates = [CHAIN.signer.der] if parsed.cert_req else []
    return forge.reply(forge.token(CHAIN.signer, content, certificates=certificates, **parts))


def honest(request: bytes) -> Answer:
    return Answer(body=stamp(request))


@pytest.fixture
def tsa() -> Iterator[HttpTsa]:
    with HttpTsa(honest) as server:
        yield server


@pytest.fixture
def client(tsa: HttpTsa) -> Iterator[TimestampClient]:
    with TimestampClient(tsa.url, timeout=20) as client:
        yield client


# --- requests ---


def test_a_request_asks_for_what_it_was_told() -> None:
    parsed = read_request(
        build_request(artifact=io.BytesIO(b"hello"), hash_name="SHA-512", nonce=5, certificate=False, policy="1.2.3")
    )
    assert (parsed.digest, parsed.nonce, parsed.policy) == (SHA512.digest(b"hello"), 5, "1.2.3")
    assert not parsed.cert_req


def test_nonces_are_64_bits_and_never_the_same() -> None:
    nonces = {read_request(build_request(digest=bytes(32))).nonce for _ in range(50)}
    assert len(nonces) == 50
    assert all(nonce is not None and 2**63 <= nonce < 2**64 for nonce in nonces)
    assert read_request(build_request(digest=bytes(32), nonce=False)).nonce is None
    assert read_request(build_request(digest=bytes(32), nonce=0)).nonce == 0


@pytest.mark.parametrize(
    ("hash_name", "digest", "policy"),
    [("sha1", bytes(20), None), ("md5", bytes(16), None), ("what", bytes(32), None), ("sha256", bytes(31), None)]
    + [("sha256", bytes(32), policy) for policy in ("", "abc", "1", "1.2.-3", "9.9.9")],
)
def test_requests_that_cannot_be_built(hash_name: str, digest: bytes, policy: str | None) -> None:
    with pytest.raises(RequestError):
        build_request(digest=digest, hash_name=hash_name, policy=policy)


def test_either_an_artifact_or_a_digest() -> None:
    neither_and_both: list[dict[str, Any]] = [{}, {"artifact": b"", "digest": bytes(32)}]
    for arguments in neither_and_both:
        with pytest.raises(TypeError):
            build_request(**arguments)


# --- answers ---


def test_a_timestamp(tsa: HttpTsa, client: TimestampClient) -> None:
    timestamp = client.stamp(artifact=b"hello")
    assert (timestamp.time, timestamp.url, timestamp.verified) == (forge.GEN_TIME, tsa.url, None)
    received = tsa.received[0]
    assert received.body == timestamp.request
    assert received.headers["Content-Type"] == "application/timestamp-query"
    assert received.headers["Accept"] == "application/timestamp-reply"
    assert timestamp.tst_info.hashed_message == SHA256.digest(b"hello")


@pytest.mark.parametrize("certificate", [True, False])
@pytest.mark.parametrize("nonce", [True, False])
def test_every_combination_of_nonce_and_certificate(client: TimestampClient, certificate: bool, nonce: bool) -> None:
    timestamp = client.stamp(artifact=b"hello", certificate=certificate, nonce=nonce)
    assert (timestamp.tst_info.nonce is not None) == nonce


def test_with_a_verifier_the_path_counts(tsa: HttpTsa) -> None:
    good = TimestampClient(tsa.url, verifier=Verifier(TrustStore.from_chain(CHAIN.pem)))
    verified = good.stamp(artifact=b"hello", certificate=False).verified
    assert verified is not None
    assert verified.signer_certificate == CHAIN.signer.certificate
    bad = TimestampClient(tsa.url, verifier=Verifier(TrustStore.from_chain(make_chain().pem)))
    with pytest.raises(BadReply) as caught:
        bad.stamp(artifact=b"hello")
    assert isinstance(caught.value.cause, PathError)


def test_a_refusal_explains_itself(tsa: HttpTsa, client: TimestampClient) -> None:
    tsa.answer = lambda _: Answer(body=forge.reply(status=2, texts=["use sha256 or better"], failures=[0]))
    with pytest.raises(TimestampRefused) as caught:
        client.stamp(artifact=b"hello")
    error = caught.value
    assert (error.status, error.texts, error.failures) == (2, ("use sha256 or better",), ("badAlg",))
    assert "badAlg" in str(error)
    assert "use sha256 or better" in str(error)
    assert tsa.url in str(error)


def test_a_refusal_with_an_http_error_is_still_a_refusal(tsa: HttpTsa, client: TimestampClient) -> None:
    tsa.answer = lambda _: Answer(body=forge.reply(status=2, failures=[15]), status=400)
    with pytest.raises(TimestampRefused, match="unacceptedPolicy"):
        client.stamp(artifact=b"hello")


def other(digest: bytes | None = None, nonce: int | None = None) -> Callable[[bytes], Answer]:
    def answer(request: bytes) -> Answer:
        parsed = read_request(request)
        content = forge.tst_info(digest=digest or parsed.digest, nonce=nonce or parsed.nonce)
        token = forge.token(CHAIN.signer, content, certificates=[CHAIN.signer.der])
        return Answer(body=forge.reply(token))

    return answer


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (other(digest=bytes(32)), ImprintMismatch),
        (other(nonce=7), NonceMismatch),
        (lambda request: Answer(body=stamp(request, signature=bytes(70))), SignatureInvalid),
    ],
)
def test_a_reply_to_something_else_is_not_used(
    tsa: HttpTsa, client: TimestampClient, answer: Callable[[bytes], Answer], cause: type[Exception]
) -> None:
    tsa.answer = answer
    with pytest.raises(BadReply) as caught:
        client.stamp(artifact=b"hello")
    assert type(caught.value.cause) is cause


def test_a_certificate_that_was_asked_for_must_come(tsa: HttpTsa, client: TimestampClient) -> None:
    plain = build_request(digest=SHA256.digest(b"hello"), nonce=9, certificate=False)
    tsa.answer = lambda _: Answer(body=stamp(plain))
    with pytest.raises(BadReply, match="asked for"):
        client.stamp(artifact=b"hello", nonce=9)


# --- transport ---


def test_urls() -> None:
    assert timestamp_url("https://tsa.example") == "https://tsa.example/api/v1/timestamp"
    assert timestamp_url("https://tsa.example/") == "https://tsa.example/api/v1/timestamp"
    assert timestamp_url("http://tsa.example:81/tsr?a=b#c") == "http://tsa.example:81/tsr?a=b"
    for wrong in ("", "tsa.example", "ftp://tsa.example", "http://", "http://[::1", "http://host:99999/", "file:///x"):
        with pytest.raises(TransportError, match="not an http"):
            timestamp_url(wrong)


def test_a_url_without_a_path_gets_sigstores(tsa: HttpTsa) -> None:
    TimestampClient(tsa.origin).stamp(artifact=b"hello")
    assert tsa.received[0].path == "/api/v1/timestamp"


def test_credentials_are_sent_and_never_shown(tsa: HttpTsa) -> None:
    url = tsa.url.replace("http://", "http://user:secret@")
    timestamp = TimestampClient(url).stamp(artifact=b"hello")
    assert "secret" not in timestamp.url
    expected = "Basic " + base64.b64encode(b"user:secret").decode()
    assert {name.lower(): value for name, value in tsa.received[0].headers.items()}["authorization"] == expected
    tsa.answer = lambda _: Answer(status=500)
    with pytest.raises(UnexpectedAnswer) as caught:
        TimestampClient(url).stamp(artifact=b"hello")
    assert "secret" not in str(caught.value)


def test_an_http_error_with_a_message(tsa: HttpTsa, client: TimestampClient) -> None:
    body = b'{"code": 400, "message": "Weak hash algorithm in timestamp request"}'
    tsa.answer = lambda _: Answer(status=400, body=body, headers={"Content-Type": "application/json"})
    with pytest.raises(UnexpectedAnswer, match="400: Weak hash algorithm") as caught:
        client.stamp(artifact=b"hello")
    assert caught.value.status == 400


def test_something_else_than_a_reply(tsa: HttpTsa, client: TimestampClient) -> None:
    tsa.answer = lambda _: Answer(body=b"<html>hello</html>", headers={"Content-Type": "text/html"})
    with pytest.raises(UnexpectedAnswer, match="200, text/html"):
        client.stamp(artifact=b"hello")


def test_too_much(tsa: HttpTsa, client: TimestampClient) -> None:
    tsa.answer = lambda _: Answer(body=bytes(3 << 20))
    with pytest.raises(ReplyTooLarge):
        client.stamp(artifact=b"hello")


def test_too_late(tsa: HttpTsa) -> None:
    never = threading.Event()
    tsa.answer = lambda request: Answer(body=stamp(request), wait=never)
    try:
        with pytest.raises(RequestTimeout, match=r"0\.2 seconds"):
            TimestampClient(tsa.url, timeout=0.2).stamp(artifact=b"hello")
    finally:
        never.set()


def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        with pytest.raises(TransportError, match="refused"):
            TimestampClient(url, timeout=5).stamp(artifact=b"hello")


@pytest.mark.parametrize("status", [307, 308])
def test_redirects_that_keep_the_method_are_followed(tsa: HttpTsa, status: int) -> None:
    def answer(request: bytes) -> Answer:
        if tsa.received[-1].path == "/moved":
            return honest(request)
        return Answer(status=status, headers={"Location": "/moved"})

    tsa.answer = answer
    assert TimestampClient(tsa.url).stamp(artifact=b"hello").time == forge.GEN_TIME
    assert [received.path for received in tsa.received] == ["/tsa", "/moved"]
    assert tsa.received[0].body == tsa.received[1].body


@pytest.mark.parametrize("status", [301, 302, 303])
def test_redirects_that_may_turn_a_post_into_a_get_are_explained(tsa: HttpTsa, status: int) -> None:
    tsa.answer = lambda _: Answer(status=status, headers={"Location": "http://127.0.0.1:1/moved"})
    with pytest.raises(UnexpectedAnswer, match="moved to 'http://127"):
        TimestampClient(tsa.url).stamp(artifact=b"hello")
    assert len(tsa.received) == 1


def test_endless_redirects_end(tsa: HttpTsa) -> None:
    tsa.answer = lambda _: Answer(status=307, headers={"Location": "/tsa"})
    with pytest.raises(TransportError, match="more than 3 redirects"):
        TimestampClient(tsa.url).stamp(artifact=b"hello")
    assert len(tsa.received) == 4


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/", "file:///etc/passwd", "javascript:1"])
def test_redirects_to_other_schemes_are_not_followed(tsa: HttpTsa, location: str) -> None:
    tsa.answer = lambda _: Answer(status=307, headers={"Location": location})
    with pytest.raises(TransportError, match="not followed"):
        TimestampClient(tsa.url).stamp(artifact=b"hello")


def test_a_proxy_is_used_when_the_environment_names_one(tsa: HttpTsa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", tsa.origin)
    monkeypatch.delenv("no_proxy", raising=False)
    TimestampClient("http://tsa.example/tsr").stamp(artifact=b"hello")
    assert tsa.received[0].path == "http://tsa.example/tsr"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    TimestampClient(tsa.url).stamp(artifact=b"hello")
    assert tsa.received[1].path == "/tsa"


def test_connections_are_kept(client: TimestampClient) -> None:
    threads = [threading.Thread(target=client.stamp, kwargs={"artifact": b"hello"}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.stamp(artifact=b"hello").time == forge.GEN_TIME


# --- several authorities ---


def test_all_of_them_by_default(tsa: HttpTsa) -> None:
    result = stamp_all([tsa.url, tsa.origin], artifact=io.BytesIO(b"hello"))
    assert [timestamp.url for timestamp in result.timestamps] == [tsa.url, f"{tsa.origin}/api/v1/timestamp"]
    first, second = (read_request(received.body) for received in tsa.received)
    assert first.digest == second.digest == SHA256.digest(b"hello")
    assert first.nonce != second.nonce


def test_enough_of_them(tsa: HttpTsa) -> None:
    with HttpTsa(lambda _: Answer(body=forge.reply(status=2, failures=[14]))) as broken:
        result = stamp_all([broken.url, tsa.url, tsa.origin], threshold=2, artifact=b"hello")
        assert len(result.timestamps) == 2
        # Its refusal, if it came before the second timestamp did.
        assert [failure.url for failure in result.failures] == [broken.url]
        with pytest.raises(ThresholdNotMet, match="2 of 3") as caught:
            stamp_all([broken.url, tsa.url, tsa.origin], artifact=b"hello")
    assert len(caught.value.timestamps) == 2
    assert [failure.url for failure in caught.value.failures] == [broken.url]
    assert "timeNotAvailable" in str(caught.value.failures[0])


@pytest.mark.parametrize("trust", [None, TrustStore.from_chain(CHAIN.pem)], ids=["no trust", "trust"])
def test_one_authority_at_two_urls_is_told(tsa: HttpTsa, trust: TrustStore | None) -> None:
    """Who asks two for the sake of independence learns that they are one, whatever they are called."""
    other = make_chain()

    def stamp_as_another(request: bytes) -> Answer:
        content = forge.tst_info(b"hello", nonce=read_request(request).nonce)
        return Answer(body=forge.reply(forge.token(other.signer, content, certificates=[other.signer.der])))

    settings: ClientSettings = {} if trust is None else {"verifier": Verifier(trust)}
    with HttpTsa(stamp_as_another) as independent:
        urls = [tsa.url, tsa.origin] if trust is not None else [independent.url, tsa.url, tsa.origin]
        *first, last = stamp_all(urls, artifact=b"hello", **settings).timestamps
    told = f"it is the authority of {tsa.url}: both sign with one key, so that both prove what one does"
    assert told in last.warnings
    assert not any("one key" in warning for each in first for warning in each.warnings)
    # Nobody knows whose key it is.
    without = stamp_all([tsa.url, tsa.origin], artifact=b"hello", certificate=False).timestamps
    assert not any("one key" in warning for each in without for warning in each.warnings)


def test_the_same_url_counts_once(tsa: HttpTsa) -> None:
    again = tsa.url.replace("http://", "HTTP://user:secret@") + "#x"
    assert len(stamp_all([tsa.url, again, tsa.url], artifact=b"hello").timestamps) == 1
    with pytest.raises(ValueError, match="number of authorities, 1"):
        stamp_all([tsa.url, again], threshold=2, artifact=b"hello")


@pytest.mark.parametrize("threshold", [0, 3, -1])
def test_a_threshold_that_makes_no_sense(threshold: int) -> None:
    with pytest.raises(ValueError, match="between 1 and"):
        stamp_all(["http://127.0.0.1:1/a", "http://127.0.0.1:1/b"], threshold=threshold, digest=bytes(32))


def test_a_wrong_url_counts_as_a_failure(tsa: HttpTsa) -> None:
    result = stamp_all(["nonsense", tsa.url], threshold=1, artifact=b"hello")
    assert [failure.url for failure in result.failures] == ["nonsense"]


def test_headers_of_the_caller_stay_with_the_server_that_they_are_for(tsa: HttpTsa) -> None:
    with HttpTsa(honest) as elsewhere:
        tsa.answer = lambda _: Answer(status=307, headers={"Location": elsewhere.url})
        TimestampClient(tsa.url, headers={"X-Token": "secret"}).stamp(artifact=b"hello")
        assert tsa.received[0].headers["X-Token"] == "secret"
        assert "X-Token" not in elsewhere.received[0].headers
