"""timestamp-server status: what a running server says of itself; with --quiet a health check."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tsa_core.api import ConfigError
from tsa_core.api.fields import parse_duration
from tsa_core.cli import console
from tsa_core.cli.reference_settings import load
from tsa_core.cli.running_server import Address, NoAnswer, address_of, configured_addresses
from tsa_core.logs import set_up_logging

if TYPE_CHECKING:
    from tsa_core.config import Settings

_SAMPLE: Final = re.compile(r"^(\w+)(?:\{([^}]*)\})? ([0-9.eE+-]+|NaN)", re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_COUNTERS: Final = {"tokens": "timestamp_authority_tokens_total", "rejections": "timestamp_authority_rejections_total"}


@dataclass(kw_only=True)
class Status:
    """What is known of a running server; None is unknown."""

    url: str
    ready: bool = False
    pid: int | None = None
    started: str | None = None
    uptime_seconds: int | None = None
    checks: list[dict[str, Any]] = field(default_factory=list)
    profiles: list[dict[str, Any]] = field(default_factory=list)
    counters_from: str | None = None
    """Where the counters come from: another server may have this address for metrics, and then they are its own."""
    tokens: dict[str, int] | None = None
    rejections: dict[str, int] | None = None
    notes: list[str] = field(default_factory=list)


def _seconds(_context: click.Context, _parameter: click.Parameter, value: str) -> float:
    try:
        seconds = parse_duration(value).total_seconds()
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not 0 < seconds <= 3600:
        raise click.BadParameter(f"{value!r} is not between 0 and 1h")
    return seconds


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    envvar="TSA_CONFIG",
    help="The server's configuration file, which says where it listens  [that of a server without any]",
)
@click.option("--url", metavar="URL", help="Ask there instead: http://HOST:PORT, https://HOST:PORT or unix:PATH")
@click.option("--timeout", default="5s", show_default=True, metavar="DURATION", callback=_seconds, help="For all of it")
@click.option("--quiet", is_flag=True, help="Print nothing when it is ready, and one line on stderr when it is not")
@click.option("--format", "output_format", type=click.Choice(["text", "json"]), default="text", show_default=True)
def status(config: Path | None, url: str | None, timeout: float, quiet: bool, output_format: str) -> None:
    """Show what a running server says of itself: readiness with every cause, profiles, certificates and counters.

    Exit code 0: it can issue timestamps. 1: it cannot, or nobody answers. 2: the configuration cannot be read. With
    --quiet this is the health check of a container: it knows scheme, address and port from the configuration.

    \b
    Examples:
      timestamp-server status --config tsa.toml
      timestamp-server status --quiet
      timestamp-server status --url http://127.0.0.1:3000 --format json
    """  # noqa: D301 - the backslash is click's mark
    set_up_logging(level=logging.ERROR)
    if url is None:
        settings = load({"config": config}).settings
        addresses = configured_addresses(settings.server)
    else:
        settings, addresses = None, [address_of(url)]
    try:
        if not addresses:
            raise NoAnswer("the configuration lets the system choose the port (port = 0); say where with --url")
        found = _ask(addresses[0], settings, timeout, brief=quiet and output_format == "text")
    except NoAnswer as error:
        if output_format == "json":
            console.print_json({"ready": False, "reason": str(error)})
        console.fail("timestamp-server", str(error), console.EXIT_FAILURE)
    if output_format == "json":
        console.print_json(asdict(found))
    elif not quiet:
        _print(found)
    elif not found.ready:
        bad = [check for check in found.checks if not check["healthy"]]
        console.tell("not ready: " + "; ".join(f"{check['name']}: {check.get('reason', '')}" for check in bad))
    if not found.ready:
        click.get_current_context().exit(console.EXIT_FAILURE)


def _ask(address: Address, settings: Settings | None, seconds: float, *, brief: bool) -> Status:
    answer = address.get("/readyz", seconds=seconds)
    try:
        document = json.loads(answer.body)
        found = Status(url=address.url, ready=document["ready"] is True, checks=[dict(c) for c in document["checks"]])
    except (ValueError, LookupError, TypeError):
        raise NoAnswer(f"what answers at {address.url} is no timestamp-server (HTTP status {answer.status})") from None
    if not brief:
        _add_process(found, settings)
        _add_profiles(found, address, list(settings.profiles) if settings is not None else ["default"], seconds)
        if settings is not None and settings.metrics.enabled and settings.metrics.port:
            _add_counters(found, settings.metrics.host, settings.metrics.port, seconds)
    return found


def _add_process(found: Status, settings: Settings | None) -> None:
    """Add process id and start, which the pid file tells."""
    path = settings.server.pid_file if settings is not None else None
    if path is None:
        return
    from tsa_core.hosting.pid_file import last_report, running_server

    try:
        found.pid = running_server(path)
        began = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (ConfigError, OSError) as error:
        found.notes.append(f"server.pid_file: {error}")
        return
    _set_start(found, began)
    report = last_report(path)
    if report is not None and report.number and not report.succeeded:
        found.notes.append(f"the last reload was refused: {report.message}")


def _set_start(found: Status, began: datetime) -> None:
    found.started = f"{began:%Y-%m-%dT%H:%M:%SZ}"
    found.uptime_seconds = max(0, int((datetime.now(UTC) - began).total_seconds()))


def _add_profiles(found: Status, address: Address, names: list[str], seconds: float) -> None:
    from cryptography import x509

    from tsa_core.authority.validity import private_key_usage_period

    for name in names:
        path = "/api/v1/timestamp/certchain" if name == "default" else f"/tsa/{name}/certchain"
        try:
            answer = address.get(path, seconds=seconds)
            leaf, *issuers = x509.load_pem_x509_certificates(answer.body)
            key_ends = private_key_usage_period(leaf)[1]
        except (NoAnswer, ValueError):
            found.notes.append(f"profile {name}: its certificates cannot be had")
            continue
        ends = min(certificate.not_valid_after_utc for certificate in (leaf, *issuers))
        found.profiles.append(
            {
                "name": name,
                "subject": leaf.subject.rfc4514_string(),
                "certificates_end": f"{ends:%Y-%m-%dT%H:%M:%SZ}",
                "key_usage_ends": f"{key_ends:%Y-%m-%dT%H:%M:%SZ}" if key_ends is not None else None,
                "days_left": (min(ends, key_ends or ends) - datetime.now(UTC)).days,
            }
        )


def _add_counters(found: Status, host: str, port: int, seconds: float) -> None:
    from tsa_core.cli.running_server import metrics_address

    address = metrics_address(host, port)
    try:
        text = address.get("/metrics", seconds=seconds).body.decode("utf-8", "replace")
    except NoAnswer as error:
        found.notes.append(f"no counters: {error}")
        return
    found.counters_from = f"{address.url}/metrics"
    counted: dict[str, dict[str, int]] = {name: {} for name in _COUNTERS}
    for metric, labels, value in _SAMPLE.findall(text):
        if metric == "process_start_time_seconds" and found.started is None:
            _set_start(found, datetime.fromtimestamp(float(value), UTC))
        for name, wanted in _COUNTERS.items():
            if metric == wanted and float(value):
                [(_, label)] = _LABEL.findall(labels)[:1] or [("", "")]
                counted[name][label] = int(float(value))
    found.tokens, found.rejections = counted["tokens"], counted["rejections"]


def _print(found: Status) -> None:
    rows = [("server", found.url), ("state", "ready: it issues timestamps" if found.ready else "NOT READY")]
    if found.pid is not None:
        rows.append(("process", str(found.pid)))
    if found.uptime_seconds is not None:
        rows.append(("up", f"{duration_text(found.uptime_seconds)}, since {found.started}"))
    for check in found.checks:
        state = "good" if check["healthy"] else "BAD"
        rows.append((str(check["name"]), ": ".join(filter(None, [state, str(check.get("reason", ""))]))))
    for profile in found.profiles:
        ends = f"{profile['subject']}, certificates end {profile['certificates_end'][:10]}"
        if profile["key_usage_ends"]:
            ends += f", the key signs until {profile['key_usage_ends'][:10]}"
        rows.append((f"profile {profile['name']}", f"{ends}, {profile['days_left']} days left"))
    if found.counters_from is not None:
        rows.append(("counted by", f"whoever answers at {found.counters_from}"))
    for name, counts in (("tokens", found.tokens), ("rejections", found.rejections)):
        if counts is not None:
            rows.append((name, ", ".join(f"{label}: {count}" for label, count in counts.items()) or "none yet"))
    console.print_table(("STATUS", ""), rows, fixed=1)
    for note in found.notes:
        console.tell(note)


def duration_text(seconds: int) -> str:
    """Return a duration in its two largest units: `3 d 4 h`."""
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count or (parts and len(parts) < 2):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
