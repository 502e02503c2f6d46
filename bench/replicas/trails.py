"""Where the replicas record their tokens, and how an operator looks into it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from bench.faults.scene import Scene

if TYPE_CHECKING:
    # Needs tsa-audit-sql's test backend, which only that kind of trail uses.
    from bench.replicas.postgres import Primary, Standby


class Recorded(NamedTuple):
    """A token in the trail: its serial number, and the digest, both in hexadecimal."""

    serial: str
    digest: str


class Replicated(ABC):
    """One way to record tokens, for all replicas of one cluster. It is read by `timestamp-server audit`."""

    one_for_all: ClassVar[bool]
    """Whether the replicas share one trail."""

    @abstractmethod
    def settings(self, number: int) -> str:
        """Return `[audit]` and its tables for a replica."""

    def tokens(self, configs: list[Path]) -> list[Recorded]:
        """Return all tokens that are recorded, by the replicas' configurations."""
        texts = [self._audit("show", "--json", config=config) for config in self._asked(configs)]
        lines = [json.loads(line) for text in texts for line in text.splitlines() if line.startswith("{")]
        return [Recorded(line["serial"], line["digest"]) for line in lines if line["type"] == "token"]

    def find(self, configs: list[Path], token: Recorded) -> int:
        """Return how many records `audit find` knows for a token."""
        query = ("find", "--json", "--digest", token.digest, "--serial", token.serial)
        texts = [self._audit(*query, config=config) for config in self._asked(configs)]
        return sum(line.startswith("{") for text in texts for line in text.splitlines())

    def verify(self, configs: list[Path]) -> str:
        """Return `intact`, or what the command says of the first trail that is not."""
        for config in self._asked(configs):
            done = Scene(config.parent).run("audit", "verify", "--config", config)
            if done.code != 0:
                return done.output
        return "intact"

    def _asked(self, configs: list[Path]) -> list[Path]:
        return configs[:1] if self.one_for_all else configs

    @staticmethod
    def _audit(*arguments: str, config: Path) -> str:
        # Exit code 1: there is no such line.
        done = Scene(config.parent).run("audit", *arguments, "--config", config)
        assert done.code in {0, 1}, done.output
        return done.output


class Files(Replicated):
    """tsa-audit-file: each replica has a trail of its own."""

    one_for_all = False

    def settings(self, number: int) -> str:  # noqa: ARG002 - each has its own folder
        """Return `[audit]` and its tables for a replica."""
        return '[audit]\nsinks = ["auditfile"]\n\n[audit.auditfile]\npath = "audit.jsonl"\ndigests = true\n'


class Database(Replicated):
    """tsa-audit-sql with one PostgreSQL, and with a standby where `follow` says so; `link` is Cluster.link."""

    one_for_all = True

    def __init__(self, stack: ExitStack, link: Callable[[int, int], int], *, follow: bool, synchronous: bool) -> None:
        from bench.replicas.postgres import Primary, Standby

        self.primary: Primary = Primary()
        self.standby: Standby | None = None
        self._link = link
        stack.callback(self.primary.remove)
        self.primary.start()
        self._name = self.primary.new_database()
        if follow:
            self.standby = Standby(self.primary)
            stack.callback(self.standby.remove)
            self.standby.start()
            if synchronous:
                self.primary.wait_for_standby()

    def settings(self, number: int) -> str:
        """Return `[audit]` and its tables for a replica: both hosts, of which libpq takes the one that writes."""
        servers = [self.primary] if self.standby is None else [self.primary, self.standby]
        hosts = ",".join(f"127.0.0.1:{self._link(number, server.port)}" for server in servers)
        url = self.primary.url(self._name, host=hosts)
        return f'[audit]\nsinks = ["auditsql"]\n\n[audit.auditsql]\nurl = "{url}"\nseal_interval = "5s"\n'
