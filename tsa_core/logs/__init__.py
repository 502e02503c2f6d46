"""Logs: the records of plugins, libraries and the core, and one line for each request, in one format."""

from tsa_core.logs.access import AccessLog, AnsweredTogether
from tsa_core.logs.setup import (
    access_log,
    dropped_lines,
    end_log_thread,
    prepare_log,
    say,
    set_up_logging,
    write_waiting_lines,
)

__all__ = [
    "AccessLog",
    "AnsweredTogether",
    "access_log",
    "dropped_lines",
    "end_log_thread",
    "prepare_log",
    "say",
    "set_up_logging",
    "write_waiting_lines",
]
