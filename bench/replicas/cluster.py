"""Three servers behind a proxy with one PostgreSQL and its standby, one Redis, and clients: all real processes."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Self

from bench.faults.scene import WatchedServer
from bench.replicas.clients import TOKEN, Load, Name, kinds
from bench.replicas.links import Link
from bench.replicas.trails import Database, Files, Replicated
from tests.deploy.proxies import PROXIES, make_tls, running
from tests.rotation import TsaDirectory
from tests.wall_clock import WallClock
from tsa_backends.redis_server import RedisServer
from tsa_backends.server_process import free_port
from tsa_core.testing import wait_until
from tsa_core.testing.ntp_responder import NtpResponder

SECONDS = 120.0
_STEADY, _METERED = 8, 3
"""How many clients the tenants have: one that stays below its limits, and one that does not."""
_ASK_SECONDS = 0.04
"""From one request of a client to its next one."""
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a cluster differs from the usual one."""

    proxy: str = "haproxy"
    replicas: int = 3
    database: bool = True
    """Whether all record in one PostgreSQL; else each in a file."""
    standby: bool = False
    """Whether that has a standby, and"""
    synchronous: bool = True
    """whether a commit waits for it."""
    quota: int = 600
    """Requests a day of the tenant `metered`."""
    rate: int = 40
    """Its requests a second."""
    settled: float = 3.0
    """So many seconds there must be nothing but tokens, before it counts as healed."""
    links: bool = False
    """Whether each replica reaches Redis and PostgreSQL over links of its own, which can be cut."""
    clocks: bool = False
    """Whether NTP servers watch the clocks, and that of replica 1 can be moved."""
    on_storage_failure: str = "refuse"


class Replica:
    """One server, at a port that it keeps over restarts."""

    def __init__(self, folder: Path, number: int, toml: str, environ: Mapping[str, str]) -> None:
        self.number = number
        self.port = free_port()
        self.folder = folder / f"replica-{number}"
        self.folder.mkdir()
        self.config = self.folder / "tsa.toml"
        self.config.write_text(toml, encoding="utf-8")
        self._environ = environ
        self.server: WatchedServer | None = None

    def start(self) -> None:
        """Start it, and return when it listens."""
        self.server = WatchedServer(
            self.config, "--port", str(self.port), "--metrics=false", "--access-log=false", environ=self._environ
        )
        self.server.folder = self.folder
        self.server.__enter__()

    def kill(self) -> None:
        """Kill -9."""
        assert self.server is not None
        self.server.kill()
        self._forget()

    def stop(self) -> None:
        """SIGTERM, and wait for its end, with 0."""
        self._forget()

    def _forget(self) -> None:
        server, self.server = self.server, None
        if server is not None:
            with (self.folder / "log").open("a", encoding="utf-8") as log:
                try:
                    server.__exit__(None, None, None)
                finally:
                    log.write(server.log)

    def ready(self) -> bool:
        """Ask its /readyz."""
        try:
            return self.server is not None and self.server.get("/readyz").status == 200
        except OSError:
            return False


