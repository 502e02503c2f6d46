"""Bodies as WSGI servers other than ours hand them over."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from tests.conformance.plain_encoder import PlainRequest
from tests.conformance.replies import granted, refused
from tests.serving import QUERY, open_service
from tsa_core.http import create_app
from tsa_core.service import Service

BODY = PlainRequest(cert_req=True).encode()


@pytest.fixture
def service() -> Iterator[Service]:
    with open_service(max_request_body_size=1000) as opened:
        yield opened


class Dribble(io.RawIOBase):
    """A stream that gives a few bytes at a time, as one of chunks may, and counts what was taken."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)
        self.taken = 0

    def read(self, size: int = -1) -> bytes:
        assert size >= 0, "an unbounded read"
        part = self._data.read(min(size, 7))
        self.taken += len(part)
        return part


def call(service: Service, stream: Any, **variables: Any) -> tuple[str, bytes]:
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    environ.update(
        {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/api/v1/timestamp",
            "CONTENT_TYPE": QUERY,
            "wsgi.input": stream,
            **variables,
        }
    )
    status: list[str] = []

    def start_response(line: str, _headers: Any, _error: Any = None, /) -> Callable[[bytes], object]:
        status.append(line)
        return lambda _data: None

    body = create_app(service)(environ, start_response)
    return status[0], b"".join(body)


def test_chunked_body_that_the_server_hands_through(service: Service) -> None:
    status, reply = call(service, Dribble(BODY), **{"wsgi.input_terminated": True})
    assert status == "200 OK"
    granted(reply)


def test_chunked_body_over_the_limit_is_not_read_to_its_end(service: Service) -> None:
    stream = Dribble(bytes(100_000))
    status, _ = call(service, stream, **{"wsgi.input_terminated": True})
    assert status.startswith("413")
    assert stream.taken == 1001


def test_no_length_and_no_promise_of_an_end_is_no_body(service: Service) -> None:
    stream = Dribble(BODY)
    status, reply = call(service, stream)
    assert status == "200 OK"
    refused(reply, "03020204")
    assert stream.taken == 0


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "+1", "1_0", "\u00b2", "1.0", " 1"])
def test_a_length_that_is_no_number_of_bytes(service: Service, length: str) -> None:
    status, reply = call(service, io.BytesIO(BODY), CONTENT_LENGTH=length)
    assert status.startswith("400")
    assert b"Content-Length" in reply


def test_no_more_than_the_announced_length_is_read(service: Service) -> None:
    stream = io.BytesIO(BODY + b"the next request")
    status, reply = call(service, stream, CONTENT_LENGTH=str(len(BODY)))
    assert status == "200 OK"
    granted(reply)
    assert stream.read() == b"the next request"
