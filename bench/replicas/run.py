"""Runs one drill on a cluster of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.replicas.cluster import Cluster, Plan
from bench.replicas.drills import Drill, Times
from bench.replicas.invariants import Found, examine

_KEPT = ("**/log", "*.log", "**/tsa.toml", "haproxy-*.cfg", "nginx-*/*.conf")


def run(drill: Drill, proxy: str, *, keep: Path | None = None) -> Found:
    """Do a drill; `keep` gets the logs and configurations of all processes."""
    kept = keep and keep / f"{drill.name}-{proxy}"
    return observe(drill.plan(proxy), drill.act, quota_holds=drill.quota_holds, loses=drill.loses, keep=kept)


def observe(
    plan: Plan,
    act: Callable[[Cluster], Times],
    *,
    quota_holds: bool = True,
    loses: bool = False,
    keep: Path | None = None,
) -> Found:
    """Do something to a cluster while clients ask, wait until it has healed, and look at everything afterwards."""
    with tempfile.TemporaryDirectory(prefix="tsa-drill-") as name:
        folder = Path(name)
        # Proxies and PostgreSQL that root starts give their rights away, and must still find their files.
        folder.chmod(0o755)
        try:
            with Cluster(folder, plan) as cluster:
                times = act(cluster)
                healed = cluster.healed(times.ended)
                cluster.wait_for_the_quota()
                cluster.stop_clients()
                found = examine(cluster, began=times.began, quota_holds=quota_holds, loses=loses)
                found.healed = healed
        finally:
            if keep is not None:
                for path in (path for pattern in _KEPT for path in folder.glob(pattern)):
                    target = keep / path.relative_to(folder)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, target)
    return found