class Cluster:
    """A context manager; within it everything runs, and clients ask."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self.plan = plan
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start(self) -> None:
        from tsa_guard.key_file import changed_keys, new_key

        self.identity = TsaDirectory(self.folder).identity
        self.redis = RedisServer(self.folder, durable=True)
        self.redis.start()
        self._stack.callback(self.redis.process.stop)
        self.links: dict[int, list[Link]] = {}
        self.trail: Replicated = (
            Database(self._stack, self.link, follow=self.plan.standby, synchronous=self.plan.synchronous)
            if self.plan.database
            else Files()
        )
        with changed_keys(self.folder / "keys.jsonl") as keys:
            names: dict[str, list[Name]] = {"steady": [], "metered": []}
            for number in range(1, _STEADY + _METERED + 1):
                tenant = "steady" if number <= _STEADY else "metered"
                text, key = new_key(name=f"client-{number}", tenant=tenant)
                keys[key.id] = key
                names[tenant].append(Name(text, f"127.0.1.{number}"))
        self.time_servers = [
            self._stack.enter_context(NtpResponder(host=f"127.0.0.{number}")).server
            for number in range(1, 4)
            if self.plan.clocks
        ]
        self.clock = WallClock(self.folder)
        self.replicas = [self._replica(number) for number in range(1, self.plan.replicas + 1)]
        for replica in self.replicas:
            self._stack.callback(replica.stop)
            replica.start()
        wait_until(self.all_ready, seconds=SECONDS, what="all replicas are ready")
        self._balance(names)

    def link(self, number: int, to: int) -> int:
        """Return the port at which a replica reaches a server: its own, or that of a link."""
        if not self.plan.links:
            return to
        link = self._stack.enter_context(Link(to))
        self.links.setdefault(number, []).append(link)
        return link.port

    def _replica(self, number: int) -> Replica:
        redis = self.redis.url.replace(f":{self.redis.port}/", f":{self.link(number, self.redis.port)}/")
        toml = (
            '[server]\nstart = "wait"\ntrusted_proxies = ["127.0.0.1"]\n\n'
            f'[profiles.default]\nsigner = "file:{self.folder}/key.pem"\n'
            f'certificate_chain = "{self.folder}/chain.pem"\n\n'
            f'[middleware]\nguards = ["guard"]\n\n[middleware.guard]\nkeys = "{self.folder}/keys.jsonl"\n'
            f'storage = "{redis}"\non_storage_failure = "{self.plan.on_storage_failure}"\n\n'
            '[middleware.guard.tenants.steady]\nlimits = ["1000000/day"]\n\n'
            "[middleware.guard.tenants.metered]\n"
            f'limits = ["{self.plan.rate}/second", "{self.plan.quota}/day"]\n\n'
            f"{self.trail.settings(number)}\n{self._clock_settings()}"
        )
        moved = self.plan.clocks and number == 1
        return Replica(self.folder, number, toml, self.clock.environ if moved else {})

    def _clock_settings(self) -> str:
        if not self.plan.clocks:
            return ""
        return (
            f'[clock]\nmonitors = ["ntp"]\n\n[clock.ntp]\nservers = {json.dumps(self.time_servers)}\n'
            f'num_servers = 3\nserver_threshold = 3\nperiod = "1s"\n'
        )

    def _balance(self, names: Mapping[str, list[Name]]) -> None:
        tls = make_tls(self.folder)
        command, port = PROXIES[self.plan.proxy](self.folder, tls, *(replica.port for replica in self.replicas))
        self._stack.enter_context(running(command, port=port, log=self.folder / f"{self.plan.proxy}.log"))
        trust = ssl.create_default_context(cafile=str(tls.certificate))
        self.steady = Load(port, names["steady"], trust, pause=_ASK_SECONDS)
        self.metered = Load(port, names["metered"], trust, pause=_ASK_SECONDS)
        for load in (self.steady, self.metered):
            self._stack.enter_context(load)
        # HAProxy asks each /readyz first.
        self.wait_for_tokens(50)

    @property
    def database(self) -> Database:
        """The PostgreSQL; raises AssertionError when the plan has none."""
        assert isinstance(self.trail, Database)
        return self.trail

    @property
    def configs(self) -> list[Path]:
        """The replicas' configurations."""
        return [replica.config for replica in self.replicas]

    def all_ready(self) -> bool:
        """Whether every replica says so."""
        return all(replica.ready() for replica in self.replicas)

    def wait_for_tokens(self, count: int) -> None:
        """Return when steady clients have got so many more tokens."""
        began = monotonic()
        wait_until(
            lambda: sum(answer.kind == TOKEN for answer in self.steady.since(began)) >= count,
            seconds=SECONDS,
            what=f"{count} more tokens",
        )

    def healed(self, since: float) -> float:
        """Wait until all are ready, and steady clients got nothing but tokens for a while; return when that began.

        In seconds after `since`, which is when the fault ended.
        """
        wait_until(self.all_ready, seconds=SECONDS, what="all replicas are ready")
        ready = monotonic()

        def last_bad() -> float:
            bad = [answer.received for answer in self.steady.since(since) if answer.kind != TOKEN]
            return max([ready, *bad])

        deadline = monotonic() + SECONDS
        while monotonic() < last_bad() + self.plan.settled:
            assert monotonic() < deadline, f"not healed within {SECONDS:g} s: {kinds(self.steady.since(deadline - 9))}"
            sleep(_PAUSE_SECONDS)
        return last_bad() - since

    def wait_for_the_quota(self) -> None:
        """Return when the metered tenant has used up its quota: a while without a token."""

        def used_up() -> bool:
            recent = self.metered.since(monotonic() - self.plan.settled)
            return len(recent) > 10 and not any(answer.kind == TOKEN for answer in recent)

        wait_until(used_up, seconds=SECONDS, what="the quota is used up")

    def stop_clients(self) -> None:
        """Let no client ask any more."""
        for load in (self.steady, self.metered):
            load.__exit__()
