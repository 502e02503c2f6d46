"""Judges any RFC 3161 authority from outside, gently: one call, a bounded number of requests, a report with a grade."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

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
    _PLACES: Final = {
        "tsa_core.probe.check": "Area Check Outcome Result Severity",
        "tsa_core.probe.checks": "CHECKS",
        "tsa_core.probe.clients": "ClientVerdict Reception",
        "tsa_core.probe.grade": "GRADES Grade",
        "tsa_core.probe.page": "html_page",
        "tsa_core.probe.probing": "probe",
        "tsa_core.probe.report": "Report",
        "tsa_core.probe.standards": "Demand STANDARDS StandardVerdict",
    }
    _MODULES: Final = {name: module for module, names in _PLACES.items() for name in names.split()}

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return value


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
