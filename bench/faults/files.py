"""Faults of files: pid files, chains, keys."""
