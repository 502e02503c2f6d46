"""Lies in redirects and framing, connections that break, and what is not HTTP/1.1."""

from __future__ import annotations

import itertools

from tests.client.lying_server import CHUNKED, OK, REPLY_TYPE, Conversation, head, lie, sized
from tsa_core.client import BadReply, ConnectionFailed, TransportError, UnexpectedAnswer

# --- redirects ---


def _redirect(c: Conversation, location: str, status: str = "307 Temporary Redirect") -> None:
    c.answer(status, Location=location)


@lie(TransportError, "more than 3 redirects")
def redirect_to_itself(c: Conversation) -> None:
    _redirect(c, "/tsa")


@lie(TransportError, "more than 3 redirects")
def redirect_to_ever_new_places(c: Conversation) -> None:
    _redirect(c, f"/tsa/{next(_numbers)}", "308 Permanent Redirect")


_numbers = itertools.count()


@lie(TransportError, "not followed")
def redirect_to_a_file(c: Conversation) -> None:
    _redirect(c, "file:///etc/passwd")


@lie(TransportError, "not followed")
def redirect_to_ftp(c: Conversation) -> None:
    _redirect(c, "ftp://127.0.0.1/reply")


@lie(TransportError, "not followed")
def redirect_to_half_an_address(c: Conversation) -> None:
    _redirect(c, "http://[::1/tsa")


@lie(TransportError, "not followed")
def redirect_to_an_impossible_port(c: Conversation) -> None:
    _redirect(c, "http://127.0.0.1:99999/")


@lie(TransportError, "more than 3 redirects")
def redirect_to_no_host(c: Conversation) -> None:
    _redirect(c, "http:///tsa")


@lie(TransportError, "not followed")
def redirect_with_control_characters(c: Conversation) -> None:
    _redirect(c, "/tsa\x01\x1b[31m HTTP/1.1")


@lie(TransportError, "not followed")
def redirect_to_a_name_of_dots(c: Conversation) -> None:
    _redirect(c, "http://user:secret@a b/")


@lie(TransportError, "")
def redirect_to_an_endless_name(c: Conversation) -> None:
    _redirect(c, f"http://{'a' * 300}/")


@lie(TransportError, "without saying where to")
def redirect_to_nowhere(c: Conversation) -> None:
    c.answer("307 Temporary Redirect")


@lie(UnexpectedAnswer, "it has moved to '/elsewhere'")
def redirect_that_loses_the_request(c: Conversation) -> None:
    _redirect(c, "/elsewhere", "302 Found")


@lie(TransportError, "not followed", tls="good")
def redirect_out_of_tls(c: Conversation) -> None:
    _redirect(c, "http://127.0.0.1:1/")


# --- framing ---


@lie(ConnectionFailed, "ended before it was complete")
def content_length_too_long(c: Conversation) -> None:
    reply = c.reply()
    c.send(sized(len(reply) + 1), reply)


@lie(BadReply, "cannot be read")
def content_length_too_short(c: Conversation) -> None:
    reply = c.reply()
    c.send(sized(len(reply) - 1), reply)


@lie(None)
def content_length_below_zero(c: Conversation) -> None:
    reply = c.reply()
    c.send(sized(-5), reply)


@lie(TransportError, "headers contradict")
def two_content_lengths(c: Conversation) -> None:
    reply = c.reply()
    c.send(head(OK, {"Content-Length": f"{len(reply)}, 7"}), reply)


@lie(ConnectionFailed, "ended before it was complete")
def chunk_size_that_is_no_number(c: Conversation) -> None:
    c.hear()
    c.send(CHUNKED, b"nonsense\r\n")


@lie(ConnectionFailed, "ended before it was complete")
def chunks_without_the_last(c: Conversation) -> None:
    reply = c.reply()
    c.send(CHUNKED, b"%x\r\n%b\r\n" % (len(reply) + 9, reply))


