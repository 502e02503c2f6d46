"""Benchmarks: `python -m bench` runs all of them; none is ever part of the tests."""
