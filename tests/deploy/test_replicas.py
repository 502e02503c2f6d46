"""Replicas behind HAProxy with one Redis and one PostgreSQL, all real: one is killed under load, and nothing is lost.

`make drills` does this and more for longer.
"""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec

import pytest

from tsa_backends.postgresql_server import postgresql_program
from tsa_core.testing import require_program

pytestmark = [
    pytest.mark.needs(find_spec("bench") is not None, "imports a benchmark, which `make test` can"),
    pytest.mark.plugin("file", "auditsql", "guard"),
    pytest.mark.package("redis", install="tsa-guard[redis]"),
    pytest.mark.package("psycopg", install="tsa-audit-sql[postgresql]"),
]


def test_a_replica_that_is_killed_under_load_loses_no_record_and_no_count() -> None:
    from bench.replicas.cluster import Plan
    from bench.replicas.drills import kill
    from bench.replicas.run import observe

    require_program("haproxy")
    require_program("redis-server", package="redis-server")
    postgresql_program("initdb")
    plan = Plan(proxy="haproxy", replicas=2, quota=60, settled=0.5)

    found = observe(plan, partial(kill, pause=0))
    assert found.broken == []
    assert found.tokens > 60
    assert found.recorded >= found.tokens


def test_every_drill_has_its_rows() -> None:
    """`python -m bench.replicas --only NAME --write` writes those that are missing."""
    from bench.replicas.__main__ import PROXIES
    from bench.replicas.drills import REGISTERED
    from bench.replicas.table import documented

    assert documented() == {(name, proxy) for name in REGISTERED for proxy in PROXIES}
