"""A stand-in for Azure Key Vault and Microsoft Entra ID over HTTPS: challenge, token, GET key, POST sign.

It speaks version 7.x of the API as far as a signer needs it, refuses what the service refuses, and breaks on demand.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tsa_backends.loopback_tls import write_certificates
from tsa_backends.vault_key import VaultKey, base64_text
from tsa_core.api import PrivateKey
from tsa_core.testing import new_key, shared_key

TENANT = "5f1b1a2e-0000-4000-8000-7e57aa000001"
CLIENT_ID = "5f1b1a2e-0000-4000-8000-7e57aa000002"
CLIENT_SECRET = "client-secret-e2c7730b"
ASSERTION = "federated-assertion-3a9c"
IDENTITY_HEADER = "identity-header-c55d"
TOKEN_MARK = "access-token-81d0"
"""Every access token begins with it, for searches of logs."""


class KeyVault:
    """The server; `start`, `kill`, `freeze` and `thaw` break and mend it, attributes inject faults.

    `fault` is asked before each GET key and POST sign and may return (status, code, message, headers) to answer with.
    """

    def __init__(self, folder: Path) -> None:
        self.ca_file = folder / "key-vault-ca.pem"
        self._certificate = folder / "key-vault.pem"
        write_certificates(self.ca_file, self._certificate)
        self.keys: dict[str, dict[str, VaultKey]] = {}
        self.fault: Callable[[str], tuple[int, str, str, dict[str, str]] | None] | None = None
        self.delay_seconds = 0.0
        self.permissions = {"get", "sign"}
        self.premium = True
        """Whether it has hardware modules."""
        self.token_seconds = 3600
        self.token_fault: int | None = None
        self.tokens: set[str] = set()
        self.token_requests = 0
        self.requests: list[tuple[str, str]] = []
        self.answer_kid: str | None = None
        self.answer_value: str | None = None
        self.sockets: set[Any] = set()
        self.thawed = threading.Event()
        self.thawed.set()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self.port = 0

    @property
    def host(self) -> str:
        """What stands between azurekms:// and the key's name."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The vault's URL, and the authority's."""
        return f"https://{self.host}"

    @property
    def environment(self) -> dict[str, str]:
        """What an operator sets to reach it."""
        return {
            "AZURE_TENANT_ID": TENANT,
            "AZURE_CLIENT_ID": CLIENT_ID,
            "AZURE_CLIENT_SECRET": CLIENT_SECRET,
            "AZURE_AUTHORITY_HOST": self.url,
            "TSA_SIGNER__AZUREKMS__CA_FILE": str(self.ca_file),
            "TSA_SIGNER__AZUREKMS__DISABLE_INSTANCE_DISCOVERY": "true",
            "TSA_SIGNER__AZUREKMS__VERIFY_CHALLENGE_RESOURCE": "false",
        }

    def make_key(self, name: str, kind: str = "ecdsa-p256", *, fresh: bool = False, **options: Any) -> PrivateKey:
        """Make a new version of a key and return its private half."""
        key = new_key(kind) if fresh else shared_key(kind)
        self.add_key(name, key, **options)
        return key

    def add_key(self, name: str, key: Any, **options: Any) -> VaultKey:
        """Add a version of a key, whatever it is."""
        versions = self.keys.setdefault(name, {})
        made = versions[f"{len(versions) + 1:032x}"] = VaultKey(key, **options)
        return made

    # -- breaking and mending -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Listen, on the port of the first start."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificate)
        server = _Server(("127.0.0.1", self.port), _Handler)
        server.vault = self
        server.tls = context
        self.port = server.server_address[1]
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="key-vault")
        self._thread.start()

    def kill(self) -> None:
        """Stop listening and cut every connection."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server = None
        for connection in list(self.sockets):
            _cut(connection)
        self.thawed.set()

    def freeze(self) -> None:
        """Take connections and requests, and answer none of them."""
        self.thawed.clear()

    def thaw(self) -> None:
        """Answer again."""
        self.thawed.set()

    def revoke_tokens(self) -> None:
        """Refuse every token that was given out."""
        self.tokens.clear()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    vault: KeyVault
    tls: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Speak TLS in the connection's own thread, so that an idle client delays no other."""
        with contextlib.suppress(OSError), self.tls.wrap_socket(request, server_side=True) as secure:
            self.vault.sockets.add(secure)
            try:
                super().finish_request(secure, client_address)
            finally:
                self.vault.sockets.discard(secure)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away are what tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = 120

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        vault = self.server.vault
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        parts = url.path.strip("/").split("/")
        vault.thawed.wait(60)
        if parts[-1] == "openid-configuration":
            authority = f"{vault.url}/{parts[0]}"
            self._send(
                200,
                {
                    "issuer": f"{authority}/v2.0",
                    "token_endpoint": f"{authority}/oauth2/v2.0/token",
                    "authorization_endpoint": f"{authority}/oauth2/v2.0/authorize",
                },
            )
        elif parts == ["msi", "token"]:
            self._managed_identity()
        elif parts[-1] == "token":
            self._token(parse_qs(body.decode()))
        elif parts[0] == "keys" and len(parts) in {2, 3, 4}:
            self._key(parts[1:], parse_qs(url.query), body)
        else:
            self._fail(404, "NotFound", "there is nothing here")

    def _token(self, form: dict[str, list[str]]) -> None:
        vault = self.server.vault
        vault.token_requests += 1
        if vault.token_fault is not None:
            self._send(vault.token_fault, {"error": "temporarily_unavailable", "error_description": "not now"})
        elif form.get("client_id") != [CLIENT_ID] or (
            form.get("client_secret") != [CLIENT_SECRET] and form.get("client_assertion") != [ASSERTION]
        ):
            self._send(401, {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret."})
        else:
            token = f"{TOKEN_MARK}-{vault.token_requests}"
            vault.tokens.add(token)
            self._send(200, {"token_type": "Bearer", "access_token": token, "expires_in": vault.token_seconds})

    def _managed_identity(self) -> None:
        """Answer as the endpoint of an App Service does, for the identity of the machine."""
        vault = self.server.vault
        vault.token_requests += 1
        if self.headers.get("X-IDENTITY-HEADER") != IDENTITY_HEADER:
            self._send(403, {"statusCode": 403, "message": "wrong header"})
            return
        token = f"{TOKEN_MARK}-{vault.token_requests}"
        vault.tokens.add(token)
        ends = str(int(time.time()) + vault.token_seconds)
        self._send(200, {"token_type": "Bearer", "access_token": token, "expires_on": ends, "resource": "vault"})

    def _key(self, parts: list[str], query: dict[str, list[str]], body: bytes) -> None:
        vault = self.server.vault
        operation = {"sign": "sign", "versions": "list", "create": "create"}.get(parts[-1], "get")
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in vault.tokens:
            challenge = f'Bearer authorization="{vault.url}/{TENANT}", resource="https://vault.azure.net"'
            self._fail(401, "Unauthorized", "AKV10000: Bearer token missing.", {"WWW-Authenticate": challenge})
            return
        vault.requests.append((operation, "/".join(parts)))
        if vault.delay_seconds:
            time.sleep(vault.delay_seconds)
        if vault.fault is not None and (fault := vault.fault(operation)) is not None:
            self._fail(*fault)
            return
        if operation not in vault.permissions:
            self._fail(403, "Forbidden", "Caller is not authorized to perform action.", inner="ForbiddenByRbac")
            return
        if not query.get("api-version"):
            self._fail(400, "BadParameter", "api-version must be specified")
            return
        if operation == "create":
            self._create(parts[0], json.loads(body))
            return
        versions = vault.keys.get(parts[0], {})
        if operation == "list":
            self._list_versions(parts[0], versions, int(query.get("skip", ["0"])[0]))
            return
        version = parts[1] if len(parts) > 1 and parts[1] != "sign" else max(versions, default="")
        key = versions.get(version)
        kid = f"{vault.url}/keys/{parts[0]}/{version}"
        if key is None:
            self._fail(404, "KeyNotFound", f"A key with (name/id) {parts[0]} was not found in this key vault.")
        elif operation == "get":
            self._show(key, kid)
        else:
            self._sign(key, kid, json.loads(body))

    def _show(self, key: VaultKey, kid: str) -> None:
        attributes = {"enabled": key.enabled, "nbf": key.not_before, "exp": key.expires}
        shown = {name: value for name, value in attributes.items() if value is not None}
        self._send(200, {"key": key.jwk(kid), "attributes": shown})

    def _create(self, name: str, request: dict[str, Any]) -> None:
        """Make a new version, of a key that is there as well."""
        vault = self.server.vault
        kind, _, module = str(request["kty"]).partition("-")
        if module and not vault.premium:
            self._fail(400, "BadParameter", "Hardware-protected keys need a vault of the SKU premium.")
            return
        made = new_key(
            f"rsa-{request['key_size']}" if kind == "RSA" else f"ecdsa-{request['crv'].replace('-', '').lower()}"
        )
        key = vault.add_key(name, made, operations=tuple(request["key_ops"]), hsm=bool(module))
        self._show(key, f"{vault.url}/keys/{name}/{max(vault.keys[name])}")

    def _list_versions(self, name: str, versions: dict[str, VaultKey], first: int) -> None:
        """Show two versions on a page, so that a client has to turn them."""
        vault = self.server.vault
        page = list(versions.items())[first : first + 2]
        entries = [
            {
                "kid": f"{vault.url}/keys/{name}/{version}",
                "attributes": {"enabled": key.enabled, "created": int(version, 16), "updated": int(version, 16)},
            }
            for version, key in page
        ]
        more = len(versions) > first + 2
        next_page = f"{vault.url}/keys/{name}/versions?api-version=7.5&skip={first + 2}" if more else None
        self._send(200, {"value": entries, "nextLink": next_page})

    def _sign(self, key: VaultKey, kid: str, request: dict[str, str]) -> None:
        vault = self.server.vault
        if not key.enabled:
            self._fail(403, "Forbidden", "Operation sign is not allowed on a disabled key.", inner="KeyDisabled")
            return
        if key.expires is not None and key.expires < time.time():
            self._fail(403, "Forbidden", "Operation sign is not allowed on an expired key.", inner="KeyExpired")
            return
        if "sign" not in key.operations:
            self._fail(403, "Forbidden", "Operation sign is not permitted on this key.", inner="KeyOperationForbidden")
            return
        try:
            value = base64.urlsafe_b64decode(request["value"] + "==")
            signature = key.sign(request["alg"], value)
        except ValueError as error:
            self._fail(400, "BadParameter", str(error))
            return
        self._send(200, {"kid": vault.answer_kid or kid, "value": vault.answer_value or base64_text(signature)})

    def _fail(
        self, status: int, code: str, message: str, headers: dict[str, str] | None = None, *, inner: str | None = None
    ) -> None:
        error: dict[str, Any] = {"code": code, "message": message}
        if inner:
            error["innererror"] = {"code": inner}
        self._send(status, {"error": error}, headers)

    def _send(self, status: int, document: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _cut(connection: Any) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
