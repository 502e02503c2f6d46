"""Real servers and faithful stand-ins that plugins' tests talk to, for the whole repository.

`pythonpath` in pyproject.toml makes this package importable from every test, also from plugins' folders; the
repository's conftest.py loads `tsa_backends.fixtures`. Servers listen on 127.0.0.1, on free ports, and are stopped by
their own pid.
"""
