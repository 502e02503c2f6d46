"""The part of the report about which key and certificate were in use when."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from tsa_core.documents.blocks import Block, Heading, Span, Table, Timeline
from tsa_core.documents.report.tally import CertificateUse, Tally
from tsa_core.documents.report.texts import cut, second


def certificate_blocks(tally: Tally) -> Iterator[Block]:
    """Yield a timeline and a table of the certificates of each profile."""
    yield Heading(level=2, text="Keys and certificates in use")
    used = [
        (profile, fingerprint, use, until)
        for profile, fingerprint, use, until in _periods(tally)
        if until is None or until > tally.begin
    ]
    if used:
        yield Timeline(
            title="Certificates by profile",
            begin=tally.begin,
            end=tally.end,
            rows=[
                (
                    f"{profile} {fingerprint[:12]}",
                    [
                        Span(
                            begin=use.first,
                            end=until or tally.end,
                            hint=f"{profile}, certificate {fingerprint}, from {second(use.first)}",
                        )
                    ],
                )
                for profile, fingerprint, use, until in used
            ],
        )
    rows = [
        (
            profile,
            second(use.first),
            second(until) if until else "still in use",
            cut(use.not_after),
            fingerprint,
            use.key,
        )
        for profile, fingerprint, use, until in used
    ]
    yield Table(
        columns=("Profile", "First seen in use", "Replaced", "Certificate ends", "SHA-256 of it", "SHA-256 of its key"),
        rows=rows,
        code=frozenset({4, 5}),
        nothing="The trail tells of none: no process began until then, or an older tsa-core wrote it, which did not.",
    )


def _periods(tally: Tally) -> Iterator[tuple[str, str, CertificateUse, datetime | None]]:
    """Yield each certificate with its profile and the time when the next one was taken into use, None for the last."""
    by_profile: dict[str, list[tuple[str, CertificateUse]]] = {}
    for (profile, fingerprint), use in tally.certificates.items():
        by_profile.setdefault(profile, []).append((fingerprint, use))
    for profile, uses in sorted(by_profile.items()):
        uses.sort(key=lambda item: item[1].first)
        for place, (fingerprint, use) in enumerate(uses):
            following = uses[place + 1][1].first if place + 1 < len(uses) else None
            yield profile, fingerprint, use, use.replaced or following
