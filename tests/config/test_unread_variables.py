"""A variable that looks like one of ours and would not be read is an error with the right name."""

from __future__ import annotations

import pytest

from tsa_core.api import ConfigError
from tsa_core.config import Settings, load_settings
from tsa_core.config.models import ProfileSettings


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("TSA_SERVER_PORT", "TSA_SERVER__PORT"),
        ("tsa_server_port", "TSA_SERVER__PORT"),
        ("TSA_SERVER_QUEUE_LIMIT", "TSA_SERVER__QUEUE_LIMIT"),
        ("TSA_LOG_TYPE", "TSA_LOG__TYPE"),
        ("TSA_METRICS_PORT", "TSA_METRICS__PORT"),
        ("TSA_AUDIT_SINKS", "TSA_AUDIT__SINKS"),
        ("TSA_AUDIT_AUDITFILE_PATH", "TSA_AUDIT__AUDITFILE__PATH"),
        ("TSA_CLOCK_MONITORS", "TSA_CLOCK__MONITORS"),
        ("TSA_CLOCK_NTP_SERVERS", "TSA_CLOCK__NTP__SERVERS"),
        ("TSA_SIGNER_FILE_PASSWORD", "TSA_SIGNER__FILE__PASSWORD"),
        ("TSA_PROFILES_DEFAULT_SIGNER", "TSA_PROFILES__DEFAULT__SIGNER"),
        ("TSA_PROFILES__DEFAULT_SIGNER", "TSA_PROFILES__DEFAULT__SIGNER"),
        ("TSA_PROFILES_EU_WEST_SIGNER_TIMEOUT", "TSA_PROFILES__EU_WEST__SIGNER_TIMEOUT"),
        ("TSA_CONFG", "TSA_CONFIG"),
        ("TSA_CFG", "TSA_CONFIG"),
        ("TSA_CONF", "TSA_CONFIG"),
        ("TSA_CONFIG_FILE", "TSA_CONFIG"),
        ("TSA_CONFIGURATION", "TSA_CONFIG"),
        ("tsa_config", "TSA_CONFIG"),
    ],
)
def test_wrong_name_is_an_error_with_the_right_one(name: str, right: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(environ={name: "4000"})
    assert str(caught.value) == f"the environment variable {name} is not read; {right} is"


def test_every_setting_with_one_underscore_too_few_is_found() -> None:
    names = []
    for table, field in Settings.model_fields.items():
        fields = getattr(field.annotation, "model_fields", {})
        names += [f"TSA_{table}_{name}".upper() for name in fields]
    names += [f"TSA_PROFILES_ANY_{name}".upper() for name in ProfileSettings.model_fields]
    assert len(names) > 70
    for name in names:
        with pytest.raises(ConfigError, match=f"{name} is not read"):
            load_settings(environ={name: "x"})


@pytest.mark.parametrize("value", ["", " ", "\n"])
def test_an_empty_tsa_config_is_never_the_memory_signer(value: str) -> None:
    with pytest.raises(ConfigError, match="TSA_CONFIG is set, but empty"):
        load_settings(environ={"TSA_CONFIG": value})


SERVICE_LINKS = {
    "PORT": "tcp://10.0.0.1:3000",
    "SERVICE_HOST": "10.0.0.1",
    "SERVICE_PORT": "3000",
    "SERVICE_PORT_HTTP": "3000",
    "PORT_3000_TCP": "tcp://10.0.0.1:3000",
    "PORT_3000_TCP_PROTO": "tcp",
    "PORT_3000_TCP_PORT": "3000",
    "PORT_3000_TCP_ADDR": "10.0.0.1",
}
"""What Kubernetes sets in each pod for a service, after the service's name."""


@pytest.mark.parametrize(
    "service", ["TSA", "TSA_SERVER", "TSA_METRICS", "TSA_CONFIG", "TSA_SIGNER", "TSA_AUDIT_SINKS", "TSA_PROFILES_A"]
)
def test_what_kubernetes_sets_for_a_service_is_left_alone(service: str) -> None:
    environ = {f"{service}_{name}": value for name, value in SERVICE_LINKS.items()}
    assert load_settings(environ=environ).server.port == 3000


@pytest.mark.parametrize(
    "name", ["TSA_URL", "TSA_TEST_VECTORS", "TSA_TEST_REQUIRE", "TSA_VERSION", "TSA_SERVERS", "TSA_CONTROL", "TSA_"]
)
def test_names_of_others_are_left_alone(name: str) -> None:
    assert load_settings(environ={name: "x"}).server.port == 3000


def test_a_key_made_at_start_can_be_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TSA_CONFIG", raising=False)
    monkeypatch.setenv("TSA_SERVER__TRIAL_KEY", "false")
    with pytest.raises(ConfigError, match="ask for such a key by name: --timestamp-signer memory"):
        load_settings()
    assert load_settings(overrides={"profiles": {"default": {"signer": "memory:"}}}).profiles
    monkeypatch.setenv("TSA_PROFILES__DEFAULT__SIGNER", "memory:")
    assert load_settings().profiles["default"].signer == "memory:"
