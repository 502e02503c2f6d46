"""Judges any RFC 3161 authority from outside, gently: one call, a bounded number of requests, a report with a grade."""

from typing import TYPE_CHECKING

from tsa_core.lazy_names import lazy_names

if TYPE_CHECKING:
    from tsa_core.probe.check import Area, Check, Outcome, Result, Severity
    from tsa_core.probe.checks import CHECKS
    from tsa_core.probe.clients import ClientVerdict, Reception
    from tsa_core.probe.grade import GRADES, Grade
    from tsa_core.probe.page import html_page
    from tsa_core.probe.probing import probe
    from tsa_core.probe.report import Report
    from tsa_core.probe.standards import STANDARDS, Demand, StandardVerdict
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "tsa_core.probe.check": "Area Check Outcome Result Severity",
            "tsa_core.probe.checks": "CHECKS",
            "tsa_core.probe.clients": "ClientVerdict Reception",
            "tsa_core.probe.grade": "GRADES Grade",
            "tsa_core.probe.page": "html_page",
            "tsa_core.probe.probing": "probe",
            "tsa_core.probe.report": "Report",
            "tsa_core.probe.standards": "Demand STANDARDS StandardVerdict",
        },
    )


__all__ = [
    "CHECKS",
    "GRADES",
    "STANDARDS",
    "Area",
    "Check",
    "ClientVerdict",
    "Demand",
    "Grade",
    "Outcome",
    "Reception",
    "Report",
    "Result",
    "Severity",
    "StandardVerdict",
    "html_page",
    "probe",
]
