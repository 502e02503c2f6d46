"""tsa-core: an RFC 3161 timestamp authority, its client and its verifier."""

__version__ = "0.1.0"
