"""Sends raw requests and says what came back, without what differs from one run to the next."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from tests.interop.raw_requests import RawRequest
from tsa_core.protocol import der
from tsa_core.protocol.status import PKIFailureInfo, PKIStatus

_SECONDS = 60.0
_NOT_COMPARED = frozenset({"date", "content-length", "connection", "transfer-encoding"})
_VOLATILE = re.compile(r'(?P<etag>"[0-9a-f]{32}")|(?P<id>[0-9a-f]{12}-[0-9a-f]+)')

_LIST = re.compile(r"only \[([^\]]*)\]")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Status, header fields but those that say how it was sent, and what the body is; status 0 is no answer."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""

    @property
    def is_token(self) -> bool:
        """Whether it is a TimeStampResp with a token."""
        return self.body.startswith("token: ")


def ask(address: tuple[str, int], request: RawRequest) -> Answer:
    """Send one request on a connection of its own; return the first answer."""
    with socket.create_connection(address, timeout=_SECONDS) as connection:
        # A server that has refused may close before all has arrived; its answer counts.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(request.octets)
        response = http.client.HTTPResponse(connection, method="HEAD" if request.head else "POST")
        try:
            response.begin()
            body = response.read()
        except (http.client.HTTPException, ConnectionError):
            return Answer(status=0, body="no answer")
        finally:
            response.close()
    headers: dict[str, str] = {}
    for name, value in response.getheaders():
        if (key := name.lower()) not in _NOT_COMPARED:
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
    for key in headers.keys() & {"etag", "x-request-id"}:
        headers[key] = _VOLATILE.sub("(its own)", headers[key])
    return Answer(status=response.status, headers=dict(sorted(headers.items())), body=said(body))


def ask_all(address: tuple[str, int], requests: Iterable[RawRequest]) -> dict[str, Answer]:
    """Send them one after another; return the answers by the requests' names."""
    return {request.name: ask(address, request) for request in requests}


def said(body: bytes) -> str:
    """Return what a body is: of a token what it says, of a chain how long it is, else the text."""
    if body[:1] == b"\x30":
        return _reply(body)
    text = body.decode("utf-8", "backslashreplace")
    if number := text.count("-----BEGIN CERTIFICATE-----"):
        return f"{number} certificates"
    if text[:15].lower() == "<!doctype html>":
        return "a page"
    if text.startswith("{"):
        document = json.loads(text)
        if "message" not in document:
            return f"JSON with {', '.join(sorted(document))}"
        # The reference names what it takes and gives in the order of a map of Go's, which changes.
        text = _LIST.sub(lambda found: f"only [{' '.join(sorted(found[1].split()))}]", text)
    return text


_SEQUENCE, _SET, _INTEGER, _BOOLEAN, _BIT_STRING = 0x30, 0x31, 0x02, 0x01, 0x03
_FIRST, _SECOND = 0xA0, 0xA1


class _Value(NamedTuple):
    """One value of DER: its tag, its octets, and where its content begins in them."""

    tag: int
    octets: bytes
    start: int

    @property
    def content(self) -> bytes:
        return self.octets[self.start :]

    @property
    def parts(self) -> list[_Value]:
        return _read(self.content)

    @property
    def number(self) -> int:
        return int.from_bytes(self.content, "big", signed=True)

    @property
    def identifier(self) -> str:
        return der.dotted(self.octets)


def _read(data: bytes) -> list[_Value]:
    """Return the values that lie one after another. asn1crypto would take more time than both servers."""
    values = []
    position = 0
    while position < len(data):
        size, start = data[position + 1], position + 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(data[position + 2 : start], "big")
        values.append(_Value(data[position], data[position : start + size], start - position))
        position = start + size
    return values


def _reply(body: bytes) -> str:
    ((status, *token),) = (each.parts for each in _read(body))
    number, *more = status.parts
    if not token:
        texts = [text.content.decode() for each in more if each.tag == _SEQUENCE for text in each.parts]
        bits = [bit for each in more if each.tag == _BIT_STRING for bit in _bits(each.content[1:])]
        return " ".join((PKIStatus(number.number).name.lower(), *(PKIFailureInfo(bit).text for bit in bits), *texts))
    signed = token[0].parts[1].parts[0].parts
    (info,) = signed[-1].parts
    certificates = [each for part in signed if part.tag == _FIRST for each in part.parts]
    version, _, digest, attributes, signature, _ = info.parts
    return "token: " + ", ".join(
        (
            PKIStatus(number.number).name.lower(),
            *_statement(signed[2].parts[1].parts[0].content),
            f"{len(certificates)} certificates",
            f"versions {signed[0].number} {version.number}",
            f"digest {digest.parts[0].identifier}",
            f"signature {signature.parts[0].identifier}",
            "attributes " + " ".join(sorted(each.parts[0].identifier for each in attributes.parts)),
        )
    )


def _bits(octets: bytes) -> list[int]:
    return [8 * at + bit for at, octet in enumerate(octets) for bit in range(8) if octet & 0x80 >> bit]


def _statement(tst_info: bytes) -> Iterable[str]:
    """Yield what a TSTInfo says; tags tell its optional fields apart."""
    (whole,) = _read(tst_info)
    _, policy, imprint, _, time, *optional = whole.parts
    algorithm, digest = imprint.parts
    fields = {each.tag: each for each in optional}
    yield f"policy {policy.identifier}"
    yield f"{algorithm.parts[0].identifier} of {digest.content.hex()[:8]}"
    yield f"parameters {algorithm.parts[1].octets.hex() if len(algorithm.parts) > 1 else 'absent'}"
    nonce = fields[_INTEGER].content.hex() if _INTEGER in fields else "absent"
    yield f"nonce {nonce if len(nonce) < 20 else nonce[:8] + '...'}"
    accuracy = (
        [f"{each.tag:x}:{each.number}" for each in fields[_SEQUENCE].parts] if _SEQUENCE in fields else ["absent"]
    )
    yield f"accuracy {' '.join(accuracy)}"
    yield f"genTime of {len(time.content)} letters"
    yield f"ordering {_BOOLEAN in fields}"
    yield f"tsa {fields[_FIRST].content[:1].hex() if _FIRST in fields else 'absent'}"
    extensions = [each.content.hex() for each in fields[_SECOND].parts] if _SECOND in fields else ["absent"]
    yield f"extensions {' '.join(extensions)}"


def to_json(answers: dict[str, Answer]) -> str:
    """Return answers as the file has them, one on each line."""
    lines = (f" {json.dumps(name)}: {json.dumps(asdict(answer))}" for name, answer in answers.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def from_json(text: str) -> dict[str, Answer]:
    """Read what `to_json` wrote."""
    document: dict[str, dict[str, Any]] = json.loads(text)
    return {name: Answer(**values) for name, values in document.items()}
