"""Key exchange with one server, over TLS 1.3 (RFC 8915 4 and 5.1)."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import service_identity
from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address

from tsa_core.api import ConfigError, read_file
from tsa_core.api.ntp.query import NoUsableAnswer, resolve
from tsa_monitor_nts.records import (
    AEAD_AES_SIV_CMAC_256,
    MAX_MESSAGE_OCTETS,
    NTPV4,
    REQUEST,
    BadRecords,
    read_offer,
    scan,
)

_ALPN = b"ntske/1"
_EXPORTER = b"EXPORTER-network-time-security"
_KEY_OCTETS = 32
_NTP_PORT = 123
_CHUNK_OCTETS = 16_384
_MAX_RECEIVED_OCTETS = 128 * 1024
"""A handshake with a long chain of certificates, and a message."""
_MAX_CA_OCTETS = 4 * 1024 * 1024
_NOT_VALID: Final = {
    9: "it is not valid yet, by this machine's clock",
    10: "it has expired, by this machine's clock",
    18: "it is self-signed and not among the CAs",
    19: "its root is not among the CAs",
    20: "its issuer is not among the CAs",
    21: "its issuer is not among the CAs",
    26: "it is not for servers",
}
"""OpenSSL's errors of verification that operators can do something about."""
ResultT = TypeVar("ResultT")


class Unreachable(NoUsableAnswer):
    """There was no connection, so that the server had no work with it."""


@dataclass(frozen=True, kw_only=True)
class Keys:
    """What a key exchange gives: one key for each direction, cookies, and where to ask for the time."""

    to_server: bytes = field(repr=False)
    to_client: bytes = field(repr=False)
    cookies: tuple[bytes, ...] = field(repr=False)
    host: str
    port: int


