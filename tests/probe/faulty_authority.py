"""An authority in which everything can be made wrong, over a real socket, and which is good unless told otherwise.

It shares no line with the server of this repository: statements are put together here, tokens are forged.
"""

from __future__ import annotations

import itertools
import secrets
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography import x509

from tsa_core.protocol import der, oids
from tsa_core.protocol.errors import RequestRejected
from tsa_core.protocol.hashes import DEFAULT_IMPRINT_HASHES
from tsa_core.protocol.request import TimeStampReq, read_request
from tsa_core.protocol.status import PKIFailureInfo
from tsa_core.protocol.tstinfo import encode_gen_time, encode_signing_time
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import Chain, Extension, Issued, issue, make_chain, make_key, signer_extensions

QUERY, REPLY = "application/timestamp-query", "application/timestamp-reply"
POLICY = "1.2.3.4.5"
NOW = datetime.now(UTC).replace(microsecond=0)
CHAIN = make_chain()
MAX_BODY = 1 << 16
_serials = itertools.count(1)

Fields = dict[str, bytes]
"""The encoded fields of a TSTInfo, in their order."""


def revocation(url: str = "http://127.0.0.1:9/ca.crl") -> Extension:
    """Return where a certificate's CRL is; nobody asks it unless a test wants that."""
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
    return x509.CRLDistributionPoints([point]), False


def make_signer(
    kind: str = "p256",
    *,
    extensions: Sequence[Extension] | None = None,
    days: float = 700,
    chain: Chain = CHAIN,
    subject: str | x509.Name = "A timestamp signer",
    begins: datetime = NOW - timedelta(days=30),
) -> Issued:
    """Return a signer below the chain's intermediate."""
    extensions = (*signer_extensions(), revocation()) if extensions is None else extensions
    return issue(
        subject,
        issuer=chain.intermediate,
        key=make_key(kind),
        extensions=extensions,
        not_before=begins,
        not_after=NOW + timedelta(days=days),
    )


@cache
def good_signer() -> Issued:
    return make_signer()


