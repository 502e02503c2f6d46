"""deploy/Dockerfile and docker-compose.yml: what they promise, as far as no container daemon is needed to see it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.tls_material import TlsMaterial
from tsa_backends.commands import run_command
from tsa_core.testing import ServerProcess, missing

from .packages import import_package

yaml = import_package("yaml", install="PyYAML")

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, with continued lines joined."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split(None, 1)[0], line.split(None, 1)[1].strip()) for line in lines if line.strip()]


def last_stage() -> dict[str, str]:
    found = instructions()
    begins = max(number for number, (word, _) in enumerate(found) if word == "FROM")
    return dict(found[begins:])


def test_image_is_built_in_stages_and_runs_without_rights() -> None:
    stages = [rest for word, rest in instructions() if word == "FROM"]
    assert stages == ["${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE}"]
    user, group = last_stage()["USER"].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert "COPY --from=build /app /app" in [f"{word} {rest}" for word, rest in instructions()]
    assert last_stage()["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(last_stage()["ENTRYPOINT"]) == ["entrypoint"]
    assert last_stage()["COPY"] == "--chmod=755 deploy/entrypoint.sh /app/bin/entrypoint"
    assert json.loads(last_stage()["CMD"]) == ["serve"]


@pytest.mark.parametrize(
    ("arguments", "started"),
    [
        (["serve", "--port", "0"], ["timestamp-server", "serve", "--port", "0"]),
        (["timestamp-server", "serve", "--host=a b"], ["timestamp-server", "serve", "--host=a b"]),
        (["--log-type", "prod", "serve"], ["timestamp-server", "--log-type", "prod", "serve"]),
        (["timestamp-cli", "version"], ["timestamp-cli", "version"]),
        (["fetch-tsa-certs", "-output", "x"], ["fetch-tsa-certs", "-output", "x"]),
        (["certificate-maker", "create"], ["certificate-maker", "create"]),
        ([], ["timestamp-server"]),
    ],
)
def test_the_image_runs_the_server_with_its_name_or_without(
    tmp_path: Path, arguments: list[str], started: list[str]
) -> None:
    for name in ("timestamp-server", "timestamp-cli", "fetch-tsa-certs", "certificate-maker"):
        (tmp_path / name).write_text('#!/bin/sh\nfor word in "${0##*/}" "$@"; do echo "$word"; done\n')
        (tmp_path / name).chmod(0o755)
    script = DEPLOY / "entrypoint.sh"
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([script, *arguments], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == started


def test_everything_that_is_copied_is_there_and_reaches_the_builder() -> None:
    sources = [
        source
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
        if not source.startswith("--")
    ]
    kept = {
        line[1:]
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    assert set(sources) == kept
    assert all((ROOT / source).exists() for source in sources)


def test_plugins_of_the_image_are_in_the_repository() -> None:
    arguments = dict(rest.split("=", 1) for word, rest in instructions() if word == "ARG")
    plugins = arguments["PLUGINS"].strip('"').split()
    assert {"signer-memory", "signer-file", "audit-file"} <= set(plugins)
    assert [name for name in plugins if not (ROOT / "plugins" / f"tsa-{name}" / "pyproject.toml").is_file()] == []


def image_environment() -> dict[str, str]:
    """The variables of ours that the image sets."""
    return dict(re.findall(r"(TSA_\w+)=(\S+)", last_stage()["ENV"]))


@pytest.mark.plugin("memory")
def test_default_command_makes_no_key_that_nobody_asked_for() -> None:
    command, environ = json.loads(last_stage()["CMD"]), image_environment()
    assert command == ["serve"]
    for given in ({}, {"TSA_PROFILES__DEFAULT__ACCURACY": "1s"}):
        refused = run_command(*command, environ={**environ, **given})
        assert refused.returncode == 2
        assert "ask for such a key by name: --timestamp-signer memory" in refused.stderr
    asked = [*command, "--timestamp-signer", "memory"]
    assert asked == compose()["services"]["tsa"]["command"]
    with ServerProcess(None, *asked[1:], "--port", "0", "--metrics-port", "0", environ=environ) as server:
        assert server.get("/ping").status == 200


@pytest.mark.plugin("memory")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_health_check_tells_a_server_that_can_issue_from_one_that_is_not_there(tmp_path: Path, scheme: str) -> None:
    """By the configuration alone, which says where and how the server listens."""
    words = last_stage()["HEALTHCHECK"].partition(" CMD ")[2]
    program, *command = json.loads(words)
    assert program == "timestamp-server"
    certificate, key = TlsMaterial(tmp_path).write("server")
    tls = f'schemes = ["https"]\ntls_certificate = "{certificate}"\ntls_key = "{key}"\n' if scheme == "https" else ""
    config = tmp_path / "tsa.toml"
    config.write_text(f'[server]\n{tls}[profiles.default]\nsigner = "memory:"\n')
    port = "--tls-port" if tls else "--port"
    environ = {"TSA_CONFIG": str(config)}
    with ServerProcess(config, port, "0") as server:
        environ[f"TSA_SERVER__{port[2:].replace('-', '_').upper()}"] = str(server.address(scheme)[1])
        healthy = run_command(*command, environ=environ)
        assert (healthy.returncode, healthy.stdout) == (0, ""), healthy.stderr
    assert run_command(*command, environ=environ).returncode == 1


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text(encoding="utf-8"))
    return document


def test_compose_serves_with_the_memory_signer_on_this_machine_alone() -> None:
    service = compose()["services"]["tsa"]
    assert (DEPLOY / service["build"]["context"]).resolve() == ROOT
    assert (ROOT / service["build"]["dockerfile"]).is_file()
    assert service["command"] == ["serve", "--timestamp-signer", "memory"]
    assert service["ports"] == ["127.0.0.1:3000:3000"]
    assert "environment" not in service
    assert "volumes" not in service


def test_compose_takes_away_what_the_server_does_not_need() -> None:
    service = compose()["services"]["tsa"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["stop_grace_period"].removesuffix("s")) > 15  # [server] graceful_timeout


def test_compose_itself_accepts_the_file() -> None:
    command = compose_program()
    result = subprocess.run(
        [*command, "-f", str(DEPLOY / "docker-compose.yml"), "config"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert re.search(r"^\s+tsa:", result.stdout, re.MULTILINE)


def compose_program() -> list[str]:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            tried = subprocess.run([*command, "version"], capture_output=True, check=False)
            if tried.returncode == 0:
                return command
    return missing("there is neither `docker compose` nor docker-compose")
