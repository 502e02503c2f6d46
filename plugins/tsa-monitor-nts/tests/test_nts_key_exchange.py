"""Servers of keys that are wrong, broken or hostile: each is refused with its reason, in time, and in little memory."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from tsa_core.api.ntp.query import NoUsableAnswer
from tsa_core.testing import ends_within
from tsa_monitor_nts.key_exchange import KeyExchange, Keys, Unreachable, trusting
from tsa_monitor_nts.records import REQUEST, BadRecords, read_offer, scan

from .nts_world import KeyServerCa, free_tcp_port

Behave: TypeAlias = Callable[[Any], None]
END, PROTOCOLS, ERROR, WARNING, AEADS, NEW_COOKIE, SERVER, PORT = range(8)
DAY = timedelta(days=1)


def record(kind: int, body: bytes = b"", *, critical: bool = True) -> bytes:
    return struct.pack("!HH", kind | (0x8000 if critical else 0), len(body)) + body


def short(number: int) -> bytes:
    return struct.pack("!H", number)


GOOD_HEAD = record(PROTOCOLS, short(0)) + record(AEADS, short(15))
COOKIES = record(NEW_COOKIE, b"k" * 100, critical=False) * 8
GOOD = GOOD_HEAD + COOKIES + record(END)


def context(files: tuple[Path, Path], *, alpn: str | None = "ntske/1") -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*files)
    if alpn:
        made.set_alpn_protocols([alpn])
    return made


def answering(message: bytes) -> Behave:
    def behave(connection: Any) -> None:
        if connection.recv(4096) == REQUEST:
            connection.sendall(message)

    return behave


class KeyServer:
    """Accepts connections, and does with each what a test wants; without `tls`, over TCP alone."""

    def __init__(self, tls: ssl.SSLContext | None, behave: Behave) -> None:
        self._tls = tls
        self._behave = behave
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="key-server", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with suppress(OSError):
            wire, _ = self._socket.accept()
            with wire:
                wire.settimeout(10)
                with self._tls.wrap_socket(wire, server_side=True) if self._tls else wire as connection:
                    self._behave(connection)
        self.ended.set()

    def stop(self) -> None:
        self._socket.close()
        self._thread.join(12)


Serve: TypeAlias = Callable[..., KeyServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[KeyServer] = []

    def start(tls: ssl.SSLContext | None, behave: Behave) -> KeyServer:
        running.append(KeyServer(tls, behave))
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.fixture(scope="module")
def files(ca: KeyServerCa) -> tuple[Path, Path]:
    return ca.issue("127.0.0.1")


def exchange(server: KeyServer, ca: KeyServerCa, *, host: str = "127.0.0.1", timeout: float = 5.0) -> Keys:
    return KeyExchange(host, server.port, trusting(ca.file, where="clock.nts.ca")).run(
        deadline=time.monotonic() + timeout
    )


def refused(server: KeyServer, ca: KeyServerCa, *, host: str = "127.0.0.1", timeout: float = 5.0) -> str:
    with ends_within(timeout + 1), pytest.raises(NoUsableAnswer) as raised:
        exchange(server, ca, host=host, timeout=timeout)
    return str(raised.value)


def test_a_right_server_gives_keys_and_says_where_to_ask(
    serve: Serve, ca: KeyServerCa, files: tuple[Path, Path]
) -> None:
    where = record(SERVER, b"ntp.example.org") + record(PORT, short(1123))
    strange = record(99, b"whatever", critical=False)
    keys = exchange(serve(context(files), answering(GOOD_HEAD + strange + where + COOKIES + record(END))), ca)
    assert (keys.host, keys.port) == ("ntp.example.org", 1123)
    assert len(keys.cookies) == 8
    assert len(keys.to_server) == len(keys.to_client) == 32
    assert keys.to_server != keys.to_client


def test_without_a_word_on_it_the_time_is_asked_for_at_the_same_address(
    serve: Serve, ca: KeyServerCa, files: tuple[Path, Path]
) -> None:
    keys = exchange(serve(context(files), answering(GOOD)), ca)
    assert (keys.host, keys.port) == ("127.0.0.1", 123)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (record(ERROR, short(1)) + record(END), "it answers with an error: bad request"),
        (record(ERROR, short(77)) + record(END), "error: code 77"),
        (record(WARNING, short(1)) + record(END), "warning: code 1"),
        (record(AEADS, short(15)) + COOKIES + record(END), "does not offer NTPv4"),
        (record(PROTOCOLS, short(1)) + record(AEADS, short(15)) + COOKIES + record(END), "does not offer NTPv4"),
        (record(PROTOCOLS, short(0)) + COOKIES + record(END), "does not offer AEAD_AES_SIV_CMAC_256"),
        (record(PROTOCOLS, short(0)) + record(AEADS, short(16)) + COOKIES + record(END), "AEAD_AES_SIV_CMAC_256"),
        (record(PROTOCOLS, short(0)) + record(AEADS, short(15) + short(16)) + COOKIES + record(END), "AEAD_AES_SIV"),
        (GOOD_HEAD + record(END), "it sends no cookie"),
        (GOOD_HEAD + record(NEW_COOKIE) + record(END), "a cookie of 0 octets"),
        (GOOD_HEAD + record(NEW_COOKIE, bytes(4096)) + record(END), "a cookie of 4096 octets"),
        (GOOD_HEAD + GOOD, "it sends record 1 twice"),
        (GOOD_HEAD + record(99) + COOKIES + record(END), "a critical record 99"),
        (GOOD + COOKIES, "after the end of its message"),
        (GOOD_HEAD + COOKIES, "ended the connection before its message"),
        (GOOD[:-9], "ended the connection before its message"),
        (b"", "ended the connection before its message"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "ended the connection before its message"),
        (GOOD_HEAD + record(SERVER, b"a name") + COOKIES + record(END), "a time server that is no name"),
        (GOOD_HEAD + record(SERVER, b"n" * 300) + COOKIES + record(END), "a time server that is no name"),
        (GOOD_HEAD + record(PORT, short(0)) + COOKIES + record(END), "a port that is none"),
        (GOOD_HEAD + record(PORT, b"1") + COOKIES + record(END), "a port that is none"),
        (GOOD_HEAD + record(NEW_COOKIE, b"k" * 100, critical=False) * 10_000 + record(END), "more than 16384 octets"),
    ],
)
def test_an_answer_that_no_key_comes_from(
    serve: Serve, ca: KeyServerCa, files: tuple[Path, Path], message: bytes, why: str
) -> None:
    assert why in refused(serve(context(files), answering(message)), ca)


def test_endless_records_end(serve: Serve, ca: KeyServerCa, files: tuple[Path, Path]) -> None:
    def behave(connection: Any) -> None:
        while True:
            connection.sendall(record(99, bytes(1000), critical=False))

    server = serve(context(files), behave)
    assert "more than 16384 octets" in refused(server, ca)
    assert server.ended.wait(10), "the connection is closed"


def test_a_record_that_never_ends_ends(serve: Serve, ca: KeyServerCa, files: tuple[Path, Path]) -> None:
    def behave(connection: Any) -> None:
        connection.sendall(struct.pack("!HH", 99, 65_535))
        while True:
            connection.sendall(bytes(1000))

    assert "more than 16384 octets" in refused(serve(context(files), behave), ca)


def test_what_drips_is_cut_off_at_the_deadline(serve: Serve, ca: KeyServerCa, files: tuple[Path, Path]) -> None:
    def behave(connection: Any) -> None:
        connection.settimeout(0.05)
        for octet in GOOD:
            connection.sendall(bytes([octet]))
            with suppress(TimeoutError):
                if connection.recv(4096) == b"":
                    return

    assert "not over in time" in refused(serve(context(files), behave), ca, timeout=0.5)


def test_silence_before_the_handshake_is_cut_off(serve: Serve, ca: KeyServerCa) -> None:
    server = serve(None, lambda wire: wire.recv(10_000) and wire.recv(10_000))
    assert "not over in time" in refused(server, ca, timeout=0.3)


def test_garbage_in_place_of_tls(serve: Serve, ca: KeyServerCa) -> None:
    assert "no TLS 1.3 with it" in refused(serve(None, lambda wire: wire.sendall(b"SSH-2.0-OpenSSH\r\n" * 9)), ca)


def test_an_end_in_place_of_tls(serve: Serve, ca: KeyServerCa) -> None:
    assert "no TLS 1.3 with it: " in refused(serve(None, lambda wire: wire.recv(10_000)), ca)


def test_nobody_there(ca: KeyServerCa) -> None:
    with pytest.raises(NoUsableAnswer, match="no key exchange: Connection refused"):
        KeyExchange("127.0.0.1", free_tcp_port(), trusting(ca.file, where="ca")).run(deadline=time.monotonic() + 1)


def test_tls_1_2_is_refused(serve: Serve, ca: KeyServerCa, files: tuple[Path, Path]) -> None:
    old = context(files)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert "no TLS 1.3 with it" in refused(serve(old, answering(GOOD)), ca)


@pytest.mark.parametrize("alpn", [None, "h2"])
def test_another_protocol_is_refused(serve: Serve, ca: KeyServerCa, files: tuple[Path, Path], alpn: str | None) -> None:
    assert "does not speak ntske/1" in refused(serve(context(files, alpn=alpn), answering(GOOD)), ca)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"begin": -2 * DAY, "end": -DAY}, "it has expired, by this machine's clock"),
        ({"begin": DAY, "end": 2 * DAY}, "it is not valid yet, by this machine's clock"),
        ({"usage": ExtendedKeyUsageOID.CLIENT_AUTH}, "it is not for servers"),
    ],
)
def test_a_certificate_that_is_not_trusted(serve: Serve, ca: KeyServerCa, more: dict[str, Any], why: str) -> None:
    server = serve(context(ca.issue("127.0.0.1", **more)), answering(GOOD))
    assert refused(server, ca) == f"its certificate is not trusted: {why}"


def test_a_certificate_of_another_ca(serve: Serve, ca: KeyServerCa, tmp_path: Path) -> None:
    other = KeyServerCa(tmp_path, "Another CA")
    assert "its issuer is not among the CAs" in refused(serve(context(other.issue("127.0.0.1")), answering(GOOD)), ca)


def test_a_self_signed_certificate(serve: Serve, ca: KeyServerCa, tmp_path: Path) -> None:
    key = tmp_path / "self.key"
    other = KeyServerCa(tmp_path, "Itself")
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key.write_bytes(other._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert "self-signed" in refused(serve(context((other.file, key)), answering(GOOD)), ca)


@pytest.mark.parametrize(
    ("names", "host", "accepted"),
    [
        (["nts.example"], "nts.example", True),
        (["*.time.example"], "nts.time.example", True),
        (["*.example"], "nts.example", False),
        (["127.0.0.1"], "127.0.0.1", True),
        (["nts.example"], "NTS.example", True),
        (["2001:db8::1"], "2001:DB8:0::1", True),
        (["2001:db8::2"], "2001:db8::1", False),
        (["*"], "nts.example", False),
        (["*.0.0.1"], "127.0.0.1", False),
        ([], "a time server", False),
        (["nts.example"], "127.0.0.1", False),
        (["127.0.0.2"], "127.0.0.1", False),
        (["127.0.0.1"], "nts.example", False),
        (["other.example"], "nts.example", False),
        (["nts.example.evil", "example"], "nts.example", False),
    ],
)
def test_the_certificate_must_be_for_the_name_in_the_settings(
    serve: Serve, ca: KeyServerCa, names: list[str], host: str, accepted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def here(_: str, port: int, __: socket.SocketKind, *, deadline: float) -> tuple[int, tuple[str, int]]:
        return socket.AF_INET, ("127.0.0.1", port)

    monkeypatch.setattr("tsa_monitor_nts.key_exchange.resolve", here)
    server = serve(context(ca.issue(*names)), answering(GOOD))
    if accepted:
        assert exchange(server, ca, host=host).cookies
    else:
        assert refused(server, ca, host=host) == f"its certificate is not for {host}"


def test_a_name_that_is_resolved_too_late_is_unreachable(ca: KeyServerCa) -> None:
    with pytest.raises(Unreachable, match="the name was not resolved in time"):
        KeyExchange("127.0.0.1", free_tcp_port(), trusting(ca.file, where="ca")).run(deadline=time.monotonic())


def test_each_key_exchange_is_a_whole_handshake_with_keys_of_its_own(
    serve: Serve, ca: KeyServerCa, files: tuple[Path, Path]
) -> None:
    resumed: list[bool | None] = []

    def behave(connection: Any) -> None:
        resumed.append(connection.session_reused)
        answering(GOOD)(connection)

    tls = context(files)
    keys = [exchange(serve(tls, behave), ca) for _ in range(2)]
    assert resumed == [False, False]
    assert len({key for each in keys for key in (each.to_server, each.to_client)}) == 4


def test_without_a_file_the_systems_cas_count(
    serve: Serve, ca: KeyServerCa, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca.file))
    server = serve(context(files), answering(GOOD))
    assert KeyExchange("127.0.0.1", server.port, trusting(None, where="ca")).run(deadline=time.monotonic() + 5).cookies


def test_the_systems_cas_do_not_trust_ours(serve: Serve, files: tuple[Path, Path]) -> None:
    server = serve(context(files), answering(GOOD))
    with pytest.raises(NoUsableAnswer, match="its certificate is not trusted"):
        KeyExchange("127.0.0.1", server.port, trusting(None, where="ca")).run(deadline=time.monotonic() + 5)


@given(message=st.one_of(st.binary(max_size=600), st.binary(max_size=60).map(lambda body: GOOD_HEAD + body)))
def test_any_message_is_read_or_refused(message: bytes) -> None:
    place, ended = scan(message, 0)
    assert 0 <= place <= len(message)
    try:
        offer = read_offer(message)
    except BadRecords:
        return
    assert ended
    assert offer.cookies


@given(cuts=st.lists(st.integers(0, len(GOOD)), max_size=20))
def test_the_end_of_a_message_is_found_however_it_arrives(cuts: list[int]) -> None:
    place = 0
    for cut in sorted({*cuts, len(GOOD)}):
        place, ended = scan(GOOD[:cut], place)
        assert ended == (cut == len(GOOD))
