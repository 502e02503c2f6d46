"""The faults that a probe must find: each breaks a good authority in one way, and names the checks that must say so."""

from __future__ import annotations

from tests.probe import faults_in_signatures, faults_in_statements, faults_of_certificates, faults_over_http
from tests.probe.fault import FAULTS, Fault

__all__ = [
    "FAULTS",
    "Fault",
    "faults_in_signatures",
    "faults_in_statements",
    "faults_of_certificates",
    "faults_over_http",
]
