"""What the configuration and the certificates say of an authority, for its statements. Opens no key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from tsa_core import __version__
from tsa_core.api import describe_key
from tsa_core.authority.validity import issuing_period
from tsa_core.certs import CertificateChain
from tsa_core.config import ProfileSettings, Settings
from tsa_core.documents.blocks import Table
from tsa_core.documents.statements.promises import promises
from tsa_core.documents.statements.revocation import revocation_addresses
from tsa_core.documents.statements.template import Facts
from tsa_core.paths.chains import subject_text
from tsa_core.protocol.hashes import hash_by_name

_QUALIFIED = "qualified (EN 319 422)"


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A plugin that the configuration selects: what for, its name, its line of summary and its distribution.

    `kind` is one of `tsa_core.service.selection`. `chained` says whether an audit sink has a trail that the core reads.
    """

    kind: str
    name: str
    summary: str
    distribution: str
    chained: bool = False


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a statement is about: settings, each profile's chain where it has one, plugins, and settings as texts.

    `rows` are the settings that are not left to their default, as path and value, without secrets.
    """

    settings: Settings
    chains: Mapping[str, CertificateChain]
    plugins: Sequence[Plugin]
    rows: Sequence[tuple[str, str]]
    now: datetime


def facts_of(subject: Subject) -> Facts:
    """Return what the templates may name."""
    texts, unknown = promises(
        subject.settings,
        revocable=any(map(_addresses, subject.chains.values())),
        chained={each.name for each in _of_kind(subject, "audit_sinks") if each.chained},
    )
    texts |= {"software": f"tsa-core {__version__}", "date": f"{subject.now:%Y-%m-%d}"}
    if name := _authority(subject):
        texts["authority"] = name
    else:
        unknown["authority"] = "The authority's name"
    return Facts(texts=texts, tables=dict(_tables(subject)), unknown=unknown)


def _authority(subject: Subject) -> str:
    """Return the organization, else the common name, of the first profile's certificate."""
    chain = next((subject.chains[name] for name in subject.settings.profiles if name in subject.chains), None)
    if chain is None:
        return ""
    for oid in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME):
        if found := chain.leaf.subject.get_attributes_for_oid(oid):
            return str(found[0].value)
    return ""


def _tables(subject: Subject) -> Iterator[tuple[str, tuple[str, Table]]]:
    profiles, chains = subject.settings.profiles, subject.chains
    no_chain = "No profile has a certificate chain: this configuration is for trials, and no statement about it counts."
    yield (
        "subjects",
        (
            "The certificates name the authority, and each of its time-stamping units, so:",
            Table(
                columns=("Profile", "Subject"),
                rows=[(name, subject_text(chain.leaf)) for name, chain in chains.items()],
                nothing=no_chain,
            ),
        ),
    )
    yield (
        "policies",
        (
            "Each time-stamp names a policy. The first one of a profile is given where a request names none:",
            Table(
                columns=("Profile", "Policies", "Kind", "Conformance enforced"),
                rows=[
                    (
                        name,
                        ", ".join(profile.policies),
                        _QUALIFIED if profile.qualified else "not qualified",
                        ", ".join(profile.conformance) or "none",
                    )
                    for name, profile in profiles.items()
                ],
                code=frozenset({1}),
            ),
        ),
    )
    yield (
        "tokens",
        (
            "What time-stamps hold (RFC 3161 2.4.2):",
            Table(
                columns=("Profile", "Accuracy", "Digits of the second", "Ordering", "Certificates", "Longest signing"),
                rows=[(name, *_token_row(profile)) for name, profile in profiles.items()],
            ),
        ),
    )
    yield (
        "accuracy",
        (
            "Time-stamps state this accuracy, the greatest difference of their time from UTC (RFC 3161 2.4.2):",
            Table(
                columns=("Profile", "Accuracy"), rows=[(name, _accuracy(profile)) for name, profile in profiles.items()]
            ),
        ),
    )
    yield (
        "hashes",
        (
            "Digests of these algorithms are time-stamped:",
            Table(
                columns=("Profile", "Hash algorithms"),
                rows=[(name, ", ".join(_hashes(profile))) for name, profile in profiles.items()],
            ),
        ),
    )
    yield (
        "keys",
        (
            "The signing keys are of these kinds:",
            Table(
                columns=("Profile", "Key", "Digest of the signature"),
                rows=[(name, *_key_row(profiles[name], chain)) for name, chain in chains.items()],
                nothing=no_chain,
            ),
        ),
    )
    yield (
        "modules",
        (
            "The private keys are held by:",
            Table(
                columns=("Profile", "Kind of key", "What it is", "Where"),
                rows=[(name, profile.scheme, *_module(subject, name, profile)) for name, profile in profiles.items()],
                code=frozenset({3}),
            ),
        ),
    )
    yield from _certificate_tables(subject, no_chain)
    yield from _operation_tables(subject)


def _certificate_tables(subject: Subject, no_chain: str) -> Iterator[tuple[str, tuple[str, Table]]]:
    chains = subject.chains
    rows = [
        (name, subject_text(certificate), certificate.fingerprint(hashes.SHA256()).hex(), _key_text(certificate))
        for name, chain in chains.items()
        for certificate in chain.certificates
    ]
    table = Table(
        columns=("Profile", "Certificate", "SHA-256", "Key"), rows=rows, code=frozenset({2}), nothing=no_chain
    )
    yield "certificates", ("The chain of each profile, the authority's own certificate first:", table)
    periods = [(name, *_period_row(subject.settings.profiles[name], chain)) for name, chain in chains.items()]
    columns = ("Profile", "Certificate valid from", "Certificate valid until", "Key signs until", "Set by")
    yield (
        "periods",
        ("No key signs after its end:", Table(columns=columns, rows=periods, nothing=no_chain)),
    )
    addresses = [(name, kind, url) for name, chain in chains.items() for kind, url in _addresses(chain)]
    yield (
        "revocation",
        (
            "Whether the authority's certificates were revoked is told by:",
            Table(
                columns=("Profile", "Kind", "Address"),
                rows=addresses,
                nothing="No certificate names a list of revoked certificates or an OCSP responder.",
            ),
        ),
    )


