"""The cost of observability: audit trail, metrics and access log, each alone and all of them.

    python -m bench.observability [--quick]

In process, an application is called in a loop, without HTTP. On whole servers, all run at once and take turns under
load. `part us` is what a request costs beyond one that nobody watches, `more` the same in percent.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from falcon.testing import create_environ
from prometheus_client import CollectorRegistry

from bench.issue import WITH_CERTIFICATES
from bench.measure import QUERY, Load, Server, bare_signature_us, cpu_us, free_port, have_wrk
from bench.report import Row, print_rows, progress
from tsa_core.config import load_settings
from tsa_core.http import create_app
from tsa_core.http.observability import RequestTracingMiddleware
from tsa_core.logs.access import JsonAccessLog
from tsa_core.logs.writer import LineWriter
from tsa_core.metrics.families import Families
from tsa_core.metrics.recorder import Recorder
from tsa_core.service import Service

KIND = "ecdsa-p256"
_METRICS = {"TSA_METRICS__ENABLED": "true"}
_LOG = {"TSA_LOG__ACCESS": "true", "TSA_LOG__TYPE": "prod"}
_AUDIT = {"TSA_AUDIT__SINKS": "auditfile", "TSA_AUDIT__AUDITFILE__SYNC": "interval"}


def parts() -> dict[str, dict[str, str]]:
    """Return the environment of each server by what it adds to the one that watches nothing."""
    found = {
        "nothing": {},
        "metrics": _METRICS,
        "access log, JSON": _LOG,
        "access log, dev": {"TSA_LOG__ACCESS": "true", "TSA_LOG__TYPE": "dev"},
        "metrics and access log": {**_METRICS, **_LOG},
    }
    if find_spec("tsa_audit_file"):
        found["audit file, synced each second"] = _AUDIT
        found["audit file, metrics and access log"] = {**_AUDIT, **_METRICS, **_LOG}
    return found


# -- in process -----------------------------------------------------------------------------------------------------


def run_in_process(*, quick: bool) -> list[Row]:
    """Return what each part adds to a request through the application, without HTTP."""
    rounds, calls = (5, 300) if quick else (21, 1000)
    with ExitStack() as stack:
        apps = {name: stack.enter_context(_app(name)) for name in ("nothing", "trace alone", "metrics", "log", "both")}
        costs: dict[str, list[float]] = {name: [] for name in apps}
        bare: list[float] = []
        for _ in range(rounds):
            bare.append(bare_signature_us(KIND, seconds=0.05))
            for name, call in apps.items():
                costs[name].append(cpu_us(call, calls=calls))
    return _rows("in process", costs, bare)


@contextmanager
def _app(name: str) -> Iterator[Callable[[], object]]:
    """Yield a call that makes one request of an application which is watched so."""
    settings = load_settings(overrides={"signer": {"memory": {"algorithm": KIND}}}, environ={})
    with Service(settings) as service, tempfile.TemporaryFile() as log:
        recorder = Recorder(Families(CollectorRegistry()), service) if name in {"metrics", "both"} else None
        access = JsonAccessLog(LineWriter(log.fileno())) if name in {"log", "both"} else None
        tracing = None
        if name != "nothing":
            tracing = RequestTracingMiddleware(recorder, access, request_id_header="X-Request-Id")
        app = create_app(service, tracing)
        environ = create_environ(
            "/api/v1/timestamp", method="POST", headers={"Content-Type": QUERY}, body=WITH_CERTIFICATES
        )
        body = environ["wsgi.input"]

        def request() -> None:
            body.seek(0)
            app(dict(environ), _start_response)

        yield request
        if tracing is not None:
            tracing.close()


def _start_response(*_: object) -> None:
    return None


# -- whole servers --------------------------------------------------------------------------------------------------


def run_servers(*, quick: bool) -> list[Row]:
    """Return what each part adds to a request of a whole server."""
    rounds, seconds = (2, 1.0) if quick else (7, 4.0)
    rows = []
    for engine in ("waitress",) if quick else ("waitress", "granian"):
        loads: dict[str, list[Load]] = {}
        bare: list[float] = []
        with _running(engine) as running:
            for number in range(rounds):
                progress(f"what watching costs {engine}, round {number + 1} of {rounds}")
                bare.append(bare_signature_us(KIND))
                for name, server in running.items():
                    load = server.load(WITH_CERTIFICATES, connections=16, seconds=seconds)
                    assert not load.errors, f"{name}: {load.errors} errors"
                    loads.setdefault(name, []).append(load)
        costs = {name: [load.cpu_us for load in each] for name, each in loads.items()}
        rows += _rows(engine, costs, bare)
    return rows


@contextmanager
def _running(engine: str) -> Iterator[dict[str, Server]]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = {}
        for number, (name, part) in enumerate(parts().items()):
            environment = {
                **part,
                **({"TSA_METRICS__PORT": str(free_port())} if part.items() >= _METRICS.items() else {}),
                "TSA_SIGNER__MEMORY__ALGORITHM": KIND,
            }
            if "TSA_AUDIT__SINKS" in environment:
                environment["TSA_AUDIT__AUDITFILE__PATH"] = str(directory / f"audit-{number}.jsonl")
            running[name] = Server("--server", engine, environment=environment)
            stack.callback(running[name].close)
        yield running


def _rows(part: str, costs: Mapping[str, Sequence[float]], bare: Sequence[float]) -> list[Row]:
    """Return a row for each. Differences are taken within a round, so that the machine's mood spares them."""
    without = costs["nothing"]
    rows = []
    for name, each in costs.items():
        cpu = median(each)
        added = median(one - other for one, other in zip(each, without, strict=True))
        rows.append(
            Row(
                part="observability",
                name=f"observability, {part}, {name}",
                figures={
                    "cpu us": cpu,
                    "bare signatures": median(one / unit for one, unit in zip(each, bare, strict=True)),
                    "part us": added,
                    "more %": 100 * median(one / other - 1 for one, other in zip(each, without, strict=True)),
                },
            )
        )
    return rows


def run(*, quick: bool) -> list[Row]:
    """Measure and return the table's rows."""
    rows = run_in_process(quick=quick)
    return rows + run_servers(quick=quick) if have_wrk() else rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="waitress alone, a few seconds")
    print_rows(run(quick=parser.parse_args().quick))


if __name__ == "__main__":
    main()
