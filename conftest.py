"""Fixtures for the core's tests and every plugin's: the backends of tests/backends."""

pytest_plugins = ["tsa_backends.fixtures"]
