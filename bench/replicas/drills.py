"""The drills: what is done to the cluster while clients ask, and when the fault ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TypeVar

from bench.replicas.cluster import Cluster, Plan


@dataclass(frozen=True, kw_only=True)
class Times:
    """When the fault began and when it ended, or the operator had done something about it; monotonic."""

    began: float
    ended: float


@dataclass(frozen=True, kw_only=True)
class Drill:
    """One row of the table."""

    name: str
    done: str
    act: Callable[[Cluster], Times]
    plan: Callable[[str], Plan]
    """From the proxy's name."""
    quota_holds: bool = True
    loses: bool = False
    """Whether records are lost, which the drill has to show."""


_Act = TypeVar("_Act", bound=Callable[[Cluster], Times])
REGISTERED: dict[str, Drill] = {}
FAULT_SECONDS = 10.0
"""How long a fault lasts that somebody has to end."""


def drill(
    name: str,
    done: str,
    *,
    plan: Callable[[str], Plan] = lambda proxy: Plan(proxy=proxy),
    quota_holds: bool = True,
    loses: bool = False,
) -> Callable[[_Act], _Act]:
    """Register a function as the drill `name`; `done` says what it does, for the table."""

    def register(act: _Act) -> _Act:
        REGISTERED[name] = Drill(name=name, done=done, act=act, plan=plan, quota_holds=quota_holds, loses=loses)
        return act

    return register


@contextmanager
def fault() -> Iterator[Callable[[], Times]]:
    """Yield what tells, afterwards, when the block began and ended."""
    moments = [monotonic()]
    yield lambda: Times(began=moments[0], ended=moments[1])
    moments.append(monotonic())


@drill("kill", "One replica is killed (kill -9), and started again 5 s later")
def kill(cluster: Cluster, *, pause: float = 5.0) -> Times:
    """The others serve; the proxy notices."""
    with fault() as times:
        cluster.replicas[0].kill()
        sleep(pause)
        cluster.replicas[0].start()
    return times()


@drill("rolling", "All replicas are replaced one by one (SIGTERM, start, wait for `/readyz`)")
def rolling(cluster: Cluster) -> Times:
    """As an upgrade does it."""
    with fault() as times:
        for replica in cluster.replicas:
            replica.stop()
            replica.start()
            while not replica.ready():
                sleep(0.1)
            # HAProxy asks every 2 s.
            sleep(3)
    return times()


@drill("redis-down", "Redis is killed (kill -9), and started again after 10 s; guards refuse meanwhile")
def redis_down(cluster: Cluster) -> Times:
    """Fail closed."""
    with fault() as times:
        cluster.redis.process.kill()
        sleep(FAULT_SECONDS)
        cluster.redis.start()
    return times()


@drill("redis-hangs", "Redis hangs for 10 s (SIGSTOP); guards refuse meanwhile")
def redis_hangs(cluster: Cluster) -> Times:
    """It keeps its connections, and answers nothing."""
    with fault() as times:
        cluster.redis.freeze()
        sleep(FAULT_SECONDS)
        cluster.redis.thaw()
    return times()


@drill(
    "redis-down-open",
    'Redis is killed for 10 s with `on_storage_failure = "allow"`: nothing is counted meanwhile',
    plan=lambda proxy: Plan(proxy=proxy, on_storage_failure="allow"),
    quota_holds=False,
)
def redis_down_open(cluster: Cluster) -> Times:
    """Fail open."""
    return redis_down(cluster)


@drill(
    "clock",
    "The clock of one replica is set 30 s ahead for 10 s; three NTP servers watch it",
    plan=lambda proxy: Plan(proxy=proxy, clocks=True),
)
def clock(cluster: Cluster) -> Times:
    """Its gate closes, and the proxy takes it out where it asks /readyz."""
    with fault() as times:
        cluster.clock.set_by(30)
        sleep(FAULT_SECONDS)
        assert not cluster.replicas[0].ready()
        cluster.clock.set_by(0)
    return times()


@drill(
    "partition",
    "One replica reaches neither Redis nor the database for 10 s; what it sends is not lost, it arrives afterwards",
    plan=lambda proxy: Plan(proxy=proxy, links=True),
)
def partition(cluster: Cluster) -> Times:
    """A network that loses packets, and then does not."""
    with fault() as times:
        for link in cluster.links[1]:
            link.cut()
        sleep(FAULT_SECONDS)
        for link in cluster.links[1]:
            link.mend()
    return times()


@drill("postgres-stopped", "PostgreSQL is stopped for 10 s")
def postgres_stopped(cluster: Cluster) -> Times:
    """No record, no token."""
    with fault() as times:
        cluster.database.primary.stop()
        sleep(FAULT_SECONDS)
        cluster.database.primary.start()
    return times()


@drill("postgres-hangs", "All processes of PostgreSQL hang for 10 s (SIGSTOP)")
def postgres_hangs(cluster: Cluster) -> Times:
    """It keeps its connections, and answers nothing."""
    with fault() as times:
        cluster.database.primary.freeze()
        sleep(FAULT_SECONDS)
        cluster.database.primary.thaw()
    return times()


@drill(
    "failover",
    "The primary PostgreSQL is killed; 5 s later its synchronous standby, which was read-only, is promoted",
    plan=lambda proxy: Plan(proxy=proxy, standby=True),
)
def failover(cluster: Cluster) -> Times:
    """The replicas' URL names both."""
    assert cluster.database.standby is not None
    with fault() as times:
        cluster.database.primary.crash()
        sleep(5)
        cluster.database.standby.promote()
    return times()


@drill(
    "standby-down",
    "The synchronous standby is killed, and started again after 10 s: the primary waits for it",
    plan=lambda proxy: Plan(proxy=proxy, standby=True),
)
def standby_down(cluster: Cluster) -> Times:
    """What is not in two places gives no token."""
    assert cluster.database.standby is not None
    with fault() as times:
        cluster.database.standby.crash()
        sleep(FAULT_SECONDS)
        cluster.database.standby.start()
    return times()


@drill(
    "failover-async",
    "The primary is killed 2 s after its asynchronous standby; that is started and promoted, and the replicas anew",
    plan=lambda proxy: Plan(proxy=proxy, standby=True, synchronous=False),
    loses=True,
)
def failover_async(cluster: Cluster) -> Times:
    """Commits of two seconds are lost, and the replicas notice."""
    assert cluster.database.standby is not None
    cluster.database.standby.stop()
    sleep(2)
    with fault() as times:
        cluster.database.primary.crash()
        cluster.database.standby.start()
        cluster.database.standby.promote()
        for replica in cluster.replicas:
            assert replica.server is not None
            replica.server.wait_for_log("rows were removed, or the database is an older copy")
            assert not replica.ready()
            replica.stop()
            replica.start()
    return times()