@lie(None)
def chunks_with_extensions_and_trailers(c: Conversation) -> None:
    reply = c.reply()
    c.send(CHUNKED, b"%x;a=b\r\n%b\r\n0;c\r\nX-Trailer: x\r\n\r\n" % (len(reply), reply))


@lie(None)
def chunked_and_a_wrong_length(c: Conversation) -> None:
    reply = c.reply()
    fields = {"Content-Type": REPLY_TYPE, "Transfer-Encoding": "chunked", "Content-Length": "3"}
    c.send(head(OK, fields), b"%x\r\n%b\r\n0\r\n\r\n" % (len(reply), reply))


@lie(None)
def one_byte_at_a_time(c: Conversation) -> None:
    reply = c.reply()
    for octet in head(OK, {"Content-Length": str(len(reply))}) + reply:
        c.send(bytes((octet,)))


@lie(None)
def an_interim_answer_first(c: Conversation) -> None:
    reply = c.reply()
    c.send(b"HTTP/1.1 100 Continue\r\n\r\n", sized(len(reply)), reply)


@lie(None)
def early_hints_first(c: Conversation) -> None:
    reply = c.reply()
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\nContent-Length: 7\r\n\r\n"
    c.send(b"HTTP/1.1 102 Processing\r\n\r\n", hints, b"HTTP/1.1 100 Continue\r\n\r\n", hints, sized(len(reply)), reply)


@lie(None)
def more_after_the_reply(c: Conversation) -> None:
    reply = c.reply()
    c.send(sized(len(reply)), reply, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@lie(None)
def early_answer_of_a_deaf_server(c: Conversation) -> None:
    reply = c.reply()
    c.send(sized(len(reply)), reply)
    c.stay()


# --- connections that break ---


@lie(ConnectionFailed, "")
def reset_at_once(c: Conversation) -> None:
    c.reset()


@lie(ConnectionFailed, "reset")
def reset_after_the_request(c: Conversation) -> None:
    c.hear()
    c.reset()


@lie(ConnectionFailed, "")
def reset_in_the_status_line(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/1.1 2")
    c.reset()


@lie(ConnectionFailed, "")
def reset_in_the_headers(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    c.reset()


@lie(ConnectionFailed, "")
def reset_in_the_body(c: Conversation) -> None:
    reply = c.reply()
    c.send(sized(len(reply)), reply[:100])
    c.reset()


@lie(ConnectionFailed, "closed without an answer")
def closed_without_an_answer(c: Conversation) -> None:
    c.hear()


@lie(UnexpectedAnswer, "200: an empty answer")
def closed_in_the_headers(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/1.1 200 OK\r\nX-Cut: ")


@lie(UnexpectedAnswer, "HTTP status 500: half a sen")
def closed_in_an_error_page(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\nhalf a sen")


# --- what is not HTTP/1.1 ---


@lie(TransportError, "not HTTP")
def no_head_at_all(c: Conversation) -> None:
    c.send(c.reply())


@lie(TransportError, "not HTTP")
def http_2(c: Conversation) -> None:
    c.hear()
    c.send(
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80\x00\x04\x00\x01\x00\x00\x00\x05\x00\xff\xff\xff"
    )


@lie(TransportError, "not HTTP")
def mail_server(c: Conversation) -> None:
    c.send(b"220 mail.example.org ESMTP \x1b[2J\r\n")
    c.hear()


@lie(TransportError, "HTTP")
def http_version_of_the_future(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/9.9 200 OK\r\n\r\n")


@lie(TransportError, "not HTTP")
def status_of_two_digits(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/1.1 20 OK\r\n\r\n")


@lie(None)
def nul_in_a_header(c: Conversation) -> None:
    reply = c.reply()
    c.send(head(OK, {"X-Nul": "a\0b", "Content-Length": str(len(reply))}), reply)


@lie(UnexpectedAnswer, "HTTP status 101")
def another_protocol(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n")
