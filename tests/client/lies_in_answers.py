"""Well-formed answers that are no replies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from tests.client.lying_server import CHAIN, OK, Conversation, lie, sized
from tsa_core.client import BadReply, TimestampRefused, UnexpectedAnswer
from tsa_core.testing import forge


@lie(UnexpectedAnswer, "HTTP status 200, text/html: Welcome to nginx & friends")
def a_page(c: Conversation) -> None:
    page = b"<!doctype html><html><head>\n<TITLE lang=en> Welcome to\n nginx &amp; friends</TITLE></head></html>"
    c.answer(OK, page, "text/html; charset=utf-8")


@lie(UnexpectedAnswer, "HTTP status 200, application/timestamp-reply: It works!")
def a_page_that_claims_to_be_a_reply(c: Conversation) -> None:
    c.answer(OK, b"It works!")


@lie(UnexpectedAnswer, "HTTP status 400: the nonce is too long")
def json_that_claims_to_be_a_reply(c: Conversation) -> None:
    c.answer("400 Bad Request", b'{"code": 400, "message": "the nonce is too long"}')


@lie(UnexpectedAnswer, "HTTP status 500: out of order, 0 of 3 keys")
def text_that_claims_to_be_a_reply(c: Conversation) -> None:
    c.answer("500 Internal Server Error", b"out of order,\r\n\x1b0 of 3\0keys")


@lie(UnexpectedAnswer, "HTTP status 500: 0 keys are loaded")
def text_that_begins_like_der(c: Conversation) -> None:
    c.answer("500 Internal Server Error", b"0 keys are loaded")


@lie(UnexpectedAnswer, "HTTP status 400: Not today")
def json_of_rfc_9457(c: Conversation) -> None:
    body = b'{"type": "about:blank", "title": "Bad Request", "detail": "Not today"}'
    c.answer("400 Bad Request", body, "application/problem+json")


@lie(UnexpectedAnswer, r"HTTP status 502 \(Bad Gateway\)")
def an_error_without_a_word(c: Conversation) -> None:
    c.answer("502 \x1b[31mred")


@lie(UnexpectedAnswer, "HTTP status 500: .* bytes that are not text")
def an_error_of_random_bytes(c: Conversation) -> None:
    c.answer("500 Internal Server Error", bytes(range(256)) * 8)


@lie(UnexpectedAnswer, "Retry-After: 120 seconds")
def too_many_requests(c: Conversation) -> None:
    c.answer("429 Too Many Requests", b"slow down", "text/plain", Retry_After="120")


@lie(UnexpectedAnswer, "Retry-After: [0-9]+ seconds")
def too_many_requests_until_a_date(c: Conversation) -> None:
    c.answer("429 Too Many Requests", Retry_After=format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True))


@lie(UnexpectedAnswer, "Too Many Requests")
def too_many_requests_for_a_nonsense_time(c: Conversation) -> None:
    c.answer("429 Too Many Requests", Retry_After="Thu, 99 Foo -1 soon\0")


@lie(UnexpectedAnswer, "Too Many Requests")
def too_many_requests_for_ever(c: Conversation) -> None:
    c.answer("429 Too Many Requests", Retry_After="9" * 5000)


@lie(UnexpectedAnswer, "503: maintenance")
def under_maintenance(c: Conversation) -> None:
    c.answer("503 Service Unavailable", b"maintenance", "text/plain", Retry_After="3600")


@lie(UnexpectedAnswer, "HTTP status 204")
def no_content(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/1.1 204 No Content\r\n\r\n")


@lie(UnexpectedAnswer, "HTTP status 206")
def a_part(c: Conversation) -> None:
    c.answer("206 Partial Content", b"\x30\x03", Content_Range="bytes 0-1/5")


@lie(UnexpectedAnswer, "HTTP status 304")
def nothing_new(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/1.1 304 Not Modified\r\n\r\n")


@lie(UnexpectedAnswer, "an empty answer")
def nothing_at_all(c: Conversation) -> None:
    c.answer(OK)


@lie(BadReply, "cannot be read")
def half_a_reply(c: Conversation) -> None:
    reply = c.reply()
    c.send(sized(len(reply) // 2), reply[: len(reply) // 2])


@lie(BadReply, "cannot be read")
def nested_without_end(c: Conversation) -> None:
    c.answer(OK, b"\x30\x80" * 100_000)


@lie(BadReply, "imprint is not the one in the request")
def a_reply_to_somebody_else(c: Conversation) -> None:
    content = forge.tst_info(b"other data", nonce=1, gen_time=datetime.now(UTC))
    c.answer(OK, forge.reply(forge.token(CHAIN.signer, content, certificates=[CHAIN.signer.der])))


@lie(TimestampRefused, r"out of service \[2J for today")
def a_refusal_under_an_error(c: Conversation) -> None:
    c.answer("503 Service Unavailable", forge.reply(status=2, texts=["out of service\x1b[2J for today"], failures=[25]))
