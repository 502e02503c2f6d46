"""What a timestamp authority's certificate chain must fulfil: named rules with their clauses, grouped into profiles."""

from __future__ import annotations

from tsa_core.conformance.chains.clients import fraction_digits_complaint
from tsa_core.conformance.chains.path import START_RULES
from tsa_core.conformance.chains.profiles import PROFILES, ChainProfile, judge, rules_of
from tsa_core.conformance.chains.rule import ChainCase, Finding, Outcome, Rule

__all__ = [
    "PROFILES",
    "START_RULES",
    "ChainCase",
    "ChainProfile",
    "Finding",
    "Outcome",
    "Rule",
    "fraction_digits_complaint",
    "judge",
    "rules_of",
]
