"""The faults that a probe must find: each breaks a good authority in one way, and names the checks that must say so."""

from __future__ import annotations

from tests.probe import faults_in_signatures, faults_in_statements, faults_of_certificates, faults_over_http
from tests.probe.fault import FAULTS, Fault
from tests.probe.faulty_authority import FaultyAuthority

__all__ = [
    "FAULTS",
    "Fault",
    "faults_in_signatures",
    "faults_in_statements",
    "faults_of_certificates",
    "faults_over_http",
    "faulty",
]


def faulty(*names: str, authority: FaultyAuthority | None = None) -> FaultyAuthority:
    """Return an authority, a good one unless given, with the faults of these names; KeyError for another name."""
    by_name = {fault.name: fault for fault in FAULTS}
    authority = authority or FaultyAuthority()
    for name in names:
        by_name[name].put(authority)
    return authority
