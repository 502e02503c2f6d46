"""timestamp-server audit anchor."""

from __future__ import annotations

from pathlib import Path

import click

from tsa_core.api import AuditSink, ConfigError
from tsa_core.cli import console
from tsa_core.cli.audit.opening import chosen_sink, configured
from tsa_core.host import AUDIT_SINK
from tsa_core.service.anchor_stamps import AnchorStamps, anchor_line


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The server's configuration  [TSA_CONFIG]",
)
@click.option("--sink", metavar="NAME", help="The sink, when the configuration selects several.")
def anchor(config: Path | None, sink: str | None) -> None:
    """Have the trail's end stamped by the other authorities now (audit.anchor_urls), and keep their timestamps.

    A server does so every audit.anchor_interval; this is for a timer where it does not ("none"), and for a moment that
    matters, before a backup for example. Run it as the server's user. Exit code 1 when another process anchors the
    trail at this moment, or the trail is empty; 75 when fewer authorities than audit.anchor_threshold answered in time.

    \b
    Examples:
      timestamp-server audit anchor --config tsa.toml
    """  # noqa: D301 - the backslash is click's mark
    host, settings = configured(config)
    name = chosen_sink(settings, sink)
    audit = settings.audit
    if not audit.anchor_urls:
        raise ConfigError(
            "names no other authority; write anchor_urls and anchor_roots",
            path=f"{settings.config_file or 'configuration'}: audit.anchor_urls",
        )
    trail = host.open_trail(name, audit.plugin_table(name))
    try:
        stamps = AnchorStamps(audit)
        with trail.anchoring() as alone:
            if not alone:
                raise click.ClickException("another process anchors this trail now; the server's log says how it goes")
            if not trail.heads():
                raise click.ClickException("the trail is empty: there is nothing to stamp")
            writer: AuditSink = host.open(AUDIT_SINK, name, audit.plugin_table(name))
            stamped = stamps.stamp(trail, writer.event)
    finally:
        trail.close()
        host.close()
    if stamped is None:
        raise click.ClickException("the trail is empty: there is nothing to stamp")
    for failure in stamped.failures:
        console.tell(f"not stamped by {failure}")
    click.echo(f"{anchor_line(trail, stamped)} at {stamped.time:%Y-%m-%dT%H:%M:%SZ}")
