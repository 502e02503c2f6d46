"""Finds the RFC 3161 tokens in signatures, PDF, ASiC, JAR, programs, bundles and images, and what each is over."""

from tsa_core.extract.found import ExtractError, FoundCountersignature, FoundToken
from tsa_core.extract.reading import MAX_OCTETS, Extraction, extract

__all__ = ["MAX_OCTETS", "ExtractError", "Extraction", "FoundCountersignature", "FoundToken", "extract"]
