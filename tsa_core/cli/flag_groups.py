"""`serve --help` in groups: what belongs together stands together, whoever added the flag."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Key and certificate", ("signer.", "profiles.default.signer", "profiles.default.certificate", ":signer")),
    ("What is issued", ("profiles.", ":policy", "server.rejections", "server.use_http_201")),
    ("Clock", ("clock.", ":clock")),
    ("Where it listens", ("server.schemes", "server.host", "server.port", "server.socket", "server.http")),
    ("TLS", ("server.tls",)),
    ("Limits", ("server.max", "server.connection", "server.read", "server.write", "server.idle", "server.tcp",
                "server.graceful")),
    ("Processes", ("server.engine", "server.workers", "server.threads", "server.queue", "server.watch", "server.pid",
                   "server.state")),
    ("Logs and measurements", ("log", "metrics", "observe", "server.profiling", "server.request_id")),
)  # fmt: skip
"""A group and how the settings in it begin; a name with a colon stands for flags that make several settings."""

_LEFT_OVER = "Others"


def group_of(setting: str) -> str:
    """Return the group of the help text in which the flag of a setting stands."""
    best = max(
        ((len(start), name) for name, starts in _GROUPS for start in starts if setting.startswith(start)), default=None
    )
    return best[1] if best else _LEFT_OVER


class GroupedCommand(click.Command):
    """A command whose options stand in groups; `groups` gives them by the options' parameter names."""

    def __init__(self, *arguments: Any, groups: Mapping[str, str], **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self._groups = groups

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group, in the order of this module, then what belongs to none."""
        sections: dict[str, list[tuple[str, str]]] = {name: [] for name, _ in _GROUPS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                sections.setdefault(self._groups.get(parameter.name or "", _LEFT_OVER), []).append(record)
        with formatter.section("Options"):
            formatter.write_dl(sections.pop(_LEFT_OVER, []))
        for name, records in sections.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)
