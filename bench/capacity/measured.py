"""The constants: what a token costs by key, by audit trail and by guard, on real servers under load."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives.asymmetric import ec

from bench.issue import OTHER_KINDS, WITH_CERTIFICATES
from bench.measure import Load, Server, bare_signature_us, cpu_seconds
from bench.report import progress
from tsa_backends.postgresql_server import PostgresqlServer
from tsa_backends.redis_server import RedisServer

KIND = "ecdsa-p256"
KINDS = (KIND, *OTHER_KINDS)
_NO_LIMIT = "1000000000/day"
_GUARD = "TSA_MIDDLEWARE__GUARD__"
_BEARER = "bearer tokens (JWT, ES256)"
_ISSUER, _AUDIENCE = "https://login.example.org/", "timestamps"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one token costs in CPU microseconds: in the server, in PostgreSQL, in Redis; and how many there were.

    Of several rounds: the median of the microseconds, and the best of the other two, which neighbours only make worse.
    """

    server_us: float
    database_us: float = 0.0
    redis_us: float = 0.0
    per_second: float
    p99_ms: float


@dataclass(frozen=True, kw_only=True)
class Growth:
    """Octets for each token: in the trail, and of write-ahead log, which a standby gets too."""

    stored: float
    log: float = 0.0


@dataclass(kw_only=True)
class Constants:
    """Everything that the arithmetic needs."""

    connections: int
    bare_us: dict[str, float] = field(default_factory=dict)
    keys: dict[str, Cost] = field(default_factory=dict)
    """By kind of key, without audit trail and guard."""
    audits: dict[str, Cost] = field(default_factory=dict)
    guards: dict[str, Cost] = field(default_factory=dict)
    whole: Cost | None = None
    """API keys, limits in Redis, rows in PostgreSQL."""
    growth: dict[str, Growth] = field(default_factory=dict)


@dataclass
class _Backends:
    folder: Path
    database: PostgresqlServer
    name: str
    redis: RedisServer
    headers: dict[str, str]
    """An API key."""
    bearer: dict[str, str]
    """A bearer token."""

    @property
    def postgresql(self) -> dict[str, str]:
        return {"TSA_AUDIT__SINKS": "auditsql", "TSA_AUDIT__AUDITSQL__URL": self.database.url(self.name)}

    @property
    def api_keys(self) -> dict[str, str]:
        return {"TSA_MIDDLEWARE__GUARDS": "guard", f"{_GUARD}KEYS": str(self.folder / "keys.jsonl")}

    @property
    def counted(self) -> dict[str, str]:
        limited = {**self.api_keys, f"{_GUARD}CLIENT_LIMITS": _NO_LIMIT}
        return {**limited, f"{_GUARD}STORAGE": self.redis.url}

    def environments(self) -> dict[tuple[str, str], dict[str, str]]:
        """Return the environment of each server, by what it is for and its name."""
        file = {"TSA_AUDIT__SINKS": "auditfile", "TSA_AUDIT__AUDITFILE__PATH": str(self.folder / "audit.jsonl")}
        sqlite = {"TSA_AUDIT__SINKS": "auditsql", "TSA_AUDIT__AUDITSQL__PATH": str(self.folder / "audit.db")}
        memory = {**self.api_keys, f"{_GUARD}CLIENT_LIMITS": _NO_LIMIT}
        kinds = {("key", kind): {"TSA_SIGNER__MEMORY__ALGORITHM": kind} for kind in KINDS}
        return {
            **kinds,
            ("audit", "tsa-audit-file"): file,
            ("audit", "tsa-audit-sql, SQLite"): sqlite,
            ("audit", "tsa-audit-sql, PostgreSQL"): self.postgresql,
            ("guard", "API keys"): self.api_keys,
            ("guard", _BEARER): {
                "TSA_MIDDLEWARE__GUARDS": "guard",
                f"{_GUARD}JWT__ISSUER": _ISSUER,
                f"{_GUARD}JWT__AUDIENCE": _AUDIENCE,
                f"{_GUARD}JWT__JWKS": str(self.folder / "jwks.json"),
            },
            ("guard", "API keys, limit in memory"): memory,
            ("guard", "API keys, limit in Redis"): self.counted,
            ("whole", ""): {**self.counted, **self.postgresql},
        }


@contextmanager
def _backends() -> Iterator[_Backends]:
    from tsa_guard.key_file import changed_keys, new_key

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tsa-capacity-")))
        database = PostgresqlServer(durable=True, settings=("max_connections = 100",))
        stack.callback(database.remove)
        database.start()
        redis = RedisServer(folder, durable=True)
        redis.start()
        stack.callback(redis.process.stop)
        text, key = new_key(name="bench")
        with changed_keys(folder / "keys.jsonl") as known:
            known[key.id] = key
        bearer = _bearer(folder / "jwks.json")
        yield _Backends(folder, database, database.new_database(), redis, {"X-API-Key": text}, bearer)


