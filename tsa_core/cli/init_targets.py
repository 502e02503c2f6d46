"""Where a new timestamp authority will run: what its settings say, and who owns its files with which modes."""

from __future__ import annotations

import grp
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CONTAINER_USER: Final = 65532
"""The user and the group of the container image, and of the pods in deploy/kubernetes."""
SERVICE_USER: Final = "tsa"
"""The user and the group of deploy/systemd/tsa.service."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A place to run.

    `secret_mode` is of the files that only the server reads, `directory_mode` of the directory that holds them.
    `monitor` is the clock monitor that works there.
    `offline_inside` says whether the CAs' keys are below that directory, which they must not be where all of it is
    handed to the server.
    """

    name: str
    host: str
    pid_file: str
    state_directory: str
    watch: bool = False
    secret_mode: int = 0o600
    directory_mode: int = 0o700
    offline_inside: bool = True
    monitor: str = "chrony"
    audit_file: str = "audit.jsonl"

    def offline(self, directory: Path) -> Path:
        """Return where the CAs' keys go."""
        return directory / "offline" if self.offline_inside else directory.with_name(f"{directory.name}-offline")

    def settings(self) -> list[str]:
        """Return the lines of `[server]`."""
        lines = [
            f'host = "{self.host}"',
            "port = 3000",
            f'pid_file = "{self.pid_file}"  # where timestamp-server reload and renew find the server',
            f'state_directory = "{self.state_directory}"  # remembers former certificate chains',
        ]
        if self.watch:
            lines.append("watch = true  # new keys and chains are taken into use when they are there")
        return lines

    def trustworthy(self) -> list[str]:
        """Return the lines of the clock and of the audit trail, which standards demand."""
        return _trustworthy(self.monitor, "auditfile", f'path = "{self.audit_file}"')

    def owner(self) -> tuple[int, int] | None:
        """Return user and group of the server's files; None to leave them with whoever makes them."""
        if os.geteuid() != 0:
            return None
        if self.name == "container":
            return CONTAINER_USER, CONTAINER_USER
        if self.name == "systemd":
            try:
                return 0, grp.getgrnam(SERVICE_USER).gr_gid
            except KeyError:
                return None
        return None

    def next_steps(self, directory: Path, *, trail: bool = False) -> Sequence[str]:
        """Return what to type now; `trail` says whether the settings name an audit trail."""
        config, chain = directory / "tsa.toml", directory / "chain.pem"
        if self.name == "systemd":
            given = () if self.owner() else (f"    chown -R root:{SERVICE_USER} {directory}",)
            return (
                "Now, as root, in the checkout:",
                "    install -m 0644 deploy/systemd/tsa-sysusers.conf /usr/lib/sysusers.d/tsa.conf && systemd-sysusers",
                *given,
                "    install -m 0644 deploy/systemd/tsa.service deploy/systemd/tsa-renew.* -t /etc/systemd/system",
                "    systemctl daemon-reload && systemctl enable --now tsa",
            )
        if self.name == "container":
            who = "" if self.owner() else f" --user {os.geteuid()}:{os.getegid()}"
            state = "--tmpfs /var/lib/tsa" if who else "-v tsa-state:/var/lib/tsa"
            return (
                "Now:",
                f"    docker run --rm --name tsa --read-only --cap-drop ALL{who} --tmpfs /tmp {state} \\",
                f"        -p 127.0.0.1:3000:3000 -v {directory.absolute()}:/etc/tsa:ro \\",
                "        -e TSA_CONFIG=/etc/tsa/tsa.toml tsa-core",
            )
        if self.name == "kubernetes":
            database = (
                "    kubectl -n tsa create secret generic tsa-audit --from-file=database-url",
                "    # database-url is a file that holds postgresql://USER:PASSWORD@HOST/DATABASE; make the image with",
                '    # --build-arg PLUGINS="signer-file monitor-ntp audit-sql[postgresql]"',
            )
            return (
                "Now, in the checkout, with your registry's image in deploy/kubernetes/kustomization.yaml:",
                "    kubectl create namespace tsa",
                f"    kubectl -n tsa apply -f {directory / 'kubernetes' / 'secret.yaml'}",
                *(database if trail else ()),
                f"    cp {directory / 'kubernetes' / 'tsa.toml'} deploy/kubernetes/tsa.toml",
                "    kubectl apply -k deploy/kubernetes",
                f"{directory} stays with you: renew the key there every year, and apply the Secret again.",
            )
        return (
            "Now:",
            f"    timestamp-server check --config {config}",
            f"    timestamp-server serve --config {config}",
            "and in another terminal:",
            "    timestamp-cli --timestamp_server http://127.0.0.1:3000 timestamp \\",
            f"        --artifact {config} --out response.tsr",
            f"    timestamp-cli verify --artifact {config} --timestamp response.tsr --certificate-chain {chain}",
        )


TARGETS: Final[dict[str, Target]] = {
    target.name: target
    for target in (
        Target(name="here", host="127.0.0.1", pid_file="tsa.pid", state_directory="state"),
        Target(
            name="systemd",
            host="127.0.0.1",
            pid_file="/run/tsa/tsa.pid",
            state_directory="/var/lib/tsa",
            secret_mode=0o640,
            directory_mode=0o750,
            offline_inside=False,
            audit_file="/var/log/tsa/audit.jsonl",
        ),
        Target(
            name="container",
            host="0.0.0.0",  # noqa: S104 - what is reachable is what is published
            # Not in /tmp, where anybody on the host could lay one for a renewal that root runs there.
            pid_file="/var/lib/tsa/tsa.pid",
            state_directory="/var/lib/tsa",
            watch=True,
            offline_inside=False,
            monitor="ntp",  # no chronyd can be asked in there
            audit_file="/var/lib/tsa/audit.jsonl",
        ),
        Target(name="kubernetes", host="127.0.0.1", pid_file="tsa.pid", state_directory="state"),
    )
}


def _trustworthy(monitor: str, sink: str, trail: str) -> list[str]:
    servers = ["", "[clock.ntp]", 'file = "default"  # better four or more of your own: servers = [...]']
    return [
        "[clock]",
        f'monitors = ["{monitor}"]',
        *(servers if monitor == "ntp" else []),
        "",
        "[audit]",
        f'sinks = ["{sink}"]',
        "",
        f"[audit.{sink}]",
        trail,
    ]


TRUSTWORTHY_PODS: Final = (*_trustworthy("ntp", "auditsql", 'url = { file = "/audit/database-url" }'), "")
"""The same for the pods of deploy/kubernetes: they share a trail, and have no disk for one."""
