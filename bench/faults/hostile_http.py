"""Faults of clients: heads, bodies and connections that no honest client sends."""
