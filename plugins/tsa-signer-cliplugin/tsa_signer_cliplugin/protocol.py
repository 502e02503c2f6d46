"""Version 1 of the protocol between sigstore and its KMS plugins: JSON in an argument, JSON on stdout.

The schema is that of sigstore's Go package pkg/signature/kms/cliplugin/common. Octets are base64 with padding, hash
functions the numbers of Go's package crypto.
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

VERSION: Final = "v1"
HASHES: Final = {"sha224": 4, "sha256": 5, "sha384": 6, "sha512": 7}


class BadReply(Exception):
    """What the program printed is no reply of this protocol; the text says what is wrong and quotes nothing."""


class Refused(Exception):
    """The program says that it cannot; the text is the program's."""


def init_options(key: str, digest: str) -> dict[str, Any]:
    """Return what every call tells the program: the key, and the digest that signatures are to be made with."""
    return {
        "protocolVersion": VERSION,
        "keyResourceID": key,
        "hashFunc": HASHES.get(digest, HASHES["sha256"]),
        "rpcOptions": _rpc_options(None),
    }


def public_key_call(init: dict[str, Any], *, timeout: float) -> str:
    """Return the argument that asks for the public key."""
    return _call(init, "publicKey", {"publicKeyOptions": {"rpcOptions": _rpc_options(timeout)}})


def sign_call(init: dict[str, Any], *, digest: bytes | None, hash_name: str, timeout: float) -> str:
    """Return the argument that asks for a signature of a digest, or, when it is None, of what stands on stdin."""
    message: dict[str, Any] = {"digest": None}
    if digest is not None:
        message = {"digest": base64.b64encode(digest).decode(), "hashFunc": HASHES[hash_name]}
    return _call(init, "signMessage", {"signOptions": {"rpcOptions": _rpc_options(timeout), "messageOptions": message}})


def public_key_reply(output: bytes) -> bytes:
    """Return the public key, PEM; raises BadReply or Refused."""
    return _octets(output, "publicKey", "publicKeyPEM")


def signature_reply(output: bytes) -> bytes:
    """Return the signature; raises BadReply or Refused."""
    return _octets(output, "signMessage", "signature")


def _rpc_options(timeout: float | None) -> dict[str, Any]:
    options: dict[str, Any] = {"keyVersion": "", "remoteVerification": False}
    if timeout is not None:
        deadline = datetime.now(UTC) + timedelta(seconds=timeout)
        options["ctxDeadline"] = deadline.isoformat().replace("+00:00", "Z")
    return options


def _call(init: dict[str, Any], method: str, arguments: dict[str, Any]) -> str:
    return json.dumps({"initOptions": init, "methodName": method, method: arguments}, separators=(",", ":"))


def _octets(output: bytes, method: str, field: str) -> bytes:
    try:
        reply = json.loads(output)
    except (ValueError, RecursionError):
        raise BadReply("it printed no JSON" if output.strip() else "it printed nothing") from None
    if not isinstance(reply, dict):
        raise BadReply("it printed JSON, but no object")
    if message := reply.get("errorMessage"):
        raise Refused(str(message))
    part = reply.get(method)
    text = part.get(field) if isinstance(part, dict) else None
    if not isinstance(text, str):
        raise BadReply(f"its reply has no {method}.{field}")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadReply(f"{method}.{field} in its reply is not base64") from None
