"""timestamp-server check: open everything that a configuration selects, and print what was found."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import click

from tsa_core.api import PluginError, SignerError, one_line
from tsa_core.authority import Profile
from tsa_core.cli import console
from tsa_core.cli.flag_groups import GroupedCommand
from tsa_core.cli.reference_settings import load
from tsa_core.cli.settings_flags import flag_groups, settings_options
from tsa_core.conformance.chains import Outcome, fraction_digits_complaint
from tsa_core.logs import say, set_up_logging
from tsa_core.service import Service, kind_text, selection

_FIRST_ROUND_SECONDS = 30.0
"""How long `check` waits for the clock monitors' first verdicts."""
_HEALTH_SECONDS = 10.0
"""How long it waits for sinks, processors and health checks to tell their health."""

_OUTCOMES = {
    Outcome.PASS.value: "fulfilled",
    Outcome.FAIL.value: "broken",
    Outcome.WARN.value: "advice not followed",
    Outcome.NOT_JUDGED.value: "not checked",
}


@click.command(cls=GroupedCommand, groups=flag_groups())
@settings_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(as_json: bool, **parameters: Any) -> None:
    """Open everything that the configuration selects, make a trial signature and print what was found.

    Serves nothing, and changes nothing. Of a profile with `conformance`, each demand is shown with its clause. Exit
    code 0: a server with these settings could issue now. 1: it would start, but refuse for now, as when no time server
    can be reached. 2: it would not start. 75: it would not start now, but may later, as when the key's backend is down.
    """
    set_up_logging(level=logging.ERROR)
    loaded = load(parameters)
    for note in loaded.notes:
        say(note)
    with Service(loaded.settings, checking=True) as service:
        service.clock.gate.wait_for_monitors(_FIRST_ROUND_SECONDS)
        service.watch.ask_all(_HEALTH_SECONDS)
        for warning in (*service.warnings, *_gen_time_warnings(service), *_source_warnings(service)):
            console.tell(f"WARNING: {warning}")
        profiles = [_check_profile(profile) for profile in service.authority.profiles.values()]
        chosen = selection(service.settings)
        origins = {name: service.host.distribution(name) for names in chosen.values() for name in names}
        checks = [{"name": line.name, "healthy": line.healthy, "reason": line.reason} for line in service.readiness()]
        measured_by = service.clock.gate.status().basis
    conformance = [
        {
            "profile": profile.name,
            "rule": finding.rule.name,
            "outcome": finding.outcome.value,
            "clause": finding.rule.clause,
            "reason": finding.reason or finding.rule.demand,
        }
        for profile in service.authority.profiles.values()
        for finding in (profile.conformance.findings if profile.conformance is not None else ())
    ]
    if as_json:
        selected = {
            kind: [{"name": name, "distribution": origins[name]} for name in names] for kind, names in chosen.items()
        }
        console.print_json(
            {
                "profiles": profiles,
                "selected": selected,
                "checks": checks,
                "clock_measured_by": measured_by,
                "conformance": conformance,
            }
        )
    else:
        rows = [(p["profile"], key, value) for p in profiles for key, value in p.items() if key != "profile"]
        console.print_table(("PROFILE", "FACT", "VALUE"), rows)
        rows = [
            (kind_text(kind), name, origins.get(name, ""))
            for kind, names in chosen.items()
            for name in names or ["none"]
        ]
        console.print_table(("PLUGINS", "SELECTED", "DISTRIBUTION"), rows)
        rows = [(str(c["name"]), "good" if c["healthy"] else "bad", str(c["reason"])) for c in checks]
        if measured_by:
            rows.append(("clock measured by", "", measured_by))
        console.print_table(("CHECK", "STATE", "REASON"), rows)
        if conformance:
            console.print_table(
                ("CONFORMANCE", "RULE", "OUTCOME", "CLAUSE", "REASON"),
                [(c["profile"], c["rule"], _OUTCOMES[c["outcome"]], c["clause"], c["reason"]) for c in conformance],
            )
    if not all(line["healthy"] for line in checks):
        console.tell("timestamp-server: a server would start, but not everything is usable now; see the checks above")
        click.get_current_context().exit(console.EXIT_FAILURE)


def _source_warnings(service: Service) -> list[str]:
    """Return a line for each source of a clock monitor that was asked and is of no use, whatever the others say."""
    return [
        f"clock monitor {name}: {source.name}: {source.outcome if source.offset is None else 'is not believed'}"
        for name, monitor in service.clock.monitors.items()
        for source in monitor.sources()
        if source.used is False or (source.offset is None and source.outcome != "not asked yet")
    ]


def _gen_time_warnings(service: Service) -> list[str]:
    """Return a line for each profile whose times some clients refuse."""
    profiles = service.settings.profiles.items()
    complaints = [(name, fraction_digits_complaint(profile.fraction_digits)) for name, profile in profiles]
    return [f"profiles.{name}.{complaint}" for name, complaint in complaints if complaint]


def _check_profile(profile: Profile) -> dict[str, str]:
    started = perf_counter()
    try:
        profile.trial_signature()
        trial = f"verified, {(perf_counter() - started) * 1000:.1f} ms"
    except SignerError as error:
        profile.signing.set(profile.signer_failed)
        trial = f"failed: {one_line(error)}"
    days = (profile.not_after - datetime.now(UTC)).days
    return {
        "profile": profile.name,
        "signer": profile.settings.scheme,
        **_details(profile),
        "algorithm": profile.algorithm.name,
        "trial signature": trial,
        "certificate": f"{profile.chain.leaf.subject.rfc4514_string()}, {days} days left",
        "chain": " <- ".join(c.subject.rfc4514_string() for c in profile.chain.certificates),
        "policies": ", ".join(profile.policies),
        "hashes": profile.hash_names,
    }


def _details(profile: Profile) -> dict[str, str]:
    """Return the signer's facts as texts; raises PluginError when it has none to give."""
    try:
        return {str(name): str(value) for name, value in profile.signer.details().items()}
    except Exception as error:
        scheme = profile.settings.scheme
        raise PluginError(
            f"the signer {scheme!r}: details failed: {type(error).__name__}: {error}", plugin=scheme
        ) from error
