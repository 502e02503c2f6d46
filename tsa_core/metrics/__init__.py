"""Prometheus metrics: what is counted, how processes share it, and the listener that shows it.

Nothing here is imported unless `[metrics]` is enabled, because prometheus_client costs 15 ms at start.
"""
