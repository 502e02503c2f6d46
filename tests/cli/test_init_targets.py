"""timestamp-server init --for and --profile: what is made fits where it will run, and passes what was asked for."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from tsa_backends.commands import run_command
from tsa_core.api import ConfigError, TsaError, files
from tsa_core.authority import load_chain
from tsa_core.cli import init_files, init_targets, plugin_commands
from tsa_core.cli.output_file import write_file
from tsa_core.cli.server_group import server
from tsa_core.config import DEFAULT_POLICY, load_settings
from tsa_core.conformance.chains import ChainCase, Outcome, judge
from tsa_core.conformance.profiles import CONFORMANCE
from tsa_core.testing import wait_until
from tsa_core.testing.chronyd import Chronyd

pytestmark = pytest.mark.plugin("file")

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
NAMES = ("--org", "Example Ltd", "--country", "DE")
PUBLISHED = ("--publish-at", "http://pki.example.com/")
PROXY = ("--public-url", "https://tsa.example.com")
OWN = "1.3.6.1.4.1.99999.1"


def init(directory: Path, *arguments: str) -> Result:
    return CliRunner().invoke(server, ["init", str(directory), *arguments], catch_exceptions=False)


def configuration(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def modes(directory: Path) -> dict[str, str]:
    return {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in directory.iterdir()}


def test_for_systemd_the_settings_are_those_of_the_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(files, "_warn_of_readers", lambda found, *_: seen.append(stat.S_IMODE(found.st_mode)))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    result = init(tmp_path / "tsa", "--for", "systemd")
    assert result.exit_code == 0, result.output
    made = configuration(tmp_path / "tsa" / "tsa.toml")["server"]
    unit = (DEPLOY / "systemd" / "tsa.service").read_text(encoding="utf-8")
    assert made["pid_file"] == "/run/tsa/tsa.pid"
    assert "\nRuntimeDirectory=tsa\n" in unit
    assert made["state_directory"] == "/var/lib/tsa"
    assert "\nStateDirectory=tsa\n" in unit
    assert "\nUser=tsa\nGroup=tsa\nConfigurationDirectory=tsa\nConfigurationDirectoryMode=0750\n" in unit
    assert made["host"] == "127.0.0.1"
    # The service's group reads, and nobody else.
    assert modes(tmp_path / "tsa") == {
        "tsa.toml": "0o640",
        "tsa.key": "0o640",
        "tsa.password": "0o640",
        "chain.pem": "0o644",
        "root.pem": "0o644",
    }
    assert stat.S_IMODE((tmp_path / "tsa").stat().st_mode) == 0o750
    assert f"chown -R root:tsa {tmp_path / 'tsa'}" in result.stderr
    assert seen == [0o600, 0o600], "nobody who made it is told to take it from the group that will read it"
    assert "tsa-sysusers.conf" in result.stderr
    assert (DEPLOY / "systemd" / "tsa-sysusers.conf").read_text().splitlines()[-1].startswith("u tsa ")


@pytest.mark.parametrize("target", ["systemd", "container"])
def test_the_keys_of_the_cas_are_not_where_the_server_reads(tmp_path: Path, target: str) -> None:
    result = init(tmp_path / "tsa", "--for", target)
    assert not (tmp_path / "tsa" / "offline").exists()
    assert set(modes(tmp_path / "tsa-offline")) == {
        "root.key",
        "intermediate.key",
        "password",
        "chain.pem",
        "offline.toml",
    }
    assert stat.S_IMODE((tmp_path / "tsa-offline").stat().st_mode) == 0o700
    assert f"are in {tmp_path / 'tsa-offline'}" in result.stderr


def test_for_a_container_the_files_are_the_images_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owners: dict[str, tuple[int, int]] = {}
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda path, user, group: owners.update({Path(path).name: (user, group)}))

    def written(path: Path, data: bytes, *, mode: int, owner: tuple[int, int] | None = None) -> None:
        if owner is not None:
            owners[path.name] = owner
        write_file(path, data, mode=mode)

    monkeypatch.setattr(init_files, "write_file", written)
    result = init(tmp_path / "tsa", "--for", "container")
    assert owners == dict.fromkeys(
        ("tsa.toml", "tsa.key", "tsa.password", "chain.pem", "root.pem", "tsa"), (65532, 65532)
    )
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert f"USER {init_targets.CONTAINER_USER}:{init_targets.CONTAINER_USER}" in dockerfile
    made = configuration(tmp_path / "tsa" / "tsa.toml")["server"]
    assert (made["host"], made["pid_file"], made["watch"]) == ("0.0.0.0", "/var/lib/tsa/tsa.pid", True)
    assert made["state_directory"] == "/var/lib/tsa"
    assert "--user" not in result.stderr
    assert f"-v {tmp_path / 'tsa'}:/etc/tsa:ro" in result.stderr


def test_a_container_runs_as_whoever_made_the_files_without_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 1001)
    assert " --user 1000:1001 " in init(tmp_path / "tsa", "--for", "container").stderr


def test_for_kubernetes_secret_and_settings_are_those_that_the_pods_mount(tmp_path: Path) -> None:
    assert init(tmp_path / "tsa", "--for", "kubernetes", "--timestamp-policy", "1.3.6.1.4.1.99999.1").exit_code == 0
    secret = yaml.safe_load((tmp_path / "tsa" / "kubernetes" / "secret.yaml").read_text(encoding="utf-8"))
    for name, file in (("key.pem", "tsa.key"), ("key.password", "tsa.password"), ("chain.pem", "chain.pem")):
        assert secret["stringData"][name].strip() == (tmp_path / "tsa" / file).read_text().strip()
    deployment = yaml.safe_load((DEPLOY / "kubernetes" / "deployment.yaml").read_text(encoding="utf-8"))
    [volume] = [each for each in deployment["spec"]["template"]["spec"]["volumes"] if each["name"] == "signer"]
    assert volume["secret"]["secretName"] == secret["metadata"]["name"]
    made = configuration(tmp_path / "tsa" / "kubernetes" / "tsa.toml")
    assert made["profiles"]["default"].pop("policies") == ["1.3.6.1.4.1.99999.1"]
    assert made == configuration(DEPLOY / "kubernetes" / "tsa.toml")
    # What stays with the administrator serves, too, and renews.
    load_settings(tmp_path / "tsa" / "tsa.toml", environ={})
    assert modes(tmp_path / "tsa" / "kubernetes") == {"secret.yaml": "0o600", "tsa.toml": "0o600"}


def test_the_keys_of_the_cas_go_where_they_are_told_to(tmp_path: Path) -> None:
    init(tmp_path / "tsa", "--offline", str(tmp_path / "safe" / "cas"))
    assert (tmp_path / "safe" / "cas" / "root.key").exists()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").touch()
    with pytest.raises(ConfigError, match="not empty"):
        init(tmp_path / "other", "--offline", str(tmp_path / "taken"))
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("profile", "arguments"),
    [
        ("etsi", (*NAMES, *PUBLISHED, *PROXY, "--policy-oid", OWN)),
        ("etsi", (*NAMES, *PUBLISHED, *PROXY, "--timestamp-policy", OWN, "--algorithm", "ecdsa-p384")),
        ("csbr", PUBLISHED),
        ("sigstore", ()),
        ("acrobat", PUBLISHED),
    ],
)
def test_a_chain_for_a_profile_passes_its_rules(tmp_path: Path, profile: str, arguments: tuple[str, ...]) -> None:
    result = init(tmp_path / "tsa", "--profile", profile, *arguments)
    assert result.exit_code == 0, result.output
    chain = load_chain(tmp_path / "tsa" / "chain.pem")
    case = ChainCase(certificates=chain.certificates, at=chain.leaf.not_valid_before_utc)
    assert [finding for finding in judge(case, [profile]) if finding.outcome is Outcome.FAIL] == []


def test_what_a_profile_needs_is_named_at_once(tmp_path: Path) -> None:
    result = init(tmp_path / "tsa", "--profile", "etsi")
    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    assert "--profile etsi needs --org NAME; --country CC; --publish-at URL" in said
    assert "--public-url https://..., where clients reach the server" in said
    plain = ("--public-url", "http://tsa.example.com", "--policy-oid", OWN)
    assert "needs --public-url https" in init(tmp_path / "tsa", "--profile", "etsi", *NAMES, *PUBLISHED, *plain).stderr
    result = init(tmp_path / "tsa", "--profile", "etsi", *NAMES, *PUBLISHED, *PROXY)
    assert "needs the OID of the certificate policy" in " ".join(result.stderr.split())
    assert not (tmp_path / "tsa").exists()


@pytest.fixture(scope="module")
def chronyd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chronyd]:
    """A chronyd that follows another one, as the monitor of what `init` writes asks for."""
    folder = tmp_path_factory.mktemp("chronyd")
    with Chronyd(folder / "server") as server, Chronyd(folder / "client", follows=server.port) as client:
        yield client


@pytest.mark.plugin("chrony", "auditfile")
@pytest.mark.parametrize(
    ("profiles", "arguments"),
    [
        (["etsi"], (*PROXY, "--policy-oid", OWN)),
        (["csbr"], ()),
        (["sigstore"], ()),
        (["etsi", "csbr", "sigstore", "acrobat"], (*PROXY, "--timestamp-policy", OWN)),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
def test_the_server_enforces_the_profile_and_what_was_written_passes_check(
    tmp_path: Path, profiles: list[str], arguments: tuple[str, ...], chronyd: Chronyd
) -> None:
    asked = [argument for name in profiles for argument in ("--profile", name)]
    assert init(tmp_path / "tsa", *asked, *NAMES, *PUBLISHED, *arguments).exit_code == 0
    variables = {"TSA_CLOCK__CHRONY__ADDRESS": "127.0.0.1", "TSA_CLOCK__CHRONY__PORT": str(chronyd.command_port)}
    command = ("check", "--config", tmp_path / "tsa" / "tsa.toml", "--json")
    checked: dict[str, Any] = {}

    def passes() -> bool:
        result = run_command(*command, environ=variables if profiles != ["sigstore"] else {})
        assert result.returncode in {0, 1}, result.stderr
        checked.update(json.loads(result.stdout))
        return result.returncode == 0

    wait_until(passes, seconds=60, what="the clock of what init wrote was trusted")
    demands = {each["rule"]: each["outcome"] for each in checked["conformance"]}
    assert set(demands) == {rule.name for name in profiles if name in CONFORMANCE for rule in CONFORMANCE[name].rules}
    assert "fail" not in demands.values()


def test_where_no_chronyd_can_be_asked_time_servers_are(tmp_path: Path) -> None:
    csbr = ("--profile", "csbr", *PUBLISHED)
    assert init(tmp_path / "tsa", "--for", "container", *csbr).exit_code == 0
    settings = load_settings(tmp_path / "tsa" / "tsa.toml", environ={})
    assert settings.clock.monitors == ["ntp"]
    assert settings.audit.plugin_table("auditfile") == {"path": "/var/lib/tsa/audit.jsonl"}


@pytest.mark.plugin("ntp", "auditsql")
@pytest.mark.parametrize(
    ("profile", "arguments"),
    [("etsi", (*NAMES, *PUBLISHED, *PROXY, "--policy-oid", OWN)), ("csbr", PUBLISHED)],
)
def test_pods_enforce_the_profile_with_a_trail_in_a_database(
    tmp_path: Path, profile: str, arguments: tuple[str, ...]
) -> None:
    result = init(tmp_path / "tsa", "--for", "kubernetes", "--profile", profile, *arguments)
    assert result.exit_code == 0, result.output
    made = configuration(tmp_path / "tsa" / "kubernetes" / "tsa.toml")
    assert made["profiles"]["default"]["conformance"] == [profile]
    assert made["clock"]["monitors"] == ["ntp"]
    assert made["audit"] == {"sinks": ["auditsql"], "auditsql": {"url": {"file": "/audit/database-url"}}}
    assert made["server"].get("public_url") == (PROXY[1] if profile == "etsi" else None)
    # The file is where the pods have the Secret that is to be made.
    assert "create secret generic tsa-audit --from-file=database-url" in result.stderr
    pod = yaml.safe_load((DEPLOY / "kubernetes" / "deployment.yaml").read_text(encoding="utf-8"))["spec"]["template"]
    [volume] = [each for each in pod["spec"]["volumes"] if each["name"] == "audit"]
    assert volume["secret"]["secretName"] == "tsa-audit"
    [mount] = [each for each in pod["spec"]["containers"][0]["volumeMounts"] if each["name"] == "audit"]
    assert mount["mountPath"] == "/audit"


def test_pods_enforce_what_demands_neither_clock_monitor_nor_trail(tmp_path: Path) -> None:
    result = init(tmp_path / "tsa", "--for", "kubernetes", "--profile", "sigstore")
    made = configuration(tmp_path / "tsa" / "kubernetes" / "tsa.toml")
    assert made["profiles"]["default"]["conformance"] == ["sigstore"]
    assert "audit" not in made
    assert "tsa-audit" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*PROXY, "--private-key-days", "9000"), "etsi-private-key-usage-period: "),
        ((*PROXY, "--timestamp-policy", DEFAULT_POLICY), "etsi-policy: "),
        (("--public-url", 'https://x"\nport = 1'), "server.public_url"),
    ],
)
def test_settings_that_the_server_would_refuse_are_not_written(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        init(tmp_path / "tsa", "--profile", "etsi", *NAMES, *PUBLISHED, "--policy-oid", OWN, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_chain_that_cannot_pass_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(TsaError, match="csbr-key: "):
        init(tmp_path / "tsa", "--profile", "csbr", *PUBLISHED, "--algorithm", "ed25519")
    assert list(tmp_path.iterdir()) == []


def test_whose_policy_tokens_state_is_said(tmp_path: Path) -> None:
    assert f"tokens state the policy {DEFAULT_POLICY}, which is Sigstore's" in init(tmp_path / "a").stderr
    result = init(tmp_path / "b", "--timestamp-policy", "uuid")
    assert "Sigstore's" not in result.stderr
    etsi = (*NAMES, *PUBLISHED, *PROXY, "--policy-oid", OWN)
    assert "0.4.0.2023.1.1, which is that of EN 319 421" in init(tmp_path / "d", "--profile", "etsi", *etsi).stderr
    settings = load_settings(tmp_path / "b" / "tsa.toml", environ={})
    assert settings.profiles["default"].policies[0].startswith("2.25.")
    assert init(tmp_path / "c", "--timestamp-policy", "mine").exit_code == 2


@pytest.mark.plugin("memory")
def test_help_says_to_try_what_works(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Try it: 'timestamp-server serve'" in CliRunner().invoke(server, ["--help"]).output
    found = plugin_commands.names_in_metadata()
    del found["tsa_core.plugins"]["memory"]
    monkeypatch.setattr(plugin_commands, "names_in_metadata", lambda: found)
    without = " ".join(CliRunner().invoke(server, ["--help"]).output.split())
    assert "Try it" not in without
    assert "Begin with 'timestamp-server init ./tsa'" in without
