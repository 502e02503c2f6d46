"""timestamp-server trusted-root and signing-config, and the route: documents that Sigstore's own clients load."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.rotation import Identity, TsaDirectory
from tests.serving import running_server
from tsa_backends.commands import run_command
from tsa_core.service.material import store_chain
from tsa_core.service.published import published_authorities
from tsa_core.testing import encode_request
from tsa_core.verify import TrustStore, Verifier

ROUTE = "/api/v1/timestamp/trusted_root.json"


def test_the_route_has_what_verifies_the_servers_tokens() -> None:
    with running_server() as server:
        answer = server.request("GET", ROUTE)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        again = server.request("GET", ROUTE, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status, again.body) == (304, b"")
        head = server.request("HEAD", ROUTE)
        assert (head.status, head.body) == (200, b"")
        reply = server.post(encode_request(b"hello")).body
    Verifier(TrustStore.from_trusted_root(answer.body)).verify_response(reply, artifact=b"hello")


@pytest.mark.plugin("file")
def test_former_chains_are_trusted_until_their_keys_could_no_longer_be_used(tmp_path: Path) -> None:
    tsa = TsaDirectory(tmp_path, server='state_directory = "state"')
    former = (tmp_path / "chain.pem").read_bytes()
    store_chain(tmp_path / "state" / "chains" / "default", former)
    tsa.write(Identity())
    done = run_command("trusted-root", "--config", str(tsa.config), "--uri", "https://tsa.example.org", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [present, past] = json.loads(done.stdout)["timestampAuthorities"]
    assert present["uri"] == past["uri"] == "https://tsa.example.org/api/v1/timestamp"
    assert "end" not in present["validFor"]
    [_, expected] = published_authorities((tmp_path / "chain.pem").read_bytes(), [former])
    assert expected.ended is not None
    assert past["validFor"]["end"] == expected.ended.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert len(TrustStore.from_trusted_root(done.stdout.encode()).authorities) == 2


@pytest.mark.plugin("memory")
def test_a_key_that_is_made_at_every_start_is_not_published(tmp_path: Path) -> None:
    done = run_command("trusted-root", cwd=tmp_path)
    assert done.returncode == 2
    assert "profiles.default" in done.stderr
    assert "there is nothing to trust" in done.stderr


@pytest.mark.parametrize("uri", ["https://user:secret@tsa.example.org", "https://user@tsa.example.org/tsr"])
def test_no_password_is_published(tmp_path: Path, uri: str) -> None:
    done = run_command("signing-config", "--uri", uri, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "leave them out" in done.stderr
    assert "secret" not in done.stderr


def test_an_unknown_profile_is_named(tmp_path: Path) -> None:
    done = run_command("trusted-root", "--profile", "nobody", cwd=tmp_path)
    assert (done.returncode, "there is no profile 'nobody'" in done.stderr) == (2, True)


@pytest.mark.package("sigstore")
@pytest.mark.package("rfc3161_client")
def test_sigstore_python_verifies_with_the_document(tmp_path: Path) -> None:
    """As sigstore-python does it in its verifier, with its own classes."""
    from rfc3161_client import VerifierBuilder, decode_timestamp_response
    from sigstore.models import TrustedRoot

    with running_server() as server:
        (tmp_path / "root.json").write_bytes(server.request("GET", ROUTE).body)
        reply = server.post(encode_request(b"hello")).body
    [authority] = TrustedRoot.from_file(str(tmp_path / "root.json")).get_timestamp_authorities()
    signer, *intermediates, root = authority.certificates(allow_expired=True)
    builder = VerifierBuilder().tsa_certificate(signer).add_root_certificate(root)
    for certificate in intermediates:
        builder = builder.add_intermediate_certificate(certificate)
    response = decode_timestamp_response(reply)
    builder.build().verify_message(response, b"hello")
    assert authority.validity_period_start <= response.tst_info.gen_time
    assert authority.validity_period_end is None


@pytest.mark.package("sigstore")
def test_sigstore_python_reads_the_signing_config(tmp_path: Path) -> None:
    from sigstore.models import SigningConfig

    service = {"majorApiVersion": 1, "validFor": {"start": "2022-01-01T00:00:00Z"}, "operator": "example.org"}
    base = {
        "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
        "caUrls": [{"url": "https://ca.example.org", **service}],
        "oidcUrls": [],
        "rekorTlogUrls": [{"url": "https://log.example.org", **service}],
        "rekorTlogConfig": {"selector": "ANY"},
        "tsaUrls": [{"url": "https://former.example.org/api/v1/timestamp", **service}],
    }
    (tmp_path / "base.json").write_text(json.dumps(base), encoding="utf-8")
    flags = ("--uri", "https://tsa.example.org", "--operator", "example.org", "--base", "base.json")
    done = run_command("signing-config", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "ours.json").write_text(done.stdout, encoding="utf-8")
    [tsa] = SigningConfig.from_file(str(tmp_path / "ours.json")).get_tsas()
    assert tsa.url == "https://tsa.example.org/api/v1/timestamp"


def test_a_base_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text("{}", encoding="utf-8")
    done = run_command("signing-config", "--uri", "https://tsa.example.org", "--base", "base.json", cwd=tmp_path)
    assert (done.returncode, "base.json: it is no JSON whose mediaType" in done.stderr) == (2, True), done.stderr