def _bearer(jwks: Path) -> dict[str, str]:
    """Write the keys of an identity provider, and return the header of one of its clients."""
    import jwt

    private = ec.generate_private_key(ec.SECP256R1())
    public = jwt.get_algorithm_by_name("ES256").to_jwk(private.public_key(), as_dict=True)
    jwks.write_text(json.dumps({"keys": [{**public, "kid": "bench", "use": "sig", "alg": "ES256"}]}))
    claims = {"iss": _ISSUER, "aud": _AUDIENCE, "sub": "bench", "exp": int(time.time()) + 86_400}
    return {"Authorization": f"Bearer {jwt.encode(claims, private, algorithm='ES256', headers={'kid': 'bench'})}"}


def measure(*, quick: bool, connections: int = 64) -> Constants:
    """Measure everything; all servers run at once and take turns."""
    rounds, seconds = (1, 1.0) if quick else (3, 4.0)
    found = Constants(connections=connections)
    with _backends() as backends, ExitStack() as stack:
        servers: dict[tuple[str, str], Server] = {}
        for name, environment in backends.environments().items():
            servers[name] = Server(environment={"TSA_SIGNER__MEMORY__ALGORITHM": KIND, **environment})
            stack.callback(servers[name].close)
        bare: dict[str, list[float]] = {kind: [] for kind in KINDS}
        costs: dict[tuple[str, str], list[Cost]] = {name: [] for name in servers}
        for number in range(rounds):
            progress(f"capacity, round {number + 1} of {rounds}")
            for kind, values in bare.items():
                values.append(bare_signature_us(kind))
            for name, server in servers.items():
                headers = backends.bearer if name[1] == _BEARER else backends.headers
                cost = _cost(server, backends, headers, connections=connections, seconds=seconds)
                costs[name].append(cost)
        found.bare_us = {kind: median(values) for kind, values in bare.items()}
        found.keys = {name: _together(each) for (what, name), each in costs.items() if what == "key"}
        found.audits = {name: _together(each) for (what, name), each in costs.items() if what == "audit"}
        found.guards = {name: _together(each) for (what, name), each in costs.items() if what == "guard"}
        found.whole = _together(costs["whole", ""])
        progress("capacity, how trails grow")
        for trail in found.audits:
            found.growth[trail] = _growth(servers["audit", trail], backends, trail, connections=connections)
    return found


def _load(server: Server, headers: Mapping[str, str], *, connections: int, seconds: float) -> Load:
    load = server.load(WITH_CERTIFICATES, connections=connections, seconds=seconds, headers=headers)
    if load.errors:
        raise RuntimeError(f"{load.errors} of {load.requests} requests got no token")
    return load


def _cost(server: Server, backends: _Backends, headers: Mapping[str, str], *, connections: int, seconds: float) -> Cost:
    pids = backends.database.process.pid, backends.redis.process.pid
    before = [cpu_seconds(pid) for pid in pids]
    load = _load(server, headers, connections=connections, seconds=seconds)
    database, redis = ((cpu_seconds(pid) - used) * 1e6 / load.requests for pid, used in zip(pids, before, strict=True))
    return Cost(
        server_us=load.cpu_us,
        database_us=database,
        redis_us=redis,
        per_second=load.per_second,
        p99_ms=load.p99_ms,
    )


def _together(costs: list[Cost]) -> Cost:
    def of(read: Callable[[Cost], float]) -> float:
        return median(map(read, costs))

    return Cost(
        server_us=of(lambda cost: cost.server_us),
        database_us=of(lambda cost: cost.database_us),
        redis_us=of(lambda cost: cost.redis_us),
        per_second=max(cost.per_second for cost in costs),
        p99_ms=min(cost.p99_ms for cost in costs),
    )


def _growth(server: Server, backends: _Backends, name: str, *, connections: int) -> Growth:
    before = _sizes(backends)
    load = _load(server, backends.headers, connections=connections, seconds=2.0)
    grown = {place: size - before[place] for place, size in _sizes(backends).items()}
    if name == "tsa-audit-file":
        return Growth(stored=grown["file"] / load.requests)
    if name.endswith("SQLite"):
        return Growth(stored=grown["sqlite"] / load.requests)
    return Growth(stored=grown["postgresql"] / load.requests, log=grown["wal"] / load.requests)


def _sizes(backends: _Backends) -> Mapping[str, int]:
    """Return the octets of each trail now."""

    def asked(query: str) -> int:
        return int(float(backends.database.sql(query, database=backends.name)))

    return {
        "file": sum(path.stat().st_size for path in backends.folder.glob("audit*.jsonl")),
        "sqlite": sum(path.stat().st_size for path in backends.folder.glob("audit.db*")),
        "postgresql": asked("SELECT pg_database_size(current_database())"),
        "wal": asked("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"),
    }
