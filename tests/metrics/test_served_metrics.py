"""The metrics of a real server: every name, right units, bounded labels; also over worker processes."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conformance.plain_encoder import PlainRequest
from tests.serving import JSON, Server
from tsa_backends.server_process import free_port
from tsa_core.testing.ntp_responder import NtpResponder
from tsa_core.testing.server import ServerProcess
from tsa_core.testing.waiting import wait_until

memory = pytest.mark.plugin("memory")
ENGINES = [
    pytest.param(("--workers", "1"), id="waitress"),
    pytest.param(("--workers", "2"), id="waitress-2"),
    pytest.param(("--server", "granian", "--workers", "1"), id="granian"),
    pytest.param(("--server", "granian", "--workers", "2"), id="granian-2"),
]
GOOD = PlainRequest().encode()
WEAK = PlainRequest(hash_name="sha1", digest=bytes(20)).encode()
REFERENCE_NAMES = {
    *("api_latency", "api_latency_summary", "latency_by_api", "http_requests_total"),
    *("certificate_valid_days_remaining", "build_info"),
}
OUR_NAMES = {
    *("tokens_total", "rejections_total", "queue_refusals_total", "signatures_total", "signer_latency_seconds"),
    *("requests_in_flight", "clock_state", "clock_issuing", "clock_offset_seconds", "clock_error_bound_seconds"),
    *("signer_available", "certificate_not_after_seconds", "ready", "not_ready"),
}


class Watched:
    """A server with its metrics."""

    def __init__(self, process: ServerProcess, metrics_port: int) -> None:
        self.process = process
        self.server = Server(url=f"http://127.0.0.1:{process.port}")
        self.metrics_port = metrics_port

    def scrape(self) -> str:
        with closing(http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=30)) as connection:
            connection.request("GET", "/metrics")
            response = connection.getresponse()
            assert response.status == 200
            assert response.headers["Content-Type"].startswith("text/plain; version=")
            return response.read().decode()

    def samples(self) -> dict[str, float]:
        found = {}
        for family in text_string_to_metric_families(self.scrape()):
            for sample in family.samples:
                labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                found[f"{sample.name.removeprefix('timestamp_authority_')}{{{labels}}}"] = sample.value
        return found

    def wait_for(self, name: str, value: float) -> dict[str, float]:
        """Return the samples once one of them has this value; workers share theirs once a second."""
        found: dict[str, float] = {}

        def there() -> bool:
            found.clear()
            found.update(self.samples())
            return found.get(name) == value

        wait_until(there, seconds=30, what=f"{name} is {value:g}")
        return found

    def workers(self) -> list[int]:
        pid = self.process.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def watched(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Watched]:
    config = tmp_path / "tsa.toml"
    config.write_text('[profiles.default]\nsigner = "memory:"\n')
    port = free_port()
    flags = ["--port", str(free_port()), "--metrics-port", str(port), *request.param]
    with ServerProcess(config, *flags, environ={"TMPDIR": str(tmp_path)}) as process:
        assert f"metrics at http://127.0.0.1:{port}/metrics\n" in process.log
        yield Watched(process, port)


each_engine = pytest.mark.parametrize("watched", ENGINES, indirect=True)


@memory
@each_engine
def test_mixed_traffic_is_counted_once_wherever_it_was_answered(watched: Watched) -> None:
    server = watched.server
    for _ in range(6):
        assert server.post(GOOD).status == 200
    for _ in range(3):
        assert server.post(WEAK).status == 200
    assert server.post(b"{", content_type=JSON).status == 400
    assert server.post(GOOD, path="/tsa/default").status == 200
    for path in ("/a", "/b%0Ac", "/tsa/nobody/certchain", "/tsa/x%22y/z"):
        assert server.request("GET", path).status == 404
    assert server.request("PUT", "/api/v1/timestamp").status == 405
    assert server.request("BREW", "/ping").status in {400, 405}
    assert server.request("GET", "/api/v1/timestamp/certchain").status == 200
    found = watched.wait_for("http_requests_total{code=200,method=GET,path=/api/v1/timestamp/certchain}", 1)
    found = watched.wait_for("tokens_total{profile=default}", 7)
    found = watched.wait_for("http_requests_total{code=200,method=POST,path=/api/v1/timestamp}", 9)
    assert found["http_requests_total{code=200,method=POST,path=/tsa/{profile}}"] == 1
    assert found["http_requests_total{code=404,method=GET,path=unrecognized}"] == 3
    assert found["http_requests_total{code=404,method=GET,path=/tsa/{profile}/certchain}"] == 1
    assert found["rejections_total{failure=badAlg}"] == 3
    assert found["rejections_total{failure=badDataFormat}"] == 1
    assert found["signatures_total{algorithm=ecdsa-sha256,outcome=signed}"] == 7
    assert found["api_latency_count{code=200,path=/api/v1/timestamp}"] == 9
    assert found["latency_by_api_count{method=POST,path=/api/v1/timestamp}"] == 10
    # Seconds: nine requests of some microseconds each take less than one of them, and more than a nanosecond.
    for name in ("api_latency_sum", "api_latency_summary_sum"):
        assert 1e-5 < found[f"{name}{{code=200,path=/api/v1/timestamp}}"] < 5
    assert 1e-6 < found["signer_latency_seconds_sum{profile=default}"] < 5
    assert 3000 < found["certificate_valid_days_remaining{}"] < 3300
    assert found["clock_state{state=unmonitored}"] == 1
    assert found["requests_in_flight{}"] == 0
    names = {name.partition("{")[0].removesuffix("_count") for name in found}
    assert names >= REFERENCE_NAMES | OUR_NAMES
    assert not [name for name in names if name.endswith("_created")]


@memory
@pytest.mark.parametrize("watched", ENGINES[1::2], indirect=True)
@pytest.mark.needs(Path("/proc/self/task").exists(), "finds workers through /proc")
def test_what_a_dead_worker_counted_stays_and_the_metrics_are_served_on(watched: Watched, tmp_path: Path) -> None:
    for _ in range(20):
        assert watched.server.post(GOOD).status == 200
    watched.wait_for("tokens_total{profile=default}", 20)
    (shared,) = tmp_path.glob("tsa-core-metrics-*")
    before = watched.workers()
    assert len(before) == 2
    victim = before[0]
    assert (shared / f"gauge_livesum_{victim}.db").exists()
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(set(watched.workers()) - {victim}) == 2, seconds=60, what="the worker is replaced")
    assert watched.samples()["tokens_total{profile=default}"] == 20
    assert not (shared / f"gauge_livesum_{victim}.db").exists()
    for _ in range(5):
        assert watched.server.post(GOOD).status == 200
    watched.wait_for("tokens_total{profile=default}", 25)


@memory
@pytest.mark.parametrize("watched", ENGINES[1::2], indirect=True)
def test_the_shared_directory_is_gone_when_the_server_is(watched: Watched, tmp_path: Path) -> None:
    assert list(tmp_path.glob("tsa-core-metrics-*"))
    watched.process.__exit__(None, None, None)
    assert not list(tmp_path.glob("tsa-core-metrics-*"))
    with pytest.raises(OSError, match=r"(?i)refused"):
        watched.scrape()


@memory
@pytest.mark.parametrize("watched", ENGINES[:1], indirect=True)
def test_only_metrics_are_served_there_and_nothing_of_them_elsewhere(watched: Watched) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", watched.metrics_port, timeout=30)) as connection:
        connection.request("GET", "/")
        assert connection.getresponse().status == 404
    assert watched.server.request("GET", "/metrics").status == 404


@memory
@pytest.mark.parametrize("watched", ENGINES[:1], indirect=True)
def test_a_client_that_says_nothing_does_not_keep_others_from_the_metrics(watched: Watched) -> None:
    silent = [socket.create_connection(("127.0.0.1", watched.metrics_port)) for _ in range(20)]
    assert "timestamp_authority_tokens_total" in watched.scrape()
    for each in silent:
        each.close()


def run_serve(*flags: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TSA_")}
    return subprocess.run(
        [sys.executable, "-m", "tsa_core.cli.server", "serve", "--port", "0", *flags],
        check=False,
        env={**clean, **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


@memory
@pytest.mark.parametrize("flags", [(), ("--workers", "2")])
def test_a_port_that_is_taken_is_an_error_when_it_was_asked_for(flags: tuple[str, ...]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_serve(*flags, environ={"TSA_METRICS__PORT": str(port)})
    assert done.returncode == 75
    assert "Traceback" not in done.stderr
    assert f"cannot listen on 127.0.0.1:{port} for metrics" in done.stderr
    assert "--metrics=false" in done.stderr


@pytest.fixture
def taken_port() -> Iterator[None]:
    """Somebody else listens where metrics are shown by default."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

        def bound() -> bool:
            try:
                taken.bind(("127.0.0.1", 2112))
                taken.listen()
            except OSError:
                return False
            return True

        # Servers of other tests have the port for a while; whoever has it for a minute will go on having it.
        with suppress(AssertionError):
            wait_until(bound, seconds=60, what="the port is free")
        yield