def trusting(ca: Path | None, *, where: str) -> SSL.Context:
    """Return a TLS 1.3 context that trusts the CAs of a PEM file, or the system's; raises ConfigError."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_alpn_protos([_ALPN])
    context.set_verify(SSL.VERIFY_PEER, _note_verification)
    if ca is None:
        context.set_default_verify_paths()
        return context
    try:
        certificates = x509.load_pem_x509_certificates(read_file(ca, "CAs of time servers", limit=_MAX_CA_OCTETS))
    except ValueError as error:
        raise ConfigError(f"{ca} holds no PEM certificates: {error}", path=where) from None
    store = context.get_cert_store()
    assert store is not None  # noqa: S101 - every context has one
    for certificate in certificates:
        store.add_cert(crypto.X509.from_cryptography(certificate))
    return context


def _note_verification(connection: SSL.Connection, _: object, error: int, _depth: int, good: int) -> bool:
    if not good and connection.get_app_data() is None:
        connection.set_app_data(error)
    return bool(good)


class KeyExchange:
    """Gets keys from one server. `host` is ASCII."""

    def __init__(self, host: str, port: int, context: SSL.Context) -> None:
        self.host = host
        self.port = port
        self._context = context

    def run(self, *, deadline: float) -> Keys:
        """Return new keys; raises NoUsableAnswer, at the time.monotonic() `deadline` at the latest.

        Later only where the resolver takes longer. What a server sends is bounded. Its certificate must be valid for
        the name in the settings. Revocation is not checked.
        """
        wire, address = self._connect(deadline)
        try:
            with wire:
                return self._over(_Pump(wire, self._context, deadline), address)
        except TimeoutError:
            raise NoUsableAnswer("the key exchange was not over in time") from None
        except SSL.Error as error:
            raise NoUsableAnswer(f"no TLS 1.3 with it: {_reason(error)}") from None
        except BadRecords as error:
            raise NoUsableAnswer(f"the key exchange failed: {error}") from None
        except OSError as error:
            raise NoUsableAnswer(f"the key exchange broke off: {error.strerror or error}") from None

    def _connect(self, deadline: float) -> tuple[socket.socket, str]:
        """Return a connection and the address that it leads to; raises Unreachable."""
        try:
            family, address = resolve(self.host, self.port, socket.SOCK_STREAM, deadline=deadline)
        except NoUsableAnswer as error:
            raise Unreachable(str(error)) from None
        wire = socket.socket(family, socket.SOCK_STREAM)
        try:
            wire.settimeout(_left(deadline))
            wire.connect(address)
        except OSError as error:
            wire.close()
            what = "no answer" if isinstance(error, TimeoutError) else error.strerror or error
            raise Unreachable(f"no key exchange: {what}") from None
        return wire, address[0]

    def _over(self, pump: _Pump, address: str) -> Keys:
        connection = pump.connection
        ip_address = _as_ip_address(self.host)
        if ip_address is None:
            connection.set_tlsext_host_name(self.host.encode("ascii"))
        connection.set_connect_state()
        try:
            pump.drive(connection.do_handshake)
        except SSL.Error:
            if (problem := connection.get_app_data()) is None:
                raise
            why = _NOT_VALID.get(problem, f"OpenSSL's verification error {problem}")
            raise NoUsableAnswer(f"its certificate is not trusted: {why}") from None
        self._check_name(connection, ip_address)
        if connection.get_alpn_proto_negotiated() != _ALPN:
            raise NoUsableAnswer("what answers is no server of NTS keys: it does not speak ntske/1")
        pump.drive(lambda: connection.sendall(REQUEST))
        offer = read_offer(_message(pump))
        keys = [
            connection.export_keying_material(
                _EXPORTER, _KEY_OCTETS, struct.pack("!HHB", NTPV4, AEAD_AES_SIV_CMAC_256, direction)
            )
            for direction in (0, 1)
        ]
        return Keys(
            to_server=keys[0],
            to_client=keys[1],
            cookies=offer.cookies,
            host=offer.server or address,
            port=offer.port or _NTP_PORT,
        )

    def _check_name(self, connection: SSL.Connection, ip_address: str | None) -> None:
        certificate = connection.get_peer_certificate(as_cryptography=True)
        if certificate is None:
            raise NoUsableAnswer("it shows no certificate")
        try:
            if ip_address is None:
                verify_certificate_hostname(certificate, self.host)
            else:
                verify_certificate_ip_address(certificate, ip_address)
        except (service_identity.VerificationError, service_identity.CertificateError, ValueError):
            raise NoUsableAnswer(f"its certificate is not for {self.host}") from None


class _Pump:
    """Moves the octets of a TLS connection over a socket, until a deadline, and no more than there may be."""

    def __init__(self, wire: socket.socket, context: SSL.Context, deadline: float) -> None:
        self.connection = SSL.Connection(context, None)
        self._wire = wire
        self._deadline = deadline
        self._received = 0

    def drive(self, step: Callable[[], ResultT]) -> ResultT:
        """Do a step of the connection's, as often as it asks for more octets."""
        while True:
            try:
                result = step()
            except SSL.WantReadError:
                self._flush()
                self._feed()
            except SSL.Error:
                with contextlib.suppress(OSError):
                    self._flush()  # the alert that says why
                raise
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        while True:
            try:
                data = self.connection.bio_read(_CHUNK_OCTETS)
            except SSL.WantReadError:
                return
            self._wire.settimeout(_left(self._deadline))
            self._wire.sendall(data)

    def _feed(self) -> None:
        self._wire.settimeout(_left(self._deadline))
        data = self._wire.recv(_CHUNK_OCTETS)
        self._received += len(data)
        if self._received > _MAX_RECEIVED_OCTETS:
            raise BadRecords(f"it sends more than {_MAX_RECEIVED_OCTETS} octets")
        if data:
            self.connection.bio_write(data)
        else:
            self.connection.bio_shutdown()


def _message(pump: _Pump) -> bytes:
    """Return a server's records up to their end; raises BadRecords."""
    message = bytearray()
    place, ended = 0, False
    while not ended:
        try:
            message += pump.drive(lambda: pump.connection.recv(MAX_MESSAGE_OCTETS))
        except (SSL.ZeroReturnError, SSL.SysCallError):
            break
        place, ended = scan(bytes(message), place)
    with contextlib.suppress(SSL.Error, OSError):
        pump.drive(pump.connection.shutdown)
    return bytes(message)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _as_ip_address(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


def _reason(error: SSL.Error) -> str:
    """Return OpenSSL's words for what went wrong."""
    problems: Any = error.args[0] if error.args else None
    if isinstance(problems, list) and problems:
        return str(problems[-1][-1]) or "unknown"
    return "the connection ended" if isinstance(error, SSL.SysCallError | SSL.ZeroReturnError) else "unknown"
