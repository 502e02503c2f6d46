"""The statements that an authority publishes (RFC 3628 7.1, EN 319 421 annex B), filled from its configuration."""

from __future__ import annotations

from tsa_core.documents.statements.answers import questions_text, read_answers
from tsa_core.documents.statements.facts import Plugin, Subject, facts_of
from tsa_core.documents.statements.template import STATEMENTS, Facts, Statement, fill, gaps_of, template_text

__all__ = [
    "STATEMENTS",
    "Facts",
    "Plugin",
    "Statement",
    "Subject",
    "facts_of",
    "fill",
    "gaps_of",
    "questions_text",
    "read_answers",
    "template_text",
]
