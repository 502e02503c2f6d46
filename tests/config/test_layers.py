"""Settings of several sources, laid over each other."""

from __future__ import annotations

from typing import Any

import pytest

from tsa_core.api import ConfigError
from tsa_core.config import load_settings
from tsa_core.config.layers import from_environment, merged

TABLES = ("server", "clock", "signer")


def test_a_later_layer_counts_more_and_tables_are_merged() -> None:
    file: dict[str, Any] = {
        "server": {"port": 1, "host": ["a", "b"]},
        "clock": {"ntp": {"servers": ["x"], "file": "f"}},
    }
    flags = {"server": {"host": ["c"]}, "clock": {"ntp": {"servers": ["y"]}}}
    assert merged(file, flags) == {
        "server": {"port": 1, "host": ["c"]},
        "clock": {"ntp": {"servers": ["y"], "file": "f"}},
    }
    assert file["server"]["host"] == ["a", "b"]


def test_variables_are_texts_by_the_place_that_their_name_says() -> None:
    environ = {
        "TSA_SERVER__PORT": "80",
        "tsa_Server__Host": "a,b",
        "TSA_SIGNER__FILE__PASSWORD": "123",
        "TSA_SIGNER__PKCS11__KEK__URI": '["no", "JSON"]',
        "TSA_CONFIG": "tsa.toml",
        "TSA_SERVER_PORT": "tcp://10.0.0.1:3000",
        "PATH": "/bin",
    }
    assert from_environment(environ, TABLES) == {
        "server": {"port": "80", "host": "a,b"},
        "signer": {"file": {"password": "123"}, "pkcs11": {"kek": {"uri": '["no", "JSON"]'}}},
    }


@pytest.mark.parametrize(
    "names", [("TSA_CLOCK__NTP", "TSA_CLOCK__NTP__FILE"), ("TSA_CLOCK__NTP__FILE", "TSA_CLOCK__NTP")]
)
def test_a_text_in_the_place_of_a_table_is_an_error_in_either_order(names: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match="unknown setting clock"):
        load_settings(environ=dict.fromkeys(names, "x"))


def test_a_text_for_a_whole_table_names_the_variable() -> None:
    with pytest.raises(ConfigError, match="environment variable TSA_SERVER: server: must be a table: "):
        load_settings(environ={"TSA_SERVER": '{"port": 7}'})
