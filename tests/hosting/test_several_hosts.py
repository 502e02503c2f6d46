"""Several addresses, of IPv4 and IPv6, at one port: both engines, with and without workers, plain and over TLS."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.rotation import ENGINES
from tests.tls_material import TlsMaterial
from tsa_core.api import ConfigError
from tsa_core.config import load_settings
from tsa_core.hosting import sockets
from tsa_core.hosting.sockets import listen, urls
from tsa_core.testing import ServerProcess, encode_request


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


pytestmark = [pytest.mark.plugin("memory"), pytest.mark.needs(has_ipv6(), "there is no ::1")]

GRANTED = bytes.fromhex("3003020100")
QUERY = {"Content-Type": "application/timestamp-query"}


@pytest.fixture(scope="module", params=[*ENGINES, "granian"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("hosts")
    tls = TlsMaterial(folder)
    certificate, key = tls.write("server")
    flags = [
        *("--scheme", "http", "--port", "0", "--host", "127.0.0.1", "--host", "::1,127.0.0.1"),
        *("--scheme", "https", "--tls-port", "0", "--tls-host", "127.0.0.1", "--tls-host", "::1"),
        *("--tls-certificate", str(certificate), "--tls-key", str(key), "--metrics=false"),
        *("--server", request.param.partition("-")[0], "--workers", "2" if request.param.endswith("2") else "1"),
    ]
    with ServerProcess(None, *flags, wait_for=r"listening on https://\[::1\]") as running:
        yield running


def test_both_addresses_have_one_port_and_are_named_when_it_is_ready(server: ServerProcess) -> None:
    for scheme in ("http", "https"):
        (first, port), (second, same) = server.addresses(scheme)
        assert (first, second) == ("127.0.0.1", "::1")
        assert port == same


def test_clients_of_both_get_tokens_and_are_logged_by_their_address(server: ServerProcess) -> None:
    for host, port in server.addresses():
        connection = http.client.HTTPConnection(host, port, timeout=60)
        try:
            connection.request("POST", "/api/v1/timestamp", encode_request(), QUERY)
            response = connection.getresponse()
            assert response.status == 200
            assert GRANTED in response.read()[:16]
        finally:
            connection.close()
        server.wait_for_log(rf"POST /api/v1/timestamp 200 .* client={re.escape(host)} ")


def test_several_hosts_by_variable_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "tsa.toml"
    for text, expected in (('"127.0.0.1"', ["127.0.0.1"]), ('["127.0.0.1", "::1"]', ["127.0.0.1", "::1"])):
        config.write_text(f'[server]\nhost = {text}\n[profiles.default]\nsigner = "memory:"\n')
        assert load_settings(config, environ={}).server.host == expected
    monkeypatch.setenv("TSA_SERVER__HOST", "::1, 127.0.0.2")
    assert load_settings(config).server.host == ["::1", "127.0.0.2"]
    with pytest.raises(ConfigError, match=r"server\.host"):
        load_settings(overrides={"server": {"host": []}}, environ={})


def listening(*hosts: str, port: int = 0) -> list[socket.socket]:
    return listen(load_settings(overrides={"server": {"host": list(hosts), "port": port}}, environ={}).server)


def test_all_addresses_are_those_of_ipv4_too() -> None:
    """Not bound here, because a test listens on loopback only."""
    found = sockets._addresses(["::"], 3000, flags="--host")
    assert [(host, location[:2]) for host, (_, location) in found] == [
        ("::", ("::", 3000)),
        ("0.0.0.0", ("0.0.0.0", 3000)),
    ]
    assert len(sockets._addresses(["0.0.0.0", "::"], 3000, flags="--host")) == 2


def test_ipv6_socket_leaves_ipv4_to_its_own() -> None:
    opened = listening("::1")
    try:
        assert opened[0].getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        assert re.fullmatch(r"http://\[::1\]:\d+", urls(opened)[0])
    finally:
        opened[0].close()


def test_port_that_is_taken_at_the_second_address_is_named() -> None:
    for _ in range(20):
        with socket.socket(socket.AF_INET6) as taken:
            taken.bind(("::1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(ConfigError) as refused:
                listening("127.0.0.1", "::1", port=port)
        message = str(refused.value)
        if f"127.0.0.1:{port}" not in message:  # else another program has it there
            break
    assert re.search(rf"cannot listen on \[::1\]:{port}: .*--host and --port", message)


def test_free_port_is_free_at_all_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system chooses for the first address; where the port is taken at the second one, it chooses again."""
    ports: list[int] = []
    listen_at = sockets._listen_at
    with socket.socket(socket.AF_INET6) as taken:

        def take_at_the_second(address: sockets._Address, wanted: int, settings: object) -> socket.socket:
            opened = listen_at(address, wanted, settings)  # type: ignore[arg-type] # what it was called with
            if address[0] == socket.AF_INET:
                ports.append(opened.getsockname()[1])
                if len(ports) == 1:
                    with suppress(OSError):  # another program has it: just as well
                        taken.bind(("::1", ports[0]))
                        taken.listen()
            return opened

        monkeypatch.setattr(sockets, "_listen_at", take_at_the_second)
        opened = listening("127.0.0.1", "::1")
    try:
        chosen = {each.getsockname()[1] for each in opened}
        assert len(chosen) == 1
        assert len(ports) > 1
        assert chosen == {ports[-1]}
    finally:
        for each in opened:
            each.close()
