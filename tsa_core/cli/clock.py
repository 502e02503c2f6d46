"""timestamp-server clock: what the monitors find out about the clock, as a table or JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import click

from tsa_core.api import ClockMonitor, TimeSourceReport, TsaError
from tsa_core.authority import ClockStatus, read_kernel_clock
from tsa_core.cli import console
from tsa_core.cli.flag_groups import GroupedCommand
from tsa_core.cli.reference_settings import load
from tsa_core.cli.running_server import address_of
from tsa_core.cli.settings_flags import flag_groups, settings_options
from tsa_core.host import PluginHost
from tsa_core.logs import set_up_logging
from tsa_core.service import open_clock

_READINESS_SECONDS = 10
_YES_NO = {True: "yes", False: "no", None: "-"}


@click.command(cls=GroupedCommand, groups=flag_groups())
@settings_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--wait", default=30.0, show_default=True, metavar="SECONDS", help="How long to wait for the monitors' first round"
)
@click.option("--url", metavar="URL", help="Ask a running server's /readyz instead")
def clock(as_json: bool, wait: float, url: str | None, **parameters: Any) -> None:
    """Compare the clock with what the configured monitors ask, once, and print every answer.

    Measures anew, with the settings that a server would have; holdover and earlier steps are known to a running
    server alone: ask that one with --url. Exit code 0 when timestamps can be issued, 1 when not.

    \b
    Examples:
      timestamp-server clock --config tsa.toml
      timestamp-server clock --ntp-monitoring ntpsync.yaml --json
      timestamp-server clock --url http://127.0.0.1:3000
    """  # noqa: D301 - the backslash is click's mark
    set_up_logging(level=logging.ERROR)
    healthy = _print_served(url, as_json=as_json) if url else _print_measured(parameters, wait, as_json=as_json)
    if not healthy:
        click.get_current_context().exit(console.EXIT_FAILURE)


def _print_measured(parameters: dict[str, Any], wait: float, *, as_json: bool) -> bool:
    settings = load(parameters).settings
    host = PluginHost.for_settings(settings)
    try:
        opened = open_clock(settings, host)
        for name, profile in settings.profiles.items():
            opened.gate.promise(name, profile.allowed_clock_error, widest=profile.widest_clock_error)
        opened.gate.wait_for_monitors(wait)
        status = opened.gate.status()
        if as_json:
            console.print_json(_document(status, opened.monitors))
        else:
            _print_tables(status, opened.monitors)
        return status.healthy
    finally:
        host.close()


def _document(status: ClockStatus, monitors: Mapping[str, ClockMonitor]) -> dict[str, Any]:
    return {
        "state": status.state.value,
        "issuing": status.issuing,
        "reason": status.reason,
        "offset_seconds": _seconds(status.offset),
        "error_bound_seconds": _seconds(status.error_bound),
        "measured_by": status.basis,
        "uncovered_profiles": list(status.uncovered),
        "kernel": _kernel(),
        "monitors": {name: _monitor_document(monitor) for name, monitor in monitors.items()},
    }


def _monitor_document(monitor: ClockMonitor) -> dict[str, Any]:
    verdict = monitor.verdict()
    return {
        "trusted": verdict.trusted,
        "reason": verdict.reason,
        "offset_seconds": _seconds(verdict.offset),
        "uncertainty_seconds": _seconds(verdict.uncertainty),
        "leap": verdict.leap,
        "sources": [
            {
                "name": source.name,
                "outcome": source.outcome,
                "used": source.used,
                "address": source.address,
                "stratum": source.stratum,
                "offset_seconds": _seconds(source.offset),
                "uncertainty_seconds": _seconds(source.uncertainty),
                "delay_seconds": _seconds(source.delay),
                "authenticated": source.authenticated,
                "answered_at": source.answered_at.isoformat() if source.answered_at else None,
            }
            for source in monitor.sources()
        ],
    }


def _print_tables(status: ClockStatus, monitors: Mapping[str, ClockMonitor]) -> None:
    rows = [
        ("state", status.state.value),
        ("timestamps", "issued" if status.issuing else "refused"),
        ("reason", status.reason or ("no monitor is configured" if not monitors else "-")),
        ("offset", _text(status.offset, sign=True)),
        ("may be off by", _text(status.error_bound)),
        ("measured by", status.basis or "-"),
    ]
    if status.uncovered:
        rows.append(("not accurate enough for", ", ".join(status.uncovered)))
    if kernel := _kernel():
        synchronised = "synchronised" if kernel["synchronised"] else "not synchronised"
        rows.append(("kernel", f"{synchronised}, leap second: {kernel['leap']}, TAI offset: {kernel['tai_offset']} s"))
    for name, monitor in monitors.items():
        verdict = monitor.verdict()
        rows.append((f"monitor {name}", "trusts the clock" if verdict.trusted else verdict.reason))
    console.print_table(("CLOCK", ""), rows)
    sources = [_source_row(name, source) for name, monitor in monitors.items() for source in monitor.sources()]
    if sources:
        click.echo()
        console.print_table(
            (
                "MONITOR",
                "SOURCE",
                "LAST ANSWER",
                "AUTHENTICATED",
                "BELIEVED",
                "OFFSET",
                "UNCERTAINTY",
                "DELAY",
                "STRATUM",
            ),
            sources,
        )


def _source_row(monitor: str, source: TimeSourceReport) -> tuple[str, ...]:
    return (
        monitor,
        source.name,
        source.outcome,
        _YES_NO[source.authenticated],
        _YES_NO[source.used],
        _text(source.offset, sign=True),
        _text(source.uncertainty),
        _text(source.delay),
        "-" if source.stratum is None else str(source.stratum),
    )


def _kernel() -> dict[str, Any] | None:
    kernel = read_kernel_clock()
    if kernel is None:
        return None
    return {"synchronised": kernel.synchronised, "leap": kernel.leap, "tai_offset": kernel.tai_offset}


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()


def _text(duration: timedelta | None, *, sign: bool = False) -> str:
    """Return a duration in the unit that people read easily."""
    if duration is None:
        return "-"
    seconds = duration.total_seconds()
    mark = "+" if sign else ""
    return f"{seconds:{mark}.3f} s" if abs(seconds) >= 1 else f"{seconds * 1000:{mark}.3f} ms"


def _print_served(url: str, *, as_json: bool) -> bool:
    """Print what a running server says at /readyz of its clock."""
    address = address_of(url)
    body = address.get("/readyz", seconds=_READINESS_SECONDS).body
    try:
        check = next(check for check in json.loads(body)["checks"] if check["name"] == "clock")
        healthy, reason = bool(check["healthy"]), str(check.get("reason", ""))
    except (ValueError, LookupError, TypeError, StopIteration):
        raise TsaError(f"what answers at {address.url} is no timestamp-server: it says nothing of a clock") from None
    if as_json:
        console.print_json({"healthy": healthy, "reason": reason})
    else:
        console.print_table(
            ("CLOCK", ""), [("timestamps", "issued" if healthy else "refused"), ("reason", reason or "-")]
        )
    return healthy
