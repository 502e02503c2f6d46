"""Benchmarks; never part of the test run."""
