"""timestamp-server renew: the next key and certificate, in use without a moment in which nothing serves."""

from __future__ import annotations

import itertools
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tsa_backends.softhsm import PIN, SoftHsm
from tsa_core.api import ConfigError, TsaError
from tsa_core.authority import load_chain
from tsa_core.cli import renewal
from tsa_core.cli.fetch_tsa_certs import fetch_tsa_certs
from tsa_core.cli.server_group import server
from tsa_core.config import load_settings
from tsa_core.service import Service
from tsa_core.testing import ServerProcess, encode_request
from tsa_core.verify import TrustStore, verify_response

pytestmark = pytest.mark.plugin("file")

PUBLISHED = ("--publish-at", "http://pki.example.com", "--policy-oid", "1.3.6.1.4.1.99999.1")


def command(*arguments: object) -> Result:
    return CliRunner().invoke(server, list(map(str, arguments)), catch_exceptions=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made") / "tsa"
    result = command("init", directory, "--org", "Example Ltd", "--country", "DE", *PUBLISHED)
    assert result.exit_code == 0, result.output
    return directory


@pytest.fixture
def authority(made: Path, tmp_path: Path) -> Path:
    """An authority that `init` made."""
    return Path(shutil.copytree(made, tmp_path / "tsa"))


def renew(authority: Path, *arguments: object) -> Result:
    return command("renew", "--config", authority / "tsa.toml", *arguments)


def leaf_in_use(authority: Path) -> x509.Certificate:
    """Open what the configuration names, as a server does, and return the certificate that it would sign with."""
    with Service(load_settings(authority / "tsa.toml", environ={}), checking=True) as service:
        [profile] = service.authority.profiles.values()
        profile.trial_signature()
        return profile.chain.leaf


def test_a_running_server_signs_with_the_next_key_and_when_it_refuses_nothing_has_changed(authority: Path) -> None:
    trust = TrustStore.from_chain((authority / "root.pem").read_bytes())
    first = leaf_in_use(authority)
    with ServerProcess(authority / "tsa.toml") as running:
        before = running.stamp(encode_request(b"before"))
        result = renew(authority, "--offline", authority / "offline")
        assert result.exit_code == 0, result.output
        assert "reloaded: profile default: new certificate" in result.stdout
        assert "Destroy the former key" in result.stderr
        after = running.stamp(encode_request(b"after"))
        chains = running.get("/api/v1/timestamp/certchain?all=true").body
        assert chains.count(b"BEGIN CERTIFICATE") == 6
        second = leaf_in_use(authority)
        assert second.public_key() != first.public_key()

        # The server reads the whole file again, and nobody has this sink.
        refused = (authority / "tsa.toml").read_bytes() + b'\n[audit]\nsinks = ["nosuch"]\n'
        (authority / "tsa.toml").write_bytes(refused)
        result = renew(authority, "--offline", authority / "offline")
        assert result.exit_code == 1, result.output
        assert "the server refused" in result.stderr
        assert (authority / "tsa.toml").read_bytes() == refused
        still = running.stamp(encode_request(b"still"))
    for reply, artifact in ((before, b"before"), (after, b"after"), (still, b"still")):
        verify_response(reply.body, artifact=artifact, trust=trust)


def test_the_next_certificate_says_what_the_present_one_says(authority: Path) -> None:
    first = leaf_in_use(authority)
    assert renew(authority, "--offline", authority / "offline").exit_code == 0
    second = leaf_in_use(authority)
    assert (second.subject, second.issuer) == (first.subject, first.issuer)
    for kind in (x509.CRLDistributionPoints, x509.AuthorityInformationAccess, x509.CertificatePolicies):
        found = [each.extensions.get_extension_for_class(kind).value for each in (first, second)]
        assert found[0] == found[1]
    lengths = [each.not_valid_after_utc - each.not_valid_before_utc for each in (first, second)]
    assert lengths[0] == lengths[1]
    periods = [each.extensions.get_extension_for_class(x509.PrivateKeyUsagePeriod).value for each in (first, second)]
    uses = [period.not_after - period.not_before for period in periods if period.not_after and period.not_before]
    assert uses[0] == uses[1]
    for name in ("tsa-2.key", "tsa.key", "tsa.toml"):
        assert stat.S_IMODE((authority / name).stat().st_mode) == 0o600
    text = (authority / "tsa.toml").read_text()
    assert "# Made by `timestamp-server init`" in text
    assert renew(authority, "--offline", authority / "offline", "--common-name", "TSU 3").exit_code == 0
    assert "CN=TSU 3" in leaf_in_use(authority).subject.rfc4514_string()
    assert 'signer = "file:tsa-3.key"' in (authority / "tsa.toml").read_text()


class Killed(BaseException):
    """The process ends here."""


def test_wherever_it_is_killed_the_configuration_serves(authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before and after every write and every other step."""
    (authority / "state").mkdir()
    deadly = {"step": 0, "taken": 0, "after": False}

    def mortal(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            deadly["taken"] += 1
            if deadly["taken"] == deadly["step"] and not deadly["after"]:
                raise Killed
            result = function(*arguments, **named)
            if deadly["taken"] == deadly["step"]:
                raise Killed
            return result

        return call

    for name in ("write_file", "store_chain", "check", "next_chain"):
        monkeypatch.setattr(renewal, name, mortal(getattr(renewal, name)))
    first, in_use = leaf_in_use(authority), []
    for step, after in itertools.product(range(1, 7), (False, True)):
        shutil.rmtree(authority / "state")
        (authority / "state").mkdir()
        deadly.update(step=step, taken=0, after=after)
        with pytest.raises(Killed):
            renew(authority, "--offline", authority / "offline")
        in_use.append(leaf_in_use(authority))
    assert in_use[:-1] == [first] * 11
    assert in_use[-1] != first
    deadly.update(step=0, taken=0)
    assert renew(authority, "--offline", authority / "offline").exit_code == 0
    assert deadly["taken"] == 6, "another step is to be died at"
    assert leaf_in_use(authority) not in in_use


def test_step_by_step_no_key_travels(authority: Path, tmp_path: Path) -> None:
    away = tmp_path / "away"
    (authority / "offline").rename(away)
    first = leaf_in_use(authority)
    request, chain = tmp_path / "tsa.csr", tmp_path / "next.pem"
    asked = renew(authority, "--csr-out", request)
    assert asked.exit_code == 0, asked.output
    assert leaf_in_use(authority) == first
    again = renew(authority, "--csr-out", request)
    assert (again.exit_code, again.stdout.partition(":")[0]) == (3, "nothing to do")
    issued = command("renew", "--offline", away, "--csr-in", request, "--chain-out", chain)
    assert issued.exit_code == 0, issued.output
    done = renew(authority, "--chain-in", chain, "--profile", "etsi")
    assert done.exit_code == 0, done.output
    assert leaf_in_use(authority) == load_chain(chain).leaf
    assert 'signer = "file:tsa-2.key"' in (authority / "tsa.toml").read_text()
    last_year = request.read_bytes()
    assert renew(authority, "--csr-out", request).exit_code == 0
    assert request.read_bytes() != last_year
    with pytest.raises(ConfigError, match="is no request for a key that waits here"):
        renew(authority, "--csr-out", _other_request(tmp_path))
    with pytest.raises(ConfigError, match="no certificate in it is for one of the keys that wait"):
        renew(authority, "--chain-in", authority / "chain.pem", "--key", "file:tsa-2.key")


def _other_request(tmp_path: Path) -> Path:
    path = tmp_path / "other.csr"
    command("init", tmp_path / "other")
    assert renew(tmp_path / "other", "--csr-out", path).exit_code == 0
    return path


def test_a_timer_does_nothing_until_it_is_time(authority: Path) -> None:
    early = renew(authority, "--days-before", "30", "--offline", authority / "offline")
    assert early.exit_code == 3
    assert early.stdout.startswith("nothing to do: the key of the profile default signs until ")
    assert not (authority / "tsa-2.key").exists()
    assert renew(authority, "--days-before", "400", "--offline", authority / "offline").exit_code == 0
    assert (authority / "tsa-2.key").exists()


def test_the_issuers_key_may_be_anywhere(authority: Path) -> None:
    with (authority / "tsa.toml").open("a") as stream:
        stream.write('\n[certificate_signer.file]\npassword = { file = "offline/password" }\n')
    key = authority / "offline" / "intermediate.key"
    first = leaf_in_use(authority)
    result = renew(authority, "--ca-key", f"file:{key}", "--algorithm", "ecdsa-p384")
    assert result.exit_code == 0, result.output
    assert leaf_in_use(authority).issuer == first.issuer
    with pytest.raises(ConfigError, match="is for another key"):
        renew(authority, "--ca-key", f"file:{authority / 'offline' / 'root.key'}")


def test_a_kubernetes_secret_gets_the_next_key_and_chain(tmp_path: Path) -> None:
    command("init", tmp_path / "tsa", "--for", "kubernetes", "--kubernetes-secret", "tsa-server-secret")
    assert renew(tmp_path / "tsa", "--offline", tmp_path / "tsa" / "offline").exit_code == 0
    for file, key, chain, name in (
        ("kubernetes/secret.yaml", "key.pem", "chain.pem", "tsa-signer"),
        ("secret.yaml", "private", "chain", "tsa-server-secret"),
    ):
        secret = yaml.safe_load((tmp_path / "tsa" / file).read_text())
        assert secret["metadata"]["name"] == name
        assert secret["stringData"][key] == (tmp_path / "tsa" / "tsa-2.key").read_text()
        assert secret["stringData"][chain] == (tmp_path / "tsa" / "chain-2.pem").read_text()


def test_a_certificate_that_breaks_the_rules_is_not_used(tmp_path: Path) -> None:
    command("init", tmp_path / "tsa")
    before = (tmp_path / "tsa" / "tsa.toml").read_bytes()
    with pytest.raises(TsaError, match="etsi-country"):
        renew(tmp_path / "tsa", "--offline", tmp_path / "tsa" / "offline", "--profile", "etsi")
    assert (tmp_path / "tsa" / "tsa.toml").read_bytes() == before


def test_a_certificate_that_the_server_would_refuse_is_not_used(tmp_path: Path) -> None:
    command("init", tmp_path / "tsa")
    config = tmp_path / "tsa" / "tsa.toml"
    before = config.read_text().replace("[profiles.default]", '[profiles.default]\nconformance = ["etsi", "sigstore"]')
    config.write_text(before)
    with pytest.raises(
        TsaError, match=r"profiles\.default\.certificate_chain: .*\(etsi-country: EN 319 422 6\.2"
    ) as told:
        renew(tmp_path / "tsa", "--offline", tmp_path / "tsa" / "offline")
    assert "sigstore" not in str(told.value)
    assert config.read_text() == before


def test_two_renewals_at_once_are_refused(authority: Path) -> None:
    with renewal.alone(authority), pytest.raises(ConfigError, match="another renewal is at work"):
        renew(authority, "--offline", authority / "offline")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which key issues? Give --offline DIRECTORY or --ca-key URI"),
        (["--days-before", "30"], "which key issues?"),
        (["--csr-out", "a", "--chain-in", "b"], "three steps"),
        (["--csr-in", "a"], "go together"),
        (["--csr-out", "a", "--ca-key", "file:x"], "need no key of a CA"),
        (["--offline", ".", "--ca-key", "file:x"], "give one"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = renew(tmp_path, *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_what_renew_cannot_change_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command("init", tmp_path / "tsa")
    offline = tmp_path / "tsa" / "offline"
    with pytest.raises(ConfigError, match="there is no profile 'other'"):
        renew(tmp_path / "tsa", "--of", "other", "--offline", offline)
    monkeypatch.setenv("TSA_PROFILES__DEFAULT__SIGNER", "file:other.key")
    with pytest.raises(ConfigError, match="a variable or a flag names another signer"):
        renew(tmp_path / "tsa", "--offline", offline)


@pytest.mark.plugin("pkcs11")
def test_keys_in_tokens_issue_and_are_renewed(tmp_path: Path, softhsm: SoftHsm) -> None:
    """The next key is made in its token; the CA's key is in another one and issues from there."""
    pin, config, chain = tmp_path / "pin", tmp_path / "tsa.toml", tmp_path / "chain.pem"
    pin.write_text(f"{PIN}\n")
    own, issuers = softhsm.make_token("renewed"), softhsm.make_token("issuers")
    first, second = softhsm.make_key(own, "tsa"), softhsm.make_key(own, "tsa-next", "ecdsa-p384")
    softhsm.make_key(issuers, "ca", "rsa-2048")

    def uri(token: str, name: str) -> str:
        return f"pkcs11:token={token};object={name}?pin-source={pin}"

    config.write_text(
        f'[profiles.default]\nsigner = "{uri(own, "tsa")}"\ncertificate_chain = "chain.pem"\n'
        f'[signer.pkcs11]\nmodule = "{softhsm.module}"\n'
    )
    arguments = ["--config", config, "--leaf-kms-resource", uri(own, "tsa"), "--output", chain]
    arguments += ["--parent-kms-resource", uri(issuers, "ca"), "--private-key-days", "396"]
    made = CliRunner().invoke(fetch_tsa_certs, list(map(str, arguments)), catch_exceptions=False)
    assert made.exit_code == 0, made.output
    assert leaf_in_use(tmp_path).public_key() == first
    result = renew(tmp_path, "--key", uri(own, "tsa-next"), "--ca-key", uri(issuers, "ca"))
    assert result.exit_code == 0, result.output
    assert leaf_in_use(tmp_path).public_key() == second
    assert PIN not in result.output
    assert "Destroy" not in result.stderr
    with pytest.raises(ConfigError, match="the next key is the one that signs now"):
        renew(tmp_path, "--key", uri(own, "tsa-next"), "--ca-key", uri(issuers, "ca"))
    with pytest.raises(ConfigError, match=r"the key is pkcs11's: make the next one there, then name it with --key"):
        renew(tmp_path, "--ca-key", uri(issuers, "ca"))


@pytest.mark.parametrize(
    ("octets", "others", "said"),
    [
        # An intermediate's key on a curve that nobody knows, and a private key usage period that is no sequence.
        (bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d03017f"), None),
        (bytes.fromhex("0603551d10"), None, "the private key usage period is malformed"),
    ],
    ids=["key", "period"],
)
def test_a_chain_that_no_server_takes_is_told_and_no_crash(
    authority: Path, tmp_path: Path, octets: bytes, others: bytes | None, said: str | None
) -> None:
    config = authority / "tsa.toml"
    config.write_text(config.read_text().replace("[profiles.default]", '[profiles.default]\nconformance = ["etsi"]'))
    path = authority / "chain.pem"
    leaf, *parents = [each.public_bytes(Encoding.DER) for each in x509.load_pem_x509_certificates(path.read_bytes())]
    if others is not None:
        parents = [each.replace(octets, others) for each in parents]
    else:
        at = leaf.index(octets) + len(octets)
        value = leaf.index(b"\x30", at)
        leaf = leaf[:value] + b"\x31" + leaf[value + 1 :]
    damaged = [x509.load_der_x509_certificate(each) for each in (leaf, *parents)]
    path.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in damaged))
    if said is None:
        assert renew(authority, "--days-before", "30", "--csr-out", tmp_path / "next.csr").exit_code == 3
    else:
        with pytest.raises(ConfigError, match=said):
            renew(authority, "--days-before", "30", "--csr-out", tmp_path / "next.csr")
