"""Fixtures for the core's tests and every plugin's: the backends of tests/backends."""

import pytest

pytest.register_assert_rewrite("tsa_backends")
pytest_plugins = ["tsa_backends.fixtures"]