def _operation_tables(subject: Subject) -> Iterator[tuple[str, tuple[str, Table]]]:
    settings = subject.settings
    server = settings.server
    addresses = [("Address for clients", server.public_url or f"port {server.port} of {', '.join(server.host)}")]
    addresses += [("Schemes", ", ".join(server.schemes))]
    addresses += [
        (f"Path of the profile {name}", ", ".join([*profile.paths, f"/tsa/{name}"]))
        for name, profile in settings.profiles.items()
    ]
    addresses += [("Pages of plugins", f"{each.name}: {each.summary}") for each in _of_kind(subject, "routes")]
    yield (
        "service",
        (
            "Requests are taken over HTTP (RFC 3161 3.4), by POST; the profile default also at /api/v1/timestamp:",
            Table(columns=("Fact", "Value"), rows=addresses),
        ),
    )
    rows = [(each.name, each.summary) for each in _of_kind(subject, "guards")]
    nothing = "No guard is configured: whoever reaches the address may ask for time-stamps."
    if server.tls_ca is not None:
        rows.append(("tls_ca", "clients must show a certificate of a CA that the configuration names"))
    yield (
        "access",
        ("Who may ask is decided by:", Table(columns=("Guard", "What it does"), rows=rows, nothing=nothing)),
    )
    clock = [
        *(("Source of time", each) for each in _names(subject, "clock")),
        *(("Compared with", each) for each in _names(subject, "clock_monitors")),
        *((path, value) for path, value in subject.rows if path.startswith("clock.")),
    ]
    yield "clock", ("Where the time comes from:", Table(columns=("Fact", "Value"), rows=clock))
    yield (
        "audit",
        (
            "Records are kept by:",
            Table(
                columns=("Sink", "What it is"),
                rows=[(each.name, each.summary) for each in _of_kind(subject, "audit_sinks")],
                nothing="No audit sink is configured: nothing shows later which time-stamps were given.",
            ),
        ),
    )
    versions = sorted({each.distribution for each in subject.plugins if each.distribution})
    yield (
        "software",
        (
            "The software of the service:",
            Table(columns=("Distribution",), rows=[(text,) for text in dict.fromkeys(versions)]),
        ),
    )
    yield (
        "settings",
        (
            "The settings that are not left to their default, without secrets:",
            Table(columns=("Setting", "Value"), rows=subject.rows, code=frozenset({0, 1})),
        ),
    )


def _of_kind(subject: Subject, kind: str) -> list[Plugin]:
    return [plugin for plugin in subject.plugins if plugin.kind == kind]


def _names(subject: Subject, kind: str) -> Iterator[str]:
    return (f"{each.name}: {each.summary}" for each in _of_kind(subject, kind))


def _token_row(profile: ProfileSettings) -> tuple[str, ...]:
    ordering = "yes" if profile.ordering else "no"
    longest = f"{profile.signer_timeout.total_seconds():g} s"
    return _accuracy(profile), str(profile.fraction_digits), ordering, profile.include_chain, longest


def _accuracy(profile: ProfileSettings) -> str:
    widest = profile.promised_accuracy
    if widest is None:
        return "not stated"
    measured = profile.states_measured_accuracy
    return f"measured for each time-stamp, {duration(widest)} at most" if measured else duration(widest)


def duration(length: timedelta) -> str:
    """Return a length of time in the unit in which it is read best."""
    seconds = length.total_seconds()
    return f"{seconds * 1000:g} ms" if 0 < seconds < 1 else f"{seconds:g} s"


def _hashes(profile: ProfileSettings) -> list[str]:
    names = [*profile.hashes, *(["sha1 (old clients alone)"] if profile.accept_sha1 else [])]
    return [f"{name} ({hash_by_name(name).oid})" if " " not in name else name for name in names]


def _key_row(profile: ProfileSettings, chain: CertificateChain) -> tuple[str, str]:
    return _key_text(chain.leaf), profile.signer_hash or "follows the key"


def _key_text(certificate: x509.Certificate) -> str:
    try:
        return describe_key(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm):
        return "unknown"


def _module(subject: Subject, name: str, profile: ProfileSettings) -> tuple[str, str]:
    summary = next((p.summary for p in subject.plugins if (p.kind, p.name) == ("signers", profile.scheme)), "unknown")
    where = dict(subject.rows).get(f"profiles.{name}.signer", f'"{profile.scheme}:"')
    return summary, where.strip('"')


def _period_row(profile: ProfileSettings, chain: CertificateChain) -> tuple[str, ...]:
    leaf = chain.leaf
    try:
        period = issuing_period(chain.certificates, until=profile.issue_until)
        end, by = f"{period.not_after:%Y-%m-%d %H:%M:%S} UTC", period.ends_with
    except ValueError as error:
        end, by = "unknown", str(error)
    return f"{leaf.not_valid_before_utc:%Y-%m-%d}", f"{leaf.not_valid_after_utc:%Y-%m-%d}", end, by


def _addresses(chain: CertificateChain) -> list[tuple[str, str]]:
    below_root: Sequence[x509.Certificate] = chain.certificates[:-1] or chain.certificates
    return [found for certificate in below_root for found in revocation_addresses(certificate)]
