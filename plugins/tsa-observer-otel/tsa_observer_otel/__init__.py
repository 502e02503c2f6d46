"""Traces and metrics of timestamp requests, for OpenTelemetry."""