@memory
@pytest.mark.usefixtures("taken_port")
def test_a_default_port_that_is_taken_is_a_warning(tmp_path: Path) -> None:
    config = tmp_path / "tsa.toml"
    config.write_text('[profiles.default]\nsigner = "memory:"\n')
    with ServerProcess(config) as process:
        process.wait_for_log("there are no metrics")
        assert "metrics at" not in process.log
        assert Server(url=f"http://127.0.0.1:{process.port}").post(GOOD).status == 200


@pytest.mark.usefixtures("taken_port")
@pytest.mark.parametrize("flags", ENGINES)
def test_a_port_that_is_taken_adds_nothing_to_what_keeps_a_server_from_serving(flags: tuple[str, ...]) -> None:
    done = run_serve(*flags, "--certificate-chain-path", "missing.pem", environ={})
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "missing.pem" in done.stderr


@pytest.mark.plugin("memory", "ntp")
@pytest.mark.usefixtures("taken_port")
@pytest.mark.parametrize("flags", ENGINES)
def test_plugins_count_where_the_port_is_taken(flags: tuple[str, ...], tmp_path: Path) -> None:
    config = tmp_path / "tsa.toml"
    responder = NtpResponder().start()
    try:
        config.write_text(
            '[profiles.default]\nsigner = "memory:"\n[clock]\nmonitors = ["ntp"]\n[clock.ntp]\n'
            f'servers = ["{responder.server}"]\nnum_servers = 1\nserver_threshold = 1\n'
        )
        with ServerProcess(config, *flags) as process:
            server = Server(url=f"http://127.0.0.1:{process.port}")
            wait_until(lambda: server.request("GET", "/readyz").status == 200, seconds=30, what="the clock is trusted")
    finally:
        responder.stop()


