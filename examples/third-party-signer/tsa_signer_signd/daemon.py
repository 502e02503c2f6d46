"""signd: a small signing process, so that this example is whole. A real one would guard an HSM.

    SIGND_PIN=1234 signd /run/signd.sock tsa=key.pem

It imports nothing of tsa-core.
"""

from __future__ import annotations

import hmac
import os
import socketserver
import sys
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from tsa_signer_signd import wire

_HASHES: Mapping[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


class Daemon(socketserver.ThreadingUnixStreamServer):
    """Answers on a Unix socket that only its user may open."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, path: Path, keys: Mapping[str, ec.EllipticCurvePrivateKey], pin: str) -> None:
        self.keys = keys
        self.pin = pin
        before = os.umask(0o177)
        try:
            super().__init__(str(path), _Handler)
        finally:
            os.umask(before)

    def answer(self, line: bytes) -> bytes:
        """Return the answer to one line."""
        try:
            fields = wire.decode(line)
            # Compared in constant time, and before anything else is looked at.
            if not hmac.compare_digest(str(fields.get("pin", "")).encode(), self.pin.encode()):
                return wire.encode(error="the PIN is wrong")
            key = self.keys.get(str(fields.get("key")))
            if key is None:
                return wire.encode(error="there is no such key")
            if fields.get("do") == "public_key":
                spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
                return wire.encode(public_key=wire.to_text(spki))
            if fields.get("do") == "sign":
                digest = wire.to_bytes(fields.get("digest"))
                return wire.encode(signature=wire.to_text(_sign(key, digest, str(fields.get("hash")))))
        except (ValueError, KeyError) as error:
            return wire.encode(error=f"the request is malformed: {type(error).__name__}")
        return wire.encode(error="the request asks for nothing that is done here")


def _sign(key: ec.EllipticCurvePrivateKey, digest: bytes, name: str) -> bytes:
    """Return r||s, as HSMs do."""
    r, s = decode_dss_signature(key.sign(digest, ec.ECDSA(Prehashed(_HASHES[name]))))
    size = (key.curve.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


class _Handler(socketserver.StreamRequestHandler):
    server: Daemon
    timeout = 10

    def handle(self) -> None:
        self.wfile.write(self.server.answer(self.rfile.readline(wire.MAX_LINE)))


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Return the EC key in a PEM file; raises SystemExit for another."""
    key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SystemExit(f"signd: {path} is not an EC key")
    return key


def main() -> None:
    """Run signd until it is stopped."""
    path, *named = sys.argv[1:] or [""]
    pin = os.environ.get("SIGND_PIN", "")
    if not path or not named or not pin or not all("=" in text for text in named):
        raise SystemExit("usage: SIGND_PIN=... signd SOCKET NAME=KEY.pem...")
    keys = {name: load_key(Path(file)) for name, _, file in (text.partition("=") for text in named)}
    with Daemon(Path(path), keys, pin) as daemon:
        print(f"signd: {', '.join(keys)} at {path}", file=sys.stderr, flush=True)
        try:
            daemon.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            Path(path).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
