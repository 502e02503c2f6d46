"""Prometheus metrics: the families, how processes share them, and the listener that shows them.

This package is imported only when `[metrics]` is enabled, because prometheus_client takes 15 ms to import.
"""