OFF = """
import sys
from tsa_core.config import load_settings
from tsa_core.http import create_app
from tsa_core.http.observability import Observability
from tsa_core.service import Service
settings = load_settings()
with Observability(settings, forks=True) as observability, Service(settings) as service:
    assert observability.middleware(service) is None
    create_app(service, None)
print([name for name in ("prometheus_client", "structlog") if name in sys.modules])
"""


@memory
def test_switched_off_nothing_is_imported_and_nothing_called() -> None:
    environ = {**os.environ, "TSA_METRICS__ENABLED": "false", "TSA_LOG__ACCESS": "false"}
    done = subprocess.run(
        [sys.executable, "-c", OFF], capture_output=True, text=True, timeout=60, env=environ, check=False
    )
    assert done.stderr == ""
    assert done.stdout == "[]\n"


UNDER_GUNICORN = """
import os, sys
from tsa_core.wsgi import create_app
from falcon.testing import create_environ
app = create_app()
def post():
    environ = create_environ("/ping")
    return b"".join(app(environ, lambda *_: None))
for _ in range(int(sys.argv[1])):
    assert post() == b"."
print("ready", flush=True)
sys.stdin.readline()
"""


@memory
def test_under_another_server_processes_share_what_they_count_where_the_environment_says_so(tmp_path: Path) -> None:
    port = free_port()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TSA_")}
    environ |= {
        "TSA_METRICS__ENABLED": "true",
        "TSA_METRICS__PORT": str(port),
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
    }
    processes = []
    try:
        for count in (3, 4):
            process = subprocess.Popen(
                [sys.executable, "-c", UNDER_GUNICORN, str(count)],
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            processes.append(process)
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        name = 'timestamp_authority_http_requests_total{code="200",method="GET",path="/ping"} '

        def total() -> str:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
                connection.request("GET", "/metrics")
                text = connection.getresponse().read().decode()
            return text.partition(name)[2].partition("\n")[0]

        wait_until(lambda: total() == "7.0", seconds=30, what="both processes' requests are shown")
    finally:
        for process in processes:
            process.communicate("\n", timeout=30)
    assert [process.returncode for process in processes] == [0, 0]
    assert list(tmp_path.glob("counter_*.db"))