@dataclass
class HttpAnswer:
    """What goes out: `chunked` and `length` say how the body is framed, `close` that the connection ends."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    chunked: bool = False
    length: bool = True
    close: bool = False


@dataclass(frozen=True, kw_only=True)
class HttpRequest:
    """What came in."""

    method: str
    version: str
    headers: dict[str, str]
    body: bytes


class FaultyAuthority:
    """A good authority; each attribute is a place to put a fault."""

    def __init__(self) -> None:
        self.signer = good_signer()
        self.certificates: Sequence[bytes] | None = None
        """What comes with certReq; signer and intermediate in DER order unless set."""
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.statement: Callable[[TimeStampReq, Fields], None] = lambda _request, _fields: None
        self.token: Callable[[TimeStampReq, dict[str, Any]], None] = lambda _request, _parts: None
        """Changes the arguments of `forge.token`."""
        self.reply: Callable[[bytes], bytes] = lambda body: body
        """Changes a granted TimeStampResp."""
        self.tolerates: Callable[[PKIFailureInfo, bytes], bool] = lambda _failure, _body: False
        """Says which wrong requests are granted all the same."""
        self.dislikes: Callable[[TimeStampReq], bool] = lambda _request: False
        """Says which good requests are refused."""
        self.before: Callable[[bytes], PKIFailureInfo | None] = lambda _body: None
        """Refuses a body before it is read."""
        self.refusal: Callable[[PKIFailureInfo, str], bytes] = lambda failure, text: forge.reply(
            status=2, texts=[text], failures=[failure]
        )
        self.http: Callable[[HttpRequest, HttpAnswer], None] = lambda _request, _answer: None
        """Changes what goes out over HTTP."""
        self.received: list[HttpRequest] = []

    def respond(self, body: bytes) -> bytes:
        """Return a TimeStampResp."""
        if (failure := self.before(body)) is not None:
            return self.refusal(failure, "not here")
        try:
            request = self._admit(body)
        except RequestRejected as error:
            if not self.tolerates(error.failure, body):
                return self.refusal(error.failure, str(error))
            request = self._tolerated(body)
        if self.dislikes(request):
            return self.refusal(PKIFailureInfo.BAD_REQUEST, "this is not liked here")
        return self.reply(forge.reply(self.token_for(request)))

    def _admit(self, body: bytes) -> TimeStampReq:
        request = read_request(body)
        algorithm = request.hash_algorithm
        if algorithm is None or algorithm.name not in DEFAULT_IMPRINT_HASHES:
            raise RequestRejected(PKIFailureInfo.BAD_ALG, "use SHA-256")
        if len(request.digest) != algorithm.digest_size:
            raise RequestRejected(PKIFailureInfo.BAD_DATA_FORMAT, "the digest has another length")
        if request.policy not in {None, POLICY}:
            raise RequestRejected(PKIFailureInfo.UNACCEPTED_POLICY, "there is no such policy")
        if request.extensions:
            raise RequestRejected(PKIFailureInfo.UNACCEPTED_EXTENSION, "no extension is known")
        return request

    def _tolerated(self, body: bytes) -> TimeStampReq:
        try:
            return read_request(body)
        except RequestRejected:
            return read_request(bytes.fromhex("30360201013031300d060960864801650304020105000420") + bytes(32))

    def token_for(self, request: TimeStampReq) -> bytes:
        """Return a token, with the faults that are put into tokens."""
        time = self.now()
        name = self.signer.certificate.subject.public_bytes()
        fields = {
            "version": der.integer(1),
            "policy": request.policy_der or der.oid(POLICY),
            "imprint": request.imprint_der,
            "serial": der.integer(1 << 158 | next(_serials) << 64 | secrets.randbits(60)),
            "gen_time": encode_gen_time(time),
            "accuracy": der.sequence(der.integer(1)),
            "ordering": b"",
            "nonce": request.nonce_der,
            "tsa": der.explicit(0, der.explicit(4, name)),
            "extensions": b"",
        }
        self.statement(request, fields)
        parts: dict[str, Any] = {
            "content": der.sequence(*fields.values()),
            "certificates": self.chain() if request.cert_req else [],
            "attributes": {oids.ID_SIGNING_TIME: [encode_signing_time(time)]},
        }
        self.token(request, parts)
        return forge.token(self.signer, **parts)

    def chain(self) -> Sequence[bytes]:
        if self.certificates is not None:
            return self.certificates
        return sorted([self.signer.der, CHAIN.intermediate.der])

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """Return what goes out."""
        self.received.append(request)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.method != "POST":
            answer = HttpAnswer(status=405, headers={"Allow": "POST"})
        elif kind != QUERY:
            answer = HttpAnswer(status=415)
        elif len(request.body) > MAX_BODY:
            answer = HttpAnswer(status=413)
        else:
            answer = HttpAnswer(body=self.respond(request.body), headers={"Content-Type": REPLY})
        self.http(request, answer)
        return answer


def _handler(authority: FaultyAuthority) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = HttpRequest(
                method=self.command, version=self.request_version, headers=headers, body=self._body(headers)
            )
            answer = authority.answer(request)
            if answer.status == 0:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            elif answer.length:
                self.send_header("Content-Length", str(len(answer.body)))
            if answer.close or not (answer.length or answer.chunked):
                self.send_header("Connection", "close")
                self.close_connection = True
            self.end_headers()
            body = b"" if self.command == "HEAD" else answer.body
            if answer.chunked:
                body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = _handle  # noqa: N815 - http.server looks for these names

        def _body(self, headers: dict[str, str]) -> bytes:
            if headers.get("transfer-encoding") != "chunked":
                return self.rfile.read(int(headers.get("content-length", "0")))
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


def _server(context: ssl.SSLContext | None) -> type[ThreadingHTTPServer]:
    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing of clients that went away, or shook no hands."""

        def finish_request(self, request: Any, client_address: Any) -> None:
            if context is None:
                super().finish_request(request, client_address)
                return
            # In the connection's own thread, so that a handshake that fails ends nothing else.
            with context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)

    return Server


@contextmanager
def serving(authority: FaultyAuthority, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve on a free port of 127.0.0.1 until the block ends; yields the URL."""

    server = _server(context)(("127.0.0.1", 0), _handler(authority))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    scheme = "http" if context is None else "https"
    try:
        yield f"{scheme}://127.0.0.1:{server.server_address[1]}/tsa"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
