"""The doctor's examination, section by section; whatever is wrong is a finding, and the next section goes on."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

from tsa_core.api import TsaError, why_not_writable
from tsa_core.authority import Profile, read_kernel_clock
from tsa_core.cli.doctor_findings import Finding, Level
from tsa_core.cli.doctor_installation import installation
from tsa_core.cli.doctor_ports import ports
from tsa_core.cli.reference_settings import Loaded, load
from tsa_core.cli.setting_origins import DEFAULT, EffectiveSetting, effective_settings
from tsa_core.config import Settings
from tsa_core.conformance.chains import ChainCase, Outcome, judge
from tsa_core.service import Service, kind_text, selection

_FIRST_ROUND_SECONDS: Final = 15.0
_HEALTH_SECONDS: Final = 10.0
_SOON_DAYS: Final = 90


@dataclass(kw_only=True)
class Examined:
    """The findings, every setting with its origin, and what to do next."""

    findings: list[Finding] = field(default_factory=list)
    settings: list[EffectiveSetting] = field(default_factory=list)
    next_steps: list[str] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether nothing is bad."""
        return all(finding.level is not Level.BAD for finding in self.findings)

    @property
    def changed(self) -> list[tuple[str, str, str]]:
        """The settings that are not left to their default."""
        return [(row.path, row.value, row.origin) for row in self.settings if row.origin != DEFAULT]

    def document(self) -> dict[str, Any]:
        """Return all of it, fit for JSON."""
        return {
            "healthy": self.healthy,
            "findings": [
                {
                    "section": finding.section,
                    "level": finding.level.value.lower(),
                    "what": finding.what,
                    "text": finding.text,
                    "remedy": finding.remedy,
                }
                for finding in self.findings
            ],
            "settings": [{"setting": row.path, "value": row.value, "origin": row.origin} for row in self.settings],
            "next": self.next_steps,
        }


def examine(parameters: dict[str, Any]) -> Examined:
    """Examine an installation and the server that a command's parameters describe."""
    examined = Examined()
    found = examined.findings
    found += installation()
    loaded = _load(parameters, found)
    if loaded is not None:
        try:
            examined.settings = effective_settings(loaded)
        except TsaError as error:
            found += _errors("plugins", "plugins", error)
        found += _paths(loaded.settings)
        found += _opened(loaded.settings)
        found += ports(loaded.settings)
    sections = list(dict.fromkeys(finding.section for finding in found))
    found.sort(key=lambda finding: sections.index(finding.section))
    examined.next_steps = list(_next_steps(examined, loaded))
    return examined


def _load(parameters: dict[str, Any], found: list[Finding]) -> Loaded | None:
    section = "configuration"
    try:
        loaded = load(parameters)
    except TsaError as error:
        found += _errors(section, "settings", error)
        return None
    except click.UsageError as error:
        found.append(Finding(section=section, level=Level.BAD, what="flags", text=error.format_message()))
        return None
    file = loaded.settings.config_file
    found.append(
        Finding(section=section, level=Level.GOOD, what="file", text=str(file))
        if file is not None
        else Finding(
            section=section,
            level=Level.NOTE,
            what="file",
            text="no configuration file",
            remedy="timestamp-server init DIRECTORY makes one, with keys and certificates",
        )
    )
    found += [Finding(section=section, level=Level.NOTE, what="read", text=note) for note in loaded.notes]
    return loaded


def _errors(section: str, what: str, error: TsaError) -> list[Finding]:
    return [Finding(section=section, level=Level.BAD, what=what, text=line) for line in str(error).splitlines()]


def _paths(settings: Settings) -> Iterator[Finding]:
    """Judge the files and directories that the core's own settings name."""
    section = "files"
    server = settings.server
    named = [(f"profiles.{name}.certificate_chain", p.certificate_chain) for name, p in settings.profiles.items()]
    named += [(f"server.{name}", getattr(server, name)) for name in ("tls_certificate", "tls_key", "tls_ca")]
    if settings.config_file is not None:
        named.insert(0, ("configuration", settings.config_file))
    for what, path in named:
        if path is not None:
            yield _file(section, what, path, private=what == "server.tls_key")
    for what, folder in (
        ("server.state_directory", server.state_directory),
        ("server.pid_file", server.pid_file.parent if server.pid_file else None),
        ("server.socket_path", server.socket_path.parent if server.socket_path else None),
    ):
        if folder is None:
            continue
        reason = why_not_writable(folder)
        yield Finding(
            section=section,
            level=Level.BAD if reason else Level.GOOD,
            what=what,
            text=reason or f"{folder} can be written",
            remedy=f"let the server's user write there, or change {what}" if reason else "",
        )


def _file(section: str, what: str, path: Path, *, private: bool) -> Finding:
    """Judge one file that must be readable, and readable by nobody else when it is `private`."""
    try:
        found = path.stat()
    except OSError as error:
        return Finding(
            section=section,
            level=Level.BAD,
            what=what,
            text=f"{path}: {error.strerror}",
            remedy=f"put the file there, or change {what}",
        )
    mode = stat.S_IMODE(found.st_mode)
    text = f"{path}, mode {mode:04o}"
    if not os.access(path, os.R_OK):
        return Finding(
            section=section,
            level=Level.BAD,
            what=what,
            text=f"{text}: this user may not read it",
            remedy="run this as the server's user, or give that user the file",
        )
    if private and stat.S_ISREG(found.st_mode) and mode & 0o007:
        return Finding(
            section=section,
            level=Level.NOTE,
            what=what,
            text=f"{text}: open to other users",
            remedy=f"chmod o-rwx {path}",  # the server may be a user who reads it by its group
        )
    return Finding(section=section, level=Level.GOOD, what=what, text=text)


