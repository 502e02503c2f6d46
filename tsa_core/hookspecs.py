"""The hooks: the table of contents of the plugin API.

Every hook registers. The core calls it once at start, on the main thread, and once at each reload, on a thread of its
own, in plugins that the configuration selects; it yields descriptions, does no I/O and imports no SDK. The core then
opens what was selected and calls the objects directly: no hook is ever called while a request is answered.

A plugin is a module named in its distribution's entry points:

    [project.entry-points."tsa_core.plugins"]
    acmehsm = "tsa_signer_acmehsm.plugin"

Arguments may be added to a hook in later versions; they are never removed or given default values.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from tsa_core.api import (
    PROJECT,
    AuditSink,
    CertificateAuthority,
    Clock,
    ClockMonitor,
    Command,
    Guard,
    HealthCheck,
    KeyEncryptionKey,
    Observer,
    PolicySelector,
    Provider,
    ResponseProcessor,
    Routes,
    Signer,
)

hookspec = pluggy.HookspecMarker(PROJECT)


@hookspec
def tsa_signers() -> Iterable[Provider[Signer]]:  # type: ignore[empty-body] # declares
    """Register signing backends; a profile selects one by the scheme of its key URI.

    Called once at start. Example::

        @hookimpl
        def tsa_signers():
            yield Provider(name="acmehsm", summary="Keys in an Acme HSM", options=AcmeOptions, open=open_signer)
    """


@hookspec
def tsa_signers_of_scheme(scheme: str) -> Iterable[Provider[Signer]]:  # type: ignore[empty-body] # declares
    """Register a signing backend for keys whose URI has a scheme that no installed plugin is named after.

    Called at start for each such scheme, in plugins whose entry point names this hook,
    `acme = "tsa_signer_acme.plugin:tsa_signers_of_scheme"`. What it yields is named as the scheme; it yields nothing
    for a scheme that is not its own. It may look for a program or a file, and nothing more. Example::

        @hookimpl
        def tsa_signers_of_scheme(scheme):
            if shutil.which(f"acme-{scheme}"):
                yield Provider(name=scheme, summary=f"Program acme-{scheme}", options=AcmeOptions, open=open_signer)
    """


@hookspec
def tsa_clocks() -> Iterable[Provider[Clock]]:  # type: ignore[empty-body] # declares
    """Register clock sources; `[clock] source` selects one.

    Called once at start. Example::

        @hookimpl
        def tsa_clocks():
            yield Provider(name="gps", summary="A GPS receiver", options=GpsOptions, open=open_clock)
    """


@hookspec
def tsa_clock_monitors() -> Iterable[Provider[ClockMonitor]]:  # type: ignore[empty-body] # declares
    """Register monitors that compare the clock with others; `[clock] monitors` selects any number.

    Called once at start; the core calls `start(clock)` on what was opened, once, and `verdict()` for every token: it
    must return at once what a thread of the monitor's own has found out. Give every measurement a new ClockVerdict
    with its `anchor` (ClockAnchor.take(clock), before the first question), so that a step of the clock is noticed,
    and `valid_for`, so that a dead thread is. `period` lets the core refuse an accuracy that the clock may drift out of
    between two measurements; `memory()` of the monitor before a reload reaches `remember()` of the one after it,
    before `start`. Example::

        @hookimpl
        def tsa_clock_monitors():
            yield Provider(name="ntp", summary="Asks NTP servers", options=NtpOptions, open=open_monitor)
    """


@hookspec
def tsa_policy_selectors() -> Iterable[Provider[PolicySelector]]:  # type: ignore[empty-body] # declares
    """Register selectors of profiles; `[policy] selectors` selects any number, asked in that order.

    Called once at start. Example::

        @hookimpl
        def tsa_policy_selectors():
            yield Provider(name="network", summary="By the client's network", options=Options, open=open_selector)
    """


@hookspec
def tsa_response_processors() -> Iterable[Provider[ResponseProcessor]]:  # type: ignore[empty-body] # declares
    """Register processors of granted replies; `[response] processors` selects any number, run in that order.

    Called once at start. Example::

        @hookimpl
        def tsa_response_processors():
            yield Provider(name="archive", summary="Keeps every token", options=Options, open=open_archive)
    """


@hookspec
def tsa_audit_sinks() -> Iterable[Provider[AuditSink]]:  # type: ignore[empty-body] # declares
    """Register audit sinks; `[audit] sinks` selects any number, and all must accept or no token leaves.

    Called once at start. With `open_trail`, which returns a `tsa_core.api.trail.Trail`, `timestamp-server audit` reads
    what the sink wrote. Example::

        @hookimpl
        def tsa_audit_sinks():
            yield Provider(name="ledger", summary="An append-only file", options=Options, open=open_ledger)
    """


@hookspec
def tsa_observers() -> Iterable[Provider[Observer]]:  # type: ignore[empty-body] # declares
    """Register observers; `[observe] observers` selects any number, and their failures change nothing.

    Called once at start. Example::

        @hookimpl
        def tsa_observers():
            yield Provider(name="otel", summary="OpenTelemetry traces", options=Options, open=open_observer)
    """


@hookspec
def tsa_health_checks() -> Iterable[Provider[HealthCheck]]:  # type: ignore[empty-body] # declares
    """Register conditions of /readyz; `[health] checks` selects any number.

    Called once at start. Example::

        @hookimpl
        def tsa_health_checks():
            yield Provider(name="disk", summary="Enough free space", options=DiskOptions, open=open_check)
    """


@hookspec
def tsa_routes() -> Iterable[Provider[Routes]]:  # type: ignore[empty-body] # declares
    """Register pages and other paths of the HTTP server; `[routes] plugins` selects any number.

    Called once at start; what was opened is told of the authority by `bind`, and asked once for its `routes`. A path
    that another plugin or the core has is an error. Example::

        @hookimpl
        def tsa_routes():
            yield Provider(name="portal", summary="A page for people", options=PortalOptions, open=open_portal)
    """


@hookspec
def tsa_middleware() -> Iterable[Provider[Guard]]:  # type: ignore[empty-body] # declares
    """Register guards, which decide who may use the HTTP server; `[middleware] guards` selects any number.

    Called once at start; what was opened is asked for every request, in the order of that list, until one refuses.
    Example::

        @hookimpl
        def tsa_middleware():
            yield Provider(name="keys", summary="API keys in a file", options=KeysOptions, open=open_guard)
    """


@hookspec
def tsa_certificate_authorities() -> Iterable[Provider[CertificateAuthority]]:  # type: ignore[empty-body] # declares
    """Register certificate authorities; `fetch-tsa-certs --parent-ca NAME:...` selects one by its name.

    Called when somebody types `fetch-tsa-certs --parent-ca`, and never by a server. Example::

        @hookimpl
        def tsa_certificate_authorities():
            yield Provider(name="acmeca", summary="Acme's CA", options=AcmeOptions, open=open_authority)
    """


@hookspec
def tsa_keks() -> Iterable[Provider[KeyEncryptionKey]]:  # type: ignore[empty-body] # declares
    """Register key encryption keys: keys of a KMS that encrypt what another plugin keeps on a disk.

    Called when a plugin that uses such a key is opened, or its command is used; the scheme of the key's URI selects
    one by its name. The entry point of a distribution that is not called tsa-kek-NAME names this hook, so that
    `plugins list` knows what it is without importing it: `acme-kms = "tsa_signer_acmehsm.plugin:tsa_keks"`. Example::

        @hookimpl
        def tsa_keks():
            yield Provider(name="acme-kms", summary="A key in Acme's KMS", options=AcmeKekOptions, open=open_kek)
    """


@hookspec
def tsa_commands() -> Iterable[Command]:  # type: ignore[empty-body] # declares
    """Register subcommands of timestamp-server, each named like the plugin's entry point.

    The same entry point also stands in the group `tsa_core.commands`, by which `timestamp-server --help` lists it.

    Called when somebody types the command; help imports no plugin. Example::

        @hookimpl
        def tsa_commands():
            yield Command(name="archive", summary="Find archived tokens", load=load_command)
    """
