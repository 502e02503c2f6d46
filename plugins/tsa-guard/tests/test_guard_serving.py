"""Real servers with the guard: curl's view of 401, 403 and 429, on both engines and with workers."""

from __future__ import annotations

import subprocess
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tsa_backends.redis_server import PASSWORD, RedisServer
from tsa_backends.server_process import free_port
from tsa_core.testing import ServerProcess, encode_request, require_program, wait_until

from .test_guard_keys import add

pytestmark = pytest.mark.plugin("memory")

BODY = encode_request(b"guarded")
GRANTED, BAD_REQUEST = bytes.fromhex("3003020100"), bytes.fromhex("03020520")


def curl(server: ServerProcess, *arguments: str, path: str = "/api/v1/timestamp") -> tuple[int, bytes]:
    """Return what curl gets: the status, and the body."""
    program = require_program("curl", package="curl")
    result = subprocess.run(
        [
            *(program, "--silent", "--max-time", "60", "--write-out", "\n%{http_code}", "--data-binary", "@-"),
            *("--header", "Content-Type: application/timestamp-query", *arguments, f"{server.url}{path}"),
        ],
        input=BODY,
        capture_output=True,
        check=True,
        timeout=90,
    )
    body, _, status = result.stdout.rpartition(b"\n")
    return int(status), body


def tenants(port: int) -> dict[tuple[str, str], float]:
    """Return the counts by tenant and outcome, of all workers, and how many requests are being answered."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as reply:
        text = reply.read().decode()
    return {
        (sample.labels.get("tenant", "in flight"), sample.labels.get("outcome", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name in {"timestamp_authority_tenant_requests_total", "timestamp_authority_requests_in_flight"}
    }


@pytest.mark.parametrize("engine", ["waitress", "granian"])
def test_401_403_and_429_with_curl(engine: str, tmp_path: Path, redis_server: RedisServer) -> None:
    keys = tmp_path / "keys.jsonl"
    good, other = add(keys, name="good", tenant=f"acme {engine}"), add(keys, name="other", tenant="evil")
    (tmp_path / "redis-url").write_text(redis_server.url)
    config = tmp_path / "tsa.toml"
    metrics_port = free_port()
    config.write_text(
        f"""
        [server]
        engine = "{engine}"
        workers = 2
        [profiles.default]
        signer = "memory:"
        [metrics]
        port = {metrics_port}
        tenants = 1
        [profiles.inner]
        signer = "memory:"
        [middleware]
        guards = ["guard"]
        guard_timeout = "20s"
        [middleware.guard]
        keys = "keys.jsonl"
        storage = {{ file = "redis-url" }}
        storage_timeout = "10s"
        [middleware.guard.tenants."acme {engine}"]
        profiles = ["default"]
        client_limits = ["6/day"]
        """
    )
    with ServerProcess(config) as server:
        status, body = curl(server)
        assert (status, b"X-API-Key" in body) == (401, True)
        assert curl(server, "--header", f"X-API-Key: {other}")[0] == 403
        for arguments in (("--header", f"X-API-Key: {good}"), ("--user", f"me:{good}"), ("--oauth2-bearer", good)):
            status, body = curl(server, *arguments)
            assert status == 200
            assert GRANTED in body[:16]
        status, body = curl(server, "--header", f"X-API-Key: {good}", path="/tsa/inner")
        assert status == 200
        assert BAD_REQUEST in body
        # Both workers count together.
        statuses = [curl(server, "--header", f"X-API-Key: {good}")[0] for _ in range(4)]
        assert statuses == [200, 200, 429, 429]
        # Which of the two tenants comes first depends on the worker that counts first.
        ours = {"granted": 5.0, "rejected": 1.0, "refused": 2.0}
        counts = [
            {
                **{(name, outcome): count for outcome, count in ours.items()},
                (other, "refused"): 1.0,
                ("none", "refused"): 1.0,
                ("in flight", ""): 0.0,
            }
            for name, other in ((f"acme {engine}", "other"), ("other", "evil"))
        ]
        wait_until(lambda: tenants(metrics_port) in counts, seconds=60, what="each request is counted once")

        def identity_is_logged() -> bool:
            return '"identity":"good"' in server.log or 'identity="good"' in server.log

        # A thread writes the access log, a tenth of a second after the replies at most.
        wait_until(identity_is_logged, seconds=60, what="the log tells who asked")
    log = server.log
    for secret in (good, other, PASSWORD):
        assert secret not in log
