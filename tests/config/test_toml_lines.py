"""The line of each setting in a tsa.toml, whatever way TOML offers to write it."""

from __future__ import annotations

import tomllib
from typing import Any

from tsa_core.config.toml_lines import setting_lines

TEXT = '''\
# a comment
server.port = 1

[log]
type = "prod"   # [not a table]
[profiles.default]
signer = """
[server]
port = 2
"""
policies = [
  "1.2.3",  # = 4
]
signer_options = { a = 1, b = { c = 2 } }
[ clock . "ntp" ]
'servers' = []
[[rules]]
name = "x"
'''


def paths(table: dict[str, Any], prefix: str = "") -> set[str]:
    found = set()
    for key, value in table.items():
        inner = value[-1] if isinstance(value, list) and value and isinstance(value[-1], dict) else value
        found |= paths(inner, f"{prefix}{key}.") if isinstance(inner, dict) else {f"{prefix}{key}"}
    return found


def test_each_setting_has_the_line_on_which_it_begins() -> None:
    assert setting_lines(TEXT) == {
        "server": 2,
        "server.port": 2,
        "log.type": 5,
        "profiles.default.signer": 7,
        "profiles.default.policies": 11,
        "profiles.default.signer_options": 14,
        "profiles.default.signer_options.a": 14,
        "profiles.default.signer_options.b": 14,
        "profiles.default.signer_options.b.c": 14,
        "clock.ntp.servers": 16,
        "rules.name": 18,
    }
    assert paths(tomllib.loads(TEXT)) <= set(setting_lines(TEXT))


def test_a_statement_without_an_end_has_no_line_and_costs_little() -> None:
    assert setting_lines("a = 1\nb = [\n" + "1,\n" * 5000) == {"a": 1}
