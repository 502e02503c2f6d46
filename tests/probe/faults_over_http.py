"""Faults in HTTP, and in what is granted and refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.probe.fault import add, fault
from tests.probe.faulty_authority import (
    POLICY,
    FaultyAuthority,
    Fields,
    HttpAnswer,
    HttpRequest,
)
from tsa_core.probe import bodies
from tsa_core.protocol import der, oids
from tsa_core.protocol.request import TimeStampReq, read_request
from tsa_core.protocol.status import PKIFailureInfo
from tsa_core.testing import forge

NULL: Final = der.null()
TRUE: Final = der.boolean(True)


# --- HTTP


def _http(change: Callable[[HttpRequest, HttpAnswer], None], fails: str, name: str) -> None:
    def put(authority: FaultyAuthority) -> None:
        authority.http = change

    add(fails, name, put)


def _moved(request: HttpRequest, answer: HttpAnswer) -> None:
    answer.status, answer.body = 307, b""
    answer.headers = {"Location": "/elsewhere"}


def _created(request: HttpRequest, answer: HttpAnswer) -> None:
    if answer.status == 200:
        answer.status = 201


def _refusal_as_400(request: HttpRequest, answer: HttpAnswer) -> None:
    if answer.body[:7] != b"\x30\x82" + answer.body[2:4] + b"\x30\x03\x02" and answer.status == 200:
        answer.status = 400


def _typed(text: str) -> Callable[[HttpRequest, HttpAnswer], None]:
    def change(request: HttpRequest, answer: HttpAnswer) -> None:
        if answer.body:
            answer.headers["Content-Type"] = text

    return change


def _chunked(request: HttpRequest, answer: HttpAnswer) -> None:
    answer.chunked = bool(answer.body)


def _without_length(request: HttpRequest, answer: HttpAnswer) -> None:
    answer.length = False


def _crash_at_noise(request: HttpRequest, answer: HttpAnswer) -> None:
    if request.body[:4] == b"GET ":
        answer.status, answer.body = 500, b"Traceback"


def _busy_by_mistake(request: HttpRequest, answer: HttpAnswer) -> None:
    _crash_at_noise(request, answer)
    if answer.status == 500:
        answer.headers["Retry-After"] = "1"


def _hang_up_at_nothing(request: HttpRequest, answer: HttpAnswer) -> None:
    if request.method == "POST" and not request.body:
        answer.status = 0


def _page_for_browsers(request: HttpRequest, answer: HttpAnswer) -> None:
    if request.method == "GET":
        answer.status, answer.body = 200, b"<html>welcome</html>"


def _no_put(request: HttpRequest, answer: HttpAnswer) -> None:
    if request.method == "PUT":
        answer.status = 501


def _no_allow(request: HttpRequest, answer: HttpAnswer) -> None:
    answer.headers.pop("Allow", None)


def _takes_any_type(authority: FaultyAuthority) -> None:
    def change(request: HttpRequest, answer: HttpAnswer) -> None:
        if answer.status == 415:
            answer.status, answer.body = 200, authority.respond(request.body)

    authority.http = change


def _type_letter_by_letter(request: HttpRequest, answer: HttpAnswer) -> None:
    if request.headers.get("content-type") != "application/timestamp-query":
        answer.status, answer.body = 415, b""


def _no_http_1_0(request: HttpRequest, answer: HttpAnswer) -> None:
    if request.version == "HTTP/1.0":
        answer.status, answer.body = 505, b""


def _chunks_in_1_0(request: HttpRequest, answer: HttpAnswer) -> None:
    answer.chunked = request.version == "HTTP/1.0"


def _close(request: HttpRequest, answer: HttpAnswer) -> None:
    answer.close = True


def _no_chunked_requests(request: HttpRequest, answer: HttpAnswer) -> None:
    if "transfer-encoding" in request.headers:
        answer.status, answer.body = 400, b""


def _big_page(request: HttpRequest, answer: HttpAnswer) -> None:
    if len(request.body) > 1 << 16:
        answer.status, answer.body, answer.headers = 200, b"thank you", {"Content-Type": "text/plain"}


_http(_moved, "redirect granted", "moved")
_http(_created, "status-granted", "created")
_http(_refusal_as_400, "status-refused", "refusal_as_400")
_http(_typed("application/octet-stream"), "media-type", "octet_stream")
_http(_typed("application/timestamp-reply; charset=binary"), "media-type-exact", "parameter_of_the_type")
_http(_typed("Application/Timestamp-Reply"), "media-type-exact", "upper_case_type")
_http(_chunked, "content-length", "chunked_replies")
_http(_without_length, "content-length", "no_content_length")
_http(_crash_at_noise, "server-errors refusal-form", "status_500")
_http(_busy_by_mistake, "server-errors refusal-form", "status_500_with_retry_after")
_http(_hang_up_at_nothing, "server-errors", "hung_up")
_http(_page_for_browsers, "other-methods", "page_for_browsers")
_http(_no_put, "other-methods", "put_not_implemented")
_http(_no_allow, "other-methods", "no_allow")
add("wrong-type media-type", "takes_any_type", _takes_any_type)
_http(_type_letter_by_letter, "request-type", "type_letter_by_letter")
_http(_no_http_1_0, "http-1-0", "no_http_1_0")
_http(_chunks_in_1_0, "http-1-0 content-length", "chunks_in_1_0")
_http(_close, "keep-alive", "connection_closed")
_http(_no_chunked_requests, "chunked-request", "no_chunked_requests")
_http(_big_page, "big-body", "big_body_accepted")


# --- Requests that are not granted


def _disliking(fails: str, name: str, dislikes: Callable[[TimeStampReq], bool]) -> None:
    def put(authority: FaultyAuthority) -> None:
        authority.dislikes = dislikes

    add(fails, name, put)


def _imprint(request: TimeStampReq) -> str:
    return request.hash_algorithm.name if request.hash_algorithm is not None else ""


_disliking("granted", "refuses_all", lambda _: True)
_disliking("no-nonce", "wants_a_nonce", lambda r: r.nonce is None)
_disliking("nonces", "wants_long_nonces", lambda r: r.nonce is not None and 0 <= r.nonce < 2**32)
_disliking("long-nonces", "wants_short_nonces", lambda r: r.nonce is not None and r.nonce >= 2**64)
_disliking("negative-nonce", "wants_positive_nonces", lambda r: r.nonce is not None and r.nonce < 0)
_disliking("sha-2", "knows_sha_256_alone", lambda r: _imprint(r) != "sha256")
_disliking("sha-3", "knows_no_sha_3", lambda r: _imprint(r).startswith("sha3"))
_disliking("absent-parameters", "wants_null", lambda r: NULL not in r.imprint_der[:20])
_disliking("any-digest", "dislikes_zeros", lambda r: r.digest == bytes(32))
_disliking("own-policy", "takes_no_policy", lambda r: r.policy is not None)


@fault("false-written")
def wants_no_false(authority: FaultyAuthority) -> None:
    authority.before = lambda body: PKIFailureInfo.BAD_DATA_FORMAT if body.endswith(der.boolean(False)) else None


@fault("huge-nonce")
def page_for_a_huge_nonce(authority: FaultyAuthority) -> None:
    def change(request: HttpRequest, answer: HttpAnswer) -> None:
        if der.integer(2**519 - 1) in request.body:
            answer.status, answer.body = 404, b"no"

    authority.http = change


@fault("exactly-granted")
def granted_with_mods(authority: FaultyAuthority) -> None:
    authority.reply = lambda body: body.replace(bytes.fromhex("3003020100"), bytes.fromhex("3003020101"), 1)


@fault("policy-stable own-policy verifies")
def another_policy_each_time(authority: FaultyAuthority) -> None:
    numbers = iter(range(1000))

    def change(request: TimeStampReq, fields: Fields) -> None:
        fields["policy"] = der.oid(f"{POLICY}.{next(numbers)}")

    authority.statement = change
    authority.tolerates = lambda failure, _: failure is PKIFailureInfo.UNACCEPTED_POLICY


# --- What is granted and must not be


def _tolerating(fails: str, name: str, tolerates: Callable[[PKIFailureInfo, bytes], bool]) -> None:
    def put(authority: FaultyAuthority) -> None:
        authority.tolerates = tolerates

    add(fails, name, put)


def _contains(identifier: str) -> Callable[[PKIFailureInfo, bytes], bool]:
    return lambda _failure, body: der.oid(identifier) in body


_tolerating("version", "any_version", lambda f, body: f is PKIFailureInfo.BAD_REQUEST and body[2:4] == b"\x02\x01")
_tolerating(
    "digest-length",
    "any_length",
    lambda f, body: f is PKIFailureInfo.BAD_DATA_FORMAT and (b"\x04\x1f" in body or body.endswith(b"\x04\x00")),
)
_tolerating(
    "digest-length", "longer_digests", lambda f, body: f is PKIFailureInfo.BAD_DATA_FORMAT and b"\x04\x21" in body
)
_tolerating(
    "other-parameters", "any_parameters", lambda _, body: der.sequence(der.oid(oids.SHA256), der.integer(1)) in body
)
_tolerating("unknown-hash", "any_hash", _contains(bodies.UNKNOWN_HASH))
_tolerating("weak-hashes", "sha1_and_md5", lambda f, b: _contains(oids.SHA1)(f, b) or _contains(oids.MD5)(f, b))
_tolerating("weak-hashes", "sha1", _contains(oids.SHA1))
_tolerating("extensions", "any_extension", lambda f, _: f is PKIFailureInfo.UNACCEPTED_EXTENSION)
_tolerating(
    "extensions", "extensions_unless_critical", lambda f, b: f is PKIFailureInfo.UNACCEPTED_EXTENSION and TRUE not in b
)
_tolerating("foreign-policy", "any_policy", lambda f, _: f is PKIFailureInfo.UNACCEPTED_POLICY)
_tolerating("malformed", "anything", lambda f, _: f is PKIFailureInfo.BAD_DATA_FORMAT)
_tolerating("malformed", "a_set_for_a_sequence", lambda _, body: body[:1] == b"\x31")
_tolerating("loose-lengths", "ber", lambda _, body: body[:2] in {b"\x30\x80", b"\x30\x82"})
_tolerating("loose-lengths", "a_byte_more", lambda _, body: body.endswith(b"\x00"))


# --- How it is refused


def _refusing(fails: str, name: str, refusal: Callable[[PKIFailureInfo, str], bytes]) -> None:
    def put(authority: FaultyAuthority) -> None:
        authority.refusal = refusal

    add(fails, name, put)


_TEXT: Final = der.sequence(der.tlv(der.UTF8_STRING, b"no"))
_refusing("refusal-form", "refusals_in_html", lambda _f, _t: b"<html>no</html>")
_refusing("token-iff-granted", "granted_without_a_token", lambda _f, _t: forge.reply(status=0))
_refusing("fail-info", "no_fail_info", lambda _f, t: forge.reply(status=2, texts=[t]))
_refusing("fail-info", "two_bits", lambda _f, t: forge.reply(status=2, texts=[t], failures=[0, 2]))
_refusing("fail-info", "unknown_bit", lambda _f, t: forge.reply(status=2, texts=[t], failures=[9]))
_refusing("fail-info", "status_waiting", lambda f, t: forge.reply(status=3, texts=[t], failures=[f]))
_refusing("fail-reason", "always_system_failure", lambda _f, t: forge.reply(status=2, texts=[t], failures=[25]))
_refusing(
    "fail-info-der",
    "trailing_zero_bits",
    lambda f, _t: der.sequence(
        der.sequence(der.integer(2), _TEXT, der.tlv(0x03, b"\x00" + (0x80000000 >> f).to_bytes(4, "big")))
    ),
)
_refusing("status-text", "no_text", lambda f, _t: forge.reply(status=2, failures=[f]))
_refusing("status-text", "blank_text", lambda f, _t: forge.reply(status=2, texts=["  "], failures=[f]))
_refusing("status-text-form", "two_texts", lambda f, t: forge.reply(status=2, texts=[t, "more"], failures=[f]))
_refusing(
    "status-text-form",
    "latin_text",
    lambda f, _t: der.sequence(der.sequence(der.integer(2), der.sequence(der.tlv(0x13, b"no")), der.named_bits(f))),
)


@fault("token-iff-granted version")
def a_token_in_a_refusal(authority: FaultyAuthority) -> None:
    authority.refusal = lambda failure, text: forge.reply(
        authority.token_for(read_request(bodies.request())), status=2, texts=[text], failures=[failure]
    )