def _opened(settings: Settings) -> Iterator[Finding]:
    """Open what a server would open, and judge plugins, keys, certificates and clock."""
    try:
        service = Service(settings, checking=True)
    except TsaError as error:
        yield from _errors("plugins and keys", "start", error)
        yield from _kernel(settings)
        return
    with service:
        service.clock.gate.wait_for_monitors(_FIRST_ROUND_SECONDS)
        service.watch.ask_all(_HEALTH_SECONDS)
        for kind, names in selection(settings).items():
            origins = ", ".join(f"{name} ({service.host.distribution(name)})" for name in names)
            if names:
                yield Finding(section="plugins and keys", level=Level.GOOD, what=kind_text(kind), text=origins)
        for path in sorted(service.files):
            private = all(path != profile.certificate_chain for profile in settings.profiles.values())
            yield _file("files", "key or secret" if private else "certificate chain", path, private=private)
        yield from _profiles(service)
        yield from _kernel(settings)
        yield from (
            Finding(
                section="clock" if check.name == "clock" else "readiness",
                level=Level.GOOD if check.healthy else Level.BAD,
                what=check.name,
                text=check.reason or "good",
            )
            for check in service.readiness()
        )
        for warning in service.warnings:
            yield Finding(section="readiness", level=Level.NOTE, what="warning", text=warning)


def _profiles(service: Service) -> Iterator[Finding]:
    for profile in service.authority.profiles.values():
        what, section = f"profile {profile.name}", "certificates"
        period, days = profile.period, int(profile.days_remaining())
        ends = f"certificates end {period.certificates_end:%Y-%m-%d}"
        if period.key_end is not None:
            ends += f", the key may sign until {period.key_end:%Y-%m-%d}"
        yield Finding(
            section=section,
            level=Level.NOTE if days <= _SOON_DAYS else Level.GOOD,
            what=what,
            text=f"{profile.chain.leaf.subject.rfc4514_string()}: {ends}; issues for {days} more days",
            remedy="renew it and reload" if days <= _SOON_DAYS else "",
        )
        case = ChainCase(
            certificates=profile.chain.certificates,
            at=period.not_before if days < 0 else _now(),
            public_key=profile.signer.public_key,
            algorithm=profile.signer.algorithm,
        )
        for finding in judge(case, ()):
            if finding.outcome in {Outcome.FAIL, Outcome.WARN}:
                yield Finding(
                    section=section, level=Level.NOTE, what=what, text=f"{finding.rule.name}: {finding.reason}"
                )
        yield from _conformance(profile)
        yield Finding(
            section=section,
            level=Level.GOOD if profile.available else Level.BAD,
            what=what,
            text=f"a trial signature ({profile.algorithm.name}) {'verifies' if profile.available else 'failed'}",
        )


def _conformance(profile: Profile) -> Iterator[Finding]:
    """Say what the profile conforms to, which advice it does not follow, and what nobody can see from here."""
    if profile.conformance is None:
        return
    what, section, findings = f"profile {profile.name}", "conformance", profile.conformance.findings
    fulfilled = sum(finding.outcome is Outcome.PASS for finding in findings)
    names = ", ".join(profile.settings.conformance)
    yield Finding(section=section, level=Level.GOOD, what=what, text=f"{names}: {fulfilled} demands are fulfilled")
    for finding in findings:
        if finding.outcome in {Outcome.WARN, Outcome.NOT_JUDGED}:
            state = "advice not followed" if finding.outcome is Outcome.WARN else f"not checked, {finding.rule.demand}"
            text = f"{finding.rule.name} ({finding.rule.clause}): {state}: {finding.reason}"
            yield Finding(section=section, level=Level.NOTE, what=what, text=text)


def _kernel(settings: Settings) -> Iterator[Finding]:
    if settings.clock.source != "system" or (kernel := read_kernel_clock()) is None:
        return
    yield Finding(
        section="clock",
        level=Level.GOOD if kernel.synchronised else Level.NOTE,
        what="kernel",
        text="the kernel says that its clock is synchronised"
        if kernel.synchronised
        else "the kernel says that its clock is not synchronised",
        remedy="" if kernel.synchronised else "run chronyd or another time service",
    )


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC)


def _next_steps(examined: Examined, loaded: Loaded | None) -> Iterator[str]:
    bad: Sequence[Finding] = [finding for finding in examined.findings if finding.level is Level.BAD]
    for finding in bad:
        yield f"Mend {finding.what}: {finding.whole}"
    file = loaded.settings.config_file if loaded is not None else None
    flag = f" --config {file}" if file is not None else ""
    if bad:
        yield f"Then ask again: timestamp-server doctor{flag}"
    elif loaded is not None and file is None:
        yield "For a trial: timestamp-server serve"
        yield "For real use: timestamp-server init ./tsa, then timestamp-server serve --config ./tsa/tsa.toml"
    else:
        yield f"Nothing is bad: timestamp-server serve{flag}, or timestamp-server reload{flag} when it runs already"
