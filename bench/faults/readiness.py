"""Faults after which no token can be issued: what /readyz, the metrics and the landing page say."""
