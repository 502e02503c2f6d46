"""Faults of the audit trail: shorter, replaced, unlinked, rolled back, written by somebody else."""

from __future__ import annotations

import os

from bench.faults.fault import Seen, fault
from bench.faults.scene import MEMORY, Scene

AUDITED = MEMORY + '[audit]\nsinks = ["auditfile"]\n[audit.auditfile]\npath = "audit.jsonl"\n'


@fault("trail-cut", "The last line of the audit file is cut off while the server runs")
def cut(scene: Scene) -> Seen:
    """No token until an operator accepts the trail."""
    path = scene.folder / "audit.jsonl"
    with scene.serve(AUDITED) as server:
        assert server.grants()
        os.truncate(path, sum(map(len, path.read_bytes().splitlines(keepends=True)[:-1])))
        client = server.refusal()
        log, readyz = server.logged("critical.*No token leaves until"), server.readyz()
        metric = server.metric("audit_healthy")
        assert scene.run("audit", "accept", "--reason", "a drill", path).code == 0
        healed = server.healed()
    return Seen(client=client, log=log, readyz=readyz, metric=metric, healed=f"{healed} after `audit accept`")
