"""Google Cloud Storage as far as its client needs it for whole objects: reading, and writing on conditions.

An HTTP server in the test process. Generations, `ifGenerationMatch`, checksums, metadata and refusals are as Google's
documentation of the JSON interface has them; below `/BUCKET/OBJECT` it serves what is public.
"""

from __future__ import annotations

import base64
import email.parser
import email.policy
import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tsa_backends.http_relay import QuietServer

BUCKET = "tsa-log-bucket"


@dataclass(frozen=True)
class Blob:
    """An object."""

    data: bytes
    generation: int
    content_type: str
    cache_control: str


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class GcsStore:
    """One bucket on one port."""

    def __init__(self) -> None:
        self.blobs: dict[str, Blob] = {}
        self._generation = 1_700_000_000_000_000
        self._lock = threading.Lock()
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Print nothing."""

            def do_GET(self) -> None:
                store.answer(self)

            do_POST = do_DELETE = do_GET  # noqa: N815 - the base class calls them so

        self._server = QuietServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        url = urlsplit(handler.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        try:
            status, headers, data = self._result(handler, url.path, query, body)
        except Refused as error:
            status, headers = error.status, {"Content-Type": "application/json; charset=UTF-8"}
            data = json.dumps({"error": {"code": status, "message": str(error)}}).encode()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if status != 204:
            handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def _result(
        self, handler: BaseHTTPRequestHandler, path: str, query: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        parts = path.split("/")
        if handler.command == "POST" and path.startswith("/upload/storage/v1/b/"):
            return self._upload(unquote(parts[5]), query, handler.headers["Content-Type"], body)
        if handler.command == "DELETE" and path.startswith("/storage/v1/b/"):
            self._find(unquote(parts[4]), name := unquote(parts[6]))
            with self._lock:
                self.blobs.pop(name, None)
            return 204, {}, b""
        if path.startswith("/download/storage/v1/b/"):
            blob = self._find(unquote(parts[5]), unquote(parts[7]))
        else:
            blob = self._find(unquote(parts[1]), unquote("/".join(parts[2:])))
        headers = {
            "Content-Type": blob.content_type,
            "Cache-Control": blob.cache_control,
            "X-Goog-Generation": str(blob.generation),
            "X-Goog-Hash": f"crc32c={_crc32c(blob.data)}",
        }
        data, status = blob.data, 200
        if wanted := handler.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            if int(first) >= len(data):
                raise Refused(416, "Requested range not satisfiable")
            end = min(int(last or len(data) - 1), len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{end}/{len(data)}"
            data, status = data[int(first) : end + 1], 206
        return status, headers, data

    def _find(self, bucket: str, name: str) -> Blob:
        if bucket != BUCKET:
            raise Refused(404, "The specified bucket does not exist.")
        with self._lock:
            if (blob := self.blobs.get(name)) is None:
                raise Refused(404, f"No such object: {bucket}/{name}")
            return blob

    def _upload(
        self, bucket: str, query: dict[str, str], content_type: str, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if bucket != BUCKET:
            raise Refused(404, "The specified bucket does not exist.")
        parser = email.parser.BytesParser(policy=email.policy.HTTP)
        message = parser.parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
        described, media = message.iter_parts()
        document: dict[str, Any] = json.loads(described.get_content())
        # The parser may change line ends, so the octets are taken from the body itself.
        boundary = b"--" + str(message.get_boundary()).encode()
        data = body.split(boundary)[2].partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
        if (sent := document.get("crc32c")) is not None and sent != _crc32c(data):
            raise Refused(400, f"Provided CRC32C {sent} does not match.")
        with self._lock:
            there = self.blobs.get(document["name"])
            wanted = query.get("ifGenerationMatch")
            if wanted is not None and int(wanted) != (there.generation if there else 0):
                raise Refused(412, "At least one of the pre-conditions you specified did not hold.")
            self._generation += 1
            blob = Blob(data, self._generation, media.get_content_type(), document.get("cacheControl", ""))
            self.blobs[document["name"]] = blob
        answer = {
            "kind": "storage#object",
            "bucket": bucket,
            "name": document["name"],
            "generation": str(blob.generation),
            "size": str(len(data)),
            "crc32c": _crc32c(data),
        }
        return 200, {"Content-Type": "application/json; charset=UTF-8"}, json.dumps(answer).encode()


def _crc32c(data: bytes) -> str:
    import google_crc32c

    value: Any = google_crc32c.value  # which has no type
    return base64.b64encode(value(data).to_bytes(4, "big")).decode()
