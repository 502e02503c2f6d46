"""Every flag of the reference system's server reaches a setting here, and a server starts with all of them.

`reference_values.json` has values for this test for each of the reference's flags; several values are several uses.
"""

from __future__ import annotations

import http.client
import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from tests import pki
from tests.tls_material import TlsMaterial
from tsa_core.cli.serve import serve
from tsa_core.cli.settings_flags import overrides
from tsa_core.config import load_settings
from tsa_core.protocol.hashes import SHA256
from tsa_core.protocol.request import encode_request
from tsa_core.testing import ServerProcess

FLAGS: dict[str, list[str]] = json.loads(Path(__file__).with_name("reference_values.json").read_text())
KNOWN = {name for parameter in serve.params for name in parameter.opts}
TINK = frozenset({"--tink-key-resource", "--tink-keyset-path", "--tink-hcvault-token"})
APART = frozenset({"--kms-key-resource", "--disable-ntp-monitoring", *TINK})
"""Flags that cannot stand beside others of the table: another key, and no NTP beside NTP."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the placeholders in the table stand for."""
    folder = tmp_path_factory.mktemp("flags")
    tls = TlsMaterial(folder)
    certificate, tls_key = tls.write("server")
    (folder / "key.pem").write_bytes(
        pki.key("p256").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
    )
    (folder / "chain.pem").write_bytes(pki.pem(pki.chain("p256")))
    (folder / "tsa.toml").write_text("[server]\nthreads = 3\nprofiling_port = 0\n")
    (folder / "ntp.yaml").write_text(
        "servers: [127.0.0.1]\nnum_servers: 1\nserver_threshold: 1\nrequest_timeout: 1\nmax_time_delta: 2\n"
    )
    return {
        "config": str(folder / "tsa.toml"),
        "key": str(folder / "key.pem"),
        "keyset": str(folder / "keyset.json"),
        "chain": str(folder / "chain.pem"),
        "ntp": str(folder / "ntp.yaml"),
        "socket": str(folder / "tsa.sock"),
        "certificate": str(certificate),
        "tls_key": str(tls_key),
        "ca": str(tls.ca),
    }


def written(name: str, files: dict[str, str]) -> list[str]:
    """Return a flag as it is written on a command line."""
    values = [value.format(**files) for value in FLAGS[name]]
    if not values:
        return [name]
    if values[0].startswith("="):
        return [name + values[0]]
    return [word for value in values for word in (name, value)]


def parse(arguments: list[str]) -> dict[str, Any]:
    context = serve.make_context("serve", list(arguments))  # click empties it
    return overrides(context.params)


def test_there_are_values_for_every_flag_of_the_reference() -> None:
    table = json.loads(Path(__file__).with_name("reference_commands.json").read_text())
    assert set(FLAGS) == set(table["commands"]["timestamp-server"])


@pytest.mark.parametrize("name", sorted(set(FLAGS) - {"--config"}))
def test_each_flag_reaches_a_setting(name: str, files: dict[str, str]) -> None:
    companions = {
        "--timestamp-signer": ["--file-signer-key-path"],
        "--tink-key-resource": ["--tink-keyset-path"],
        "--tink-keyset-path": ["--tink-key-resource"],
        "--tink-hcvault-token": ["--tink-keyset-path", "--tink-key-resource"],
    }
    others = [word for other in companions.get(name, ()) for word in written(other, files)]
    with_flag = parse([*others, *written(name, files)])
    # The signer's kind alone is what its key path means, too.
    assert with_flag != parse(others) or name == "--timestamp-signer"
    assert with_flag


@pytest.mark.plugin("file", "ntp")
def test_a_server_starts_with_all_of_them_at_once(files: dict[str, str], tmp_path: Path) -> None:
    arguments = [word for name in FLAGS if name not in APART for word in written(name, files)]
    settings = load_settings(Path(files["config"]), overrides=parse(arguments), environ={})
    assert settings.server.threads == 3, "the file counts where no flag is given"
    assert settings.server.max_header_size == 1_000_000
    with ServerProcess(None, *arguments, wait_for="profiling on http://127.0.0.1") as server:
        connection = http.client.HTTPConnection(*server.address("http"), timeout=30)
        connection.request("GET", "/ping")
        assert connection.getresponse().read() == b"."
        # --http-ping-only is among the flags.
        connection.request("POST", "/api/v1/timestamp", encode_request(algorithm=SHA256, digest=bytes(32)))
        assert connection.getresponse().status == 404
        connection.close()
        assert Path(files["socket"]).is_socket()


@pytest.mark.plugin("memory", "ntp")
def test_the_flags_that_stand_alone_start_a_server_too(files: dict[str, str]) -> None:
    with ServerProcess(
        None,
        "--port",
        "0",
        "--kms-key-resource",
        "memory:",
        "--ntp-monitoring",
        files["ntp"],
        "--disable-ntp-monitoring",
    ) as server:
        connection = http.client.HTTPConnection(*server.address("http"), timeout=30)
        connection.request("GET", "/readyz")
        assert connection.getresponse().status == 200
        connection.close()


def test_help_shows_every_flag_in_a_group() -> None:
    text = serve.get_help(click.Context(serve, info_name="serve"))
    options, _, rest = text.partition("\nKey and certificate:")
    assert rest
    assert "Others:" not in text
    for name in KNOWN - {"--config", "--help", "-h", "--log_type"}:
        assert name in rest, name
    assert "--log_type" not in text
    assert set(re.findall(r"--[a-z-]+", options.rpartition("\nOptions:")[2])) == {"--config", "--help"}
