"""Faults at the proxy in front: paths and addresses."""
