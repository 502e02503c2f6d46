"""Lies that hold a client, or flood it."""

from __future__ import annotations

import gzip

from tests.client.lying_server import BLOCK, BOMB, CHUNKED, OK, REPLY_TYPE, Conversation, head, lie, sized
from tsa_core.client import ReplyTooLarge, RequestTimeout, TransportError, UnexpectedAnswer


# --- silence and drips: the deadline ends them ---
@lie(RequestTimeout)
def silence_after_accepting(c: Conversation) -> None:
    c.stay()


@lie(RequestTimeout)
def silence_after_the_request(c: Conversation) -> None:
    c.hear()
    c.stay()


@lie(RequestTimeout)
def dripped_status_line(c: Conversation) -> None:
    c.hear()
    c.drip(b"HTTP/1.1 200 ", b"O")


@lie(RequestTimeout)
def dripped_header_name(c: Conversation) -> None:
    c.hear()
    c.drip(b"HTTP/1.1 200 OK\r\n", b"X")


@lie(RequestTimeout)
def dripped_header_value(c: Conversation) -> None:
    c.hear()
    c.drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x")


@lie(RequestTimeout)
def headers_without_an_end(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n")
    c.stay()


@lie(RequestTimeout)
def dripped_interim_answers(c: Conversation) -> None:
    c.hear()
    c.drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n")


@lie(RequestTimeout)
def flood_of_early_hints(c: Conversation) -> None:
    c.hear()
    c.flood(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n" * 500)


@lie(RequestTimeout)
def flood_of_interim_answers(c: Conversation) -> None:
    c.hear()
    c.flood(b"", b"HTTP/1.1 100 Continue\r\nX-Padding: x\r\n\r\n" * 500)


@lie(RequestTimeout)
def dripped_chunk_size(c: Conversation) -> None:
    c.hear()
    c.drip(CHUNKED, b"0")


@lie(RequestTimeout)
def dripped_chunk_extension(c: Conversation) -> None:
    c.hear()
    c.drip(CHUNKED + b"5;slow=", b"x")


@lie(RequestTimeout)
def dripped_chunk(c: Conversation) -> None:
    c.hear()
    c.drip(CHUNKED + b"1000\r\n", b"0")


@lie(RequestTimeout)
def dripped_chunks(c: Conversation) -> None:
    c.hear()
    c.drip(CHUNKED, b"1\r\n0\r\n")


@lie(RequestTimeout)
def dripped_trailer(c: Conversation) -> None:
    reply = c.reply()
    c.drip(CHUNKED + b"%x\r\n%b\r\n0\r\nX-Slow: " % (len(reply), reply), b"x")


@lie(RequestTimeout)
def trailers_without_an_end(c: Conversation) -> None:
    reply = c.reply()
    c.flood(CHUNKED + b"%x\r\n%b\r\n0\r\n" % (len(reply), reply), b"X-Trailer: x\r\n" * 1000)


@lie(RequestTimeout)
def dripped_body(c: Conversation) -> None:
    c.hear()
    c.drip(sized(5000), b"0")


@lie(RequestTimeout)
def dripped_body_without_a_length(c: Conversation) -> None:
    c.hear()
    c.drip(head(OK, {"Content-Type": REPLY_TYPE}), b"0")


@lie(RequestTimeout)
def silence_in_the_body(c: Conversation) -> None:
    reply = c.reply()
    c.send(sized(len(reply)), reply[:-1])
    c.stay()


@lie(RequestTimeout)
def silence_after_a_body_without_a_length(c: Conversation) -> None:
    reply = c.reply()
    c.send(head(OK, {"Content-Type": REPLY_TYPE}), reply)
    c.stay()


@lie(RequestTimeout)
def dripped_error_page(c: Conversation) -> None:
    c.hear()
    c.drip(head("500 Internal Server Error", {"Content-Type": "text/html"}), b"x")


@lie(RequestTimeout)
def each_redirect_takes_its_time(c: Conversation) -> None:
    c.hear()
    c.server.stopped.wait(0.3)
    c.send(head("307 Temporary Redirect", {"Location": "/tsa", "Content-Length": "0", "Connection": "close"}))


@lie(RequestTimeout)
def busy_for_ever(c: Conversation) -> None:
    c.hear()
    c.drip(head("503 Service Unavailable", {"Retry-After": "0"}), b"x")


# --- too much ---


@lie(TransportError, "too long")
def huge_header(c: Conversation) -> None:
    c.hear()
    c.send(b"HTTP/1.1 200 OK\r\nX-Huge: ", b"x" * (1 << 20), b"\r\n\r\n")


@lie(TransportError, "too long")
def endless_header(c: Conversation) -> None:
    c.hear()
    c.flood(b"HTTP/1.1 200 OK\r\nX-Huge: ", b"x" * (1 << 16))


@lie(TransportError, "too many header fields")
def endless_headers(c: Conversation) -> None:
    c.hear()
    c.flood(b"HTTP/1.1 200 OK\r\n", b"X-Many: x\r\n" * 1000)


@lie(TransportError, "too long")
def huge_status_line(c: Conversation) -> None:
    c.hear()
    c.flood(b"HTTP/1.1 200 ", b"O" * (1 << 16))


@lie(ReplyTooLarge, "more than 1048576 bytes")
def huge_body_announced(c: Conversation) -> None:
    c.hear()
    c.flood(sized(10 << 30))


@lie(ReplyTooLarge, "more than 1048576 bytes")
def endless_body_without_a_length(c: Conversation) -> None:
    c.hear()
    c.flood(head(OK, {"Content-Type": REPLY_TYPE}))


@lie(ReplyTooLarge, "more than 1048576 bytes")
def endless_chunks(c: Conversation) -> None:
    c.hear()
    c.flood(CHUNKED, b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK))


@lie(ReplyTooLarge, "more than 1048576 bytes")
def chunk_of_all_memory(c: Conversation) -> None:
    c.hear()
    c.flood(CHUNKED + b"ffffffffffffffff\r\n")


@lie(TransportError, "")
def chunk_size_of_100_000_digits(c: Conversation) -> None:
    c.hear()
    c.flood(CHUNKED + b"f" * 100_000 + b"\r\n")


@lie(UnexpectedAnswer, "HTTP status 500: xxx")
def endless_error_page(c: Conversation) -> None:
    c.hear()
    c.flood(head("500 Internal Server Error", {"Content-Type": "text/plain"}), b"x" * (1 << 16))


@lie(UnexpectedAnswer, "encoded as gzip")
def gzip_bomb(c: Conversation) -> None:
    c.answer(OK, gzip.compress(bytes(BOMB), 1), Content_Encoding="gzip")


@lie(UnexpectedAnswer, "encoded as gzip, gzip")
def gzip_bomb_in_two_layers(c: Conversation) -> None:
    c.answer(OK, gzip.compress(gzip.compress(bytes(BOMB), 1), 1), Content_Encoding="gzip, gzip")


@lie(UnexpectedAnswer, "encoded as br")
def compressed_though_not_asked_to(c: Conversation) -> None:
    c.answer(OK, c.reply(), Content_Encoding="br")
