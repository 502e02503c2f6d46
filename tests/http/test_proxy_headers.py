"""What proxies and clients write into X-Forwarded-For: the server hands it on and believes nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tsa_core.testing import ServerProcess, encode_request

pytestmark = pytest.mark.plugin("memory", "network")

CONFIG = """
[profiles.default]
signer = "memory:"

[policy]
selectors = ["network", "oid"]

[policy.network]
otherwise = "refuse"
trusted_proxies = [{proxies}]

[[policy.network.rules]]
networks = ["10.0.0.0/8"]
"""

# PKIStatusInfo of a grant, and failInfo badRequest: see rule S18.
GRANTED = bytes.fromhex("3003020100")
BAD_REQUEST = bytes.fromhex("03020520")


def config(folder: Path, proxies: str) -> Path:
    path = folder / "tsa.toml"
    path.write_text(CONFIG.format(proxies=proxies))
    return path


def test_trusted_proxy_tells_where_a_request_came_from(tmp_path: Path) -> None:
    with ServerProcess(config(tmp_path, '"127.0.0.1"')) as server:
        inside = server.stamp(encode_request(), headers={"X-Forwarded-For": "10.1.2.3"})
        spoofed = server.stamp(encode_request(), headers={"X-Forwarded-For": "10.1.2.3, 192.0.2.9"})
        silent = server.stamp(encode_request())
    assert GRANTED in inside.body[:16]
    for refused in (spoofed, silent):
        assert refused.status == 200
        assert BAD_REQUEST in refused.body
        assert b"requests from your network are not accepted here" in refused.body


def test_header_of_others_is_ignored(tmp_path: Path) -> None:
    with ServerProcess(config(tmp_path, '"192.0.2.5"')) as server:
        assert BAD_REQUEST in server.stamp(encode_request(), headers={"X-Forwarded-For": "10.1.2.3"}).body
        # waitress drops header names with underscores, which WSGI could not tell from the real one.
        assert BAD_REQUEST in server.stamp(encode_request(), headers={"X_Forwarded_For": "10.1.2.3"}).body


@pytest.mark.parametrize(
    "header",
    ["X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-By", "Forwarded"],
)
def test_core_believes_no_proxy_header(tmp_path: Path, header: str) -> None:
    path = tmp_path / "tsa.toml"
    path.write_text('[profiles.default]\nsigner = "memory:"\n')
    values = ("10.1.2.3", "evil.example", "https", "443", "\t", 'for="[2001:db8::1]";proto=https;host=evil.example')
    with ServerProcess(path) as server:
        plain = server.stamp(encode_request())
        for value in values:
            answered = server.stamp(encode_request(), headers={header: value})
            assert answered.status == plain.status == 200
            assert answered.headers.keys() == plain.headers.keys()
            assert GRANTED in answered.body[:16]
        assert server.get("/ping").body == b"."
        assert "10.1.2.3" not in server.log
