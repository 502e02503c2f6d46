"""Every lie of the list ends: with a readable error, or with a right answer (rule V21)."""

from __future__ import annotations

import re
import socket

import pytest

from tests.client.lying_server import Certificates, Lie, LyingServer
from tests.client.lying_servers import LIES
from tsa_core.client import RequestTimeout, TimestampClient, transport
from tsa_core.client.errors import ClientError
from tsa_core.client.proxied import ProxiedConnections


def test_the_list_is_as_long_as_promised() -> None:
    assert len(LIES) >= 53


@pytest.mark.timeout(120)
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
@pytest.mark.parametrize("library", ["http.client", "urllib3"])
def test_lying_server(lie: Lie, library: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    """http.client makes the exchanges without a proxy and urllib3 those through one; both must bear every lie."""
    if library == "urllib3":
        monkeypatch.setattr(transport, "DirectConnections", lambda context: ProxiedConnections(None, context, None))
    with LyingServer(lie, certificates) as server:
        for variable, value in server.environment.items():
            monkeypatch.setenv(variable, value)
        with TimestampClient(server.url, timeout=lie.timeout, ca=certificates.ca) as client:
            if lie.error is None:
                assert client.stamp(artifact=b"hello").tst_info.nonce is not None
                return
            with pytest.raises(ClientError) as caught:
                client.stamp(artifact=b"hello")
    error = caught.value
    assert isinstance(error, lie.error), repr(error)
    assert (type(error) is RequestTimeout) == (lie.error is RequestTimeout)
    assert readable(str(error))
    assert error.url in str(error)
    assert re.search(lie.says, str(error)), str(error)


def readable(text: str) -> bool:
    return text.isprintable() and len(text) < 600 and "object at 0x" not in text and "secret" not in text


def test_a_listener_that_never_accepts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/tsa"
        with TimestampClient(url, timeout=0.5) as client, pytest.raises(RequestTimeout):
            client.stamp(artifact=b"hello")
