"""The fixtures of tsa-core's test kit."""

pytest_plugins = "tsa_core.testing.pytest_plugin"
