"""Flags, environment and file become one object, and every mistake is one line that says what to do."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tsa_core.api import ConfigError
from tsa_core.api.fields import format_duration, parse_duration
from tsa_core.config import load_settings


@pytest.fixture
def tsa_toml(tmp_path: Path) -> Path:
    path = tmp_path / "tsa.toml"
    path.write_text(
        """
        [server]
        port = 4000
        host = "127.0.0.2"
        [profiles.default]
        signer = "file:key.pem"
        certificate_chain = "certs/chain.pem"
        accuracy = "500ms"
        [clock.ntp]
        servers = ["a.example"]
        [signer.file]
        password = { env = "KEY_PASSWORD" }
        """
    )
    return path


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("TSA_"):
            monkeypatch.delenv(name)


def error_of(path: Path | None = None, **arguments: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(path, **arguments)  # type: ignore[arg-type] # the arguments under test
    return str(caught.value)


def test_nothing_configured_means_the_memory_signer() -> None:
    settings = load_settings()
    assert settings.profiles["default"].signer == "memory:"
    assert (settings.server.host, settings.server.port) == (["127.0.0.1"], 3000)


def test_flags_go_before_environment_before_file(tsa_toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TSA_SERVER__PORT", "5000")
    monkeypatch.setenv("TSA_SERVER__HOST", "127.0.0.3")
    settings = load_settings(tsa_toml, overrides={"server": {"port": 6000}})
    assert (settings.server.port, settings.server.host) == (6000, ["127.0.0.3"])
    assert settings.profiles["default"].accuracy == timedelta(milliseconds=500)


def test_the_environment_reaches_profiles_lists_and_plugin_tables(
    tsa_toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TSA_PROFILES__DEFAULT__POLICIES", "1.2.3, 1.2.4")
    monkeypatch.setenv("TSA_SIGNER__FILE__PASSWORD", "0123")
    monkeypatch.setenv("TSA_CLOCK__NTP__PERIOD", "60")
    settings = load_settings(tsa_toml)
    assert settings.profiles["default"].policies == ["1.2.3", "1.2.4"]
    assert settings.signer["file"] == {"password": "0123"}
    assert settings.clock.plugin_table("ntp") == {"servers": ["a.example"], "period": "60"}


def test_the_file_is_found_by_tsa_config(tsa_toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TSA_CONFIG", str(tsa_toml))
    assert load_settings().server.port == 4000


def test_paths_in_a_file_are_relative_to_it(tsa_toml: Path) -> None:
    assert load_settings(tsa_toml).profiles["default"].certificate_chain == tsa_toml.parent / "certs" / "chain.pem"


def test_a_missing_file_is_an_error_and_never_the_memory_signer(tmp_path: Path) -> None:
    message = error_of(tmp_path / "nope.toml")
    assert "nope.toml" in message
    assert "cannot be read" in message


@pytest.mark.parametrize("text", ["", "[server]\nport = 1\n"])
def test_a_file_without_a_signer_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tsa.toml"
    path.write_text(text)
    assert "[profiles.default]" in error_of(path)


def test_a_profile_without_a_signer_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "tsa.toml"
    path.write_text('[profiles.default]\ncertificate_chain = "chain.pem"\n')
    assert "profiles.default.signer is missing (key URI" in error_of(path)


def test_a_default_profile_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "tsa.toml"
    path.write_text('[profiles.rsa]\nsigner = "memory:"\n')
    assert "no [profiles.default]" in error_of(path)


def test_a_file_that_is_not_toml_says_where(tmp_path: Path) -> None:
    path = tmp_path / "tsa.toml"
    path.write_text("[server\n")
    message = error_of(path)
    assert "not TOML" in message
    assert "line 1" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[server]\nprot = 1", "unknown setting server.prot; did you mean 'port'?"),
        ("[servre]\nport = 1", "unknown setting servre; did you mean 'server'?"),
        (
            "[profiles.default]\nsigner='memory:'\npolicy='1.2'",
            "unknown setting profiles.default.policy; did you mean 'po",
        ),
        (
            "[profiles.default]\nsigner='memory:'\n[clock]\nsuorce='system'",
            "unknown setting clock.suorce; did you mean 'so",
        ),
        ("[profiles.default]\nsigner='memory:'\nhashes=['sha1']", "accept_sha1 = true"),
        ("[profiles.default]\nsigner='memory:'\nhashes=['sha-1024']", "'sha-1024' is not a hash"),
        ("[profiles.default]\nsigner='memory:'\npolicies=['1.2.x']", "not an object identifier"),
        ("[profiles.default]\nsigner='memory:'\npolicies=[]", "profiles.default.policies"),
        ("[profiles.default]\nsigner='memory:'\nordering=true", "fraction_digits"),
        ("[profiles.default]\nsigner='memory:'\naccuracy='soon'", "not a duration"),
        ("[profiles.'a b']\nsigner='memory:'", "profiles.a b"),
        ("[server]\nport = 'x'", "server.port"),
        (
            "[profiles.default]\nsigner='memory:'\n[observe]\nqueue_limit=5",
            "queue_limit has no effect, because observers selects no plugin",
        ),
    ],
)
def test_each_mistake_is_one_line_that_names_file_and_setting(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "tsa.toml"
    path.write_text(text)
    message = error_of(path)
    assert expected in message
    assert str(path) in message
    assert len(message.splitlines()) == 1


def test_the_origin_of_a_wrong_value_is_named(tsa_toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TSA_SERVER__PORT", "many")
    assert error_of(tsa_toml).startswith("environment variable TSA_SERVER__PORT: ")
    monkeypatch.delenv("TSA_SERVER__PORT")
    assert error_of(tsa_toml, overrides={"server": {"port": -1}}).startswith("command line: server.port")


def test_a_misspelt_variable_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TSA_SERVER__PROT", "1")
    assert "did you mean 'port'?" in error_of()


def test_variables_that_kubernetes_sets_for_a_service_called_tsa_are_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TSA_PORT", "tcp://10.0.0.1:3000")
    monkeypatch.setenv("TSA_SERVICE_HOST", "10.0.0.1")
    assert load_settings().server.port == 3000


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("5s", 5_000_000),
        ("250ms", 250_000),
        ("1h30m", 5_400_000_000),
        ("7", 7_000_000),
        (2, 2_000_000),
        ("1us", 1),
        ("0s", 0),
    ],
)
def test_durations(text: object, microseconds: int) -> None:
    duration = parse_duration(text)
    assert duration == timedelta(microseconds=microseconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize("text", ["", "s", "5 apples", "-1s", "1h 30", "5s5", True, None, -1, float("nan"), "1" * 100])
def test_what_is_not_a_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


def test_trial_key_in_a_file_has_no_effect_and_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tsa.toml"
    path.write_text('[server]\ntrial_key = false\n[profiles.default]\nsigner = "memory:"\n')
    assert f"{path}: server.trial_key: has no effect in a file" in error_of(path)


def test_repr_shows_no_settings_of_plugins() -> None:
    """What of them is a secret, only the plugin knows; the core has them as they were written."""
    secret = {"password": "hunter2", "nested": {"token": "hunter2"}}
    sections = {"clock": "ntp", "policy": "network", "response": "archive", "audit": "auditfile", "observe": "otel"}
    settings = load_settings(
        overrides={
            "signer": {"file": secret},
            "certificate_authority": {"gcp": secret},
            "certificate_signer": {"pkcs11": secret},
            "profiles": {"default": {"signer": "file:hunter2.pem", "signer_options": secret}},
            "health": {"acme": secret},
            **{section: {plugin: secret} for section, plugin in sections.items()},
        },
        environ={},
    )
    for text in (repr(settings), str(settings), f"{settings.profiles} {settings.audit}"):
        assert "hunter2" not in text
        assert "accuracy=" in text or "auditfile='...'" in text
    assert settings.audit.plugin_table("auditfile") == secret


GUARDED_TLS: dict[str, dict[str, Any]] = {
    "server": {"schemes": ["https"], "tls_certificate": "a.pem", "tls_key": "a.key", "tls_ca": "ca.pem"},
    "middleware": {"guards": ["guard"]},
}


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ({"http2": True}, "server.http2 cannot be had"),
        ({"schemes": ["https", "http"], "tls_read_timeout": "5s"}, "give read_timeout, or"),
        ({"schemes": ["https", "http"], "tls_connection_limit": 5, "engine": "granian"}, None),
        ({"tls_connection_limit": 5}, None),
    ],
)
def test_what_cannot_be_had_where_guards_learn_certificates(server: dict[str, Any], said: str | None) -> None:
    overrides = {**GUARDED_TLS, "server": {**GUARDED_TLS["server"], **server}}
    if said is None:
        assert load_settings(overrides=overrides, environ={}).tells_guards_of_certificates
        return
    with pytest.raises(ConfigError, match=said):
        load_settings(overrides=overrides, environ={})
