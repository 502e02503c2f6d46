"""How long a search takes in a trail of millions of tokens: `python -m bench.audit_find [--rows N] [--postgresql]`.

The rows are written by the sink itself, in transactions of a thousand: a thousand tenants, a year. Each search is made
twenty times, for tokens from all over the trail, with the index and whatever of the file the system has in memory.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter

from bench.report import Row, print_rows, progress
from tsa_audit_sql.plugin import tsa_audit_sinks
from tsa_core.api import AuditRecord, Identity
from tsa_core.api.trail import Query, Trail

_START = datetime(2025, 1, 1, tzinfo=UTC)
_YEAR = timedelta(days=365)
_TOGETHER = 1_000
_TENANTS = 1_000
_SEARCHES = 20
_BACKENDS = Path(__file__).parents[1] / "tests" / "backends"


def record(number: int, rows: int) -> AuditRecord:
    """Return the record of a token; numbers ascend over the year."""
    digest = hashlib.sha256(b"%d" % number).digest()
    return AuditRecord(
        request_id=f"r{number}",
        client_address=f"192.0.2.{number % 250}",
        profile="default",
        policy="1.3.6.1.4.1.57264.2",
        serial_number=int.from_bytes(digest[:20], "big") >> 1,
        gen_time=_START + _YEAR * (number / rows),
        hash_oid="2.16.840.1.101.3.4.2.1",
        digest=digest,
        response=b"",
        identity=Identity(name=f"client {number % 9}", tenant=f"tenant {number % _TENANTS}", how="key"),
    )


def queries(rows: int, number: int) -> dict[str, Query]:
    """Return one search of each kind, for what is about this token."""
    wanted = record(number, rows)
    day, hundred = timedelta(days=1), _YEAR * (100 / rows)
    tenant = wanted.identity.tenant if wanted.identity is not None else ""
    return {
        "--digest": Query(digest=wanted.digest),
        "--serial": Query(serial_number=wanted.serial_number),
        "--between, 100 tokens": Query(since=wanted.gen_time, until=wanted.gen_time + hundred),
        "--tenant --between, 3 days": Query(
            tenant=tenant, since=wanted.gen_time - day, until=wanted.gen_time + 2 * day
        ),
        "a digest that is not there": Query(digest=hashlib.sha256(b"none %d" % number).digest()),
    }


def measure(trail: Trail, rows: int) -> list[Row]:
    """Return a row for each kind of search."""
    times: dict[str, list[float]] = {}
    for search in range(_SEARCHES):
        for name, query in queries(rows, (search * rows) // _SEARCHES + 7).items():
            began = perf_counter()
            count = sum(1 for _ in trail.find(query))
            times.setdefault(name, []).append((perf_counter() - began) * 1e3)
            assert (count > 0) == ("not there" not in name), f"{name}: {count} lines"
    return [
        Row(part="audit find", name=name, figures={"p50 ms": median(each), "slowest ms": max(each), "rows": rows})
        for name, each in times.items()
    ]


def main() -> None:
    """Write the rows, search and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000, help="tokens in the trail (10,000,000; 8 GB)")
    parser.add_argument("--postgresql", action="store_true", help="in a PostgreSQL of its own instead of SQLite")
    parser.add_argument("--folder", type=Path, help="where there is room (default: the system's temporary folder)")
    arguments = parser.parse_args()
    [provider] = tsa_audit_sinks()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.folder)))
        table = {"path": str(folder / "audit.db")}
        if arguments.postgresql:
            sys.path.insert(0, str(_BACKENDS))
            from tsa_backends.postgresql_server import PostgresqlServer

            server = PostgresqlServer()
            server.start()
            stack.callback(server.remove)
            table = {"url": server.url(server.new_database())}
        options = provider.options.model_validate(table)
        with closing(provider.open(options)) as sink:
            for first in range(0, arguments.rows, _TOGETHER):
                sink.write_all([record(number, arguments.rows) for number in range(first, first + _TOGETHER)])
                if first % (100 * _TOGETHER) == 0:
                    progress(f"{first:,} of {arguments.rows:,} rows")
        assert provider.open_trail is not None
        with closing(provider.open_trail(options)) as trail:
            print_rows(measure(trail, arguments.rows))


if __name__ == "__main__":
    main()
