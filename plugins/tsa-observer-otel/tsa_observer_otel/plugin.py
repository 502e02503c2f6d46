"""Registers the observer that sends traces and metrics to an OpenTelemetry collector."""

from __future__ import annotations

from collections.abc import Iterable

from tsa_core.api import Observer, Provider, hookimpl
from tsa_observer_otel.options import OtelOptions


def _open(options: OtelOptions) -> Observer:
    from tsa_observer_otel.observer import OtelObserver

    return OtelObserver(options)


@hookimpl
def tsa_observers() -> Iterable[Provider[Observer]]:
    """Register the observer."""
    yield Provider(
        name="otel", summary="Traces and metrics for an OpenTelemetry collector", options=OtelOptions, open=_open
    )
