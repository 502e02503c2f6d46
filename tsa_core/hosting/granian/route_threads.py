"""Threads for the paths of plugins, beside an event loop that answers everything else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tsa_core.http.thread_pools import ROUTES_POOL, leave_io_thread


def leave_for_routes(pool: str) -> None:
    """End a request's run in the event loop when it is for a plugin's path; all else goes on."""
    if pool.startswith(ROUTES_POOL):
        leave_io_thread(pool)


class RoutePool:
    """The threads of one plugin, started as they are needed; `pending` counts requests that are queued or run."""

    def __init__(self, threads: int, limit: int) -> None:
        self.executor = ThreadPoolExecutor(threads, thread_name_prefix="routes")
        self.pending = 0
        self._limit = limit

    @property
    def full(self) -> bool:
        """Whether one more request would have to be refused."""
        return self.pending >= self._limit


class RouteThreads:
    """A pool for each plugin: up to `threads` threads, and `queue_limit` requests that wait for one.

    For the event loop's thread.
    """

    def __init__(self, *, threads: int, queue_limit: int) -> None:
        self._threads = threads
        self._limit = threads + queue_limit
        self._pools: dict[str, RoutePool] = {}

    def pool(self, name: str) -> RoutePool:
        """Return the pool of that name, made when it is first asked for."""
        if name not in self._pools:
            self._pools[name] = RoutePool(self._threads, self._limit)
        return self._pools[name]

    def shutdown(self) -> None:
        """End the threads, without waiting."""
        for pool in self._pools.values():
            pool.executor.shutdown(wait=False, cancel_futures=True)
