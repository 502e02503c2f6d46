"""Faults of backends: Vault, AWS, Azure, Google."""
