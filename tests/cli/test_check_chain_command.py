"""timestamp-server check-chain as an operator types it."""

from __future__ import annotations

import json
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.paths.encoded_certificates import CA, Extension, encoded
from tsa_core.api import ConfigError
from tsa_core.cli.server_group import server
from tsa_core.conformance.chains import PROFILES, rules_of
from tsa_core.protocol import der
from tsa_core.testing import Pki, shared_key, write_pem


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    return Pki().write_chain(tmp_path / "chain.pem", shared_key("ecdsa-p256").public_key())


def check_chain(*arguments: object) -> Result:
    return CliRunner().invoke(server, ["check-chain", *map(str, arguments)], catch_exceptions=False)


def write_key(path: Path, kind: str = "ecdsa-p256") -> Path:
    path.write_bytes(shared_key(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    return path


def test_a_right_chain_passes_with_exit_code_0(chain: Path) -> None:
    result = check_chain(chain)
    assert result.exit_code == 0, result.output
    outcomes = [line.split("\t")[1] for line in result.stdout.splitlines()]
    assert set(outcomes) == {"pass", "not judged"}


def test_every_rule_of_every_profile_has_a_line(chain: Path) -> None:
    result = check_chain(chain, *(f"--profile={name}" for name in PROFILES))
    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == [rule.name for rule in rules_of(PROFILES)]


def test_a_failed_rule_is_exit_code_1_and_says_why(tmp_path: Path) -> None:
    pki = Pki()
    leaf = pki.issue(shared_key().public_key(), usage_critical=False)
    result = check_chain(write_pem(tmp_path / "chain.pem", pki.chain(leaf)))
    assert result.exit_code == 1
    failed = [line.split("\t") for line in result.stdout.splitlines() if line.split("\t")[1] == "fail"]
    assert [line[0] for line in failed] == ["leaf-usage-critical"]
    assert "is not critical; RFC 3161 2.3 demands it" in failed[0][3]


def test_a_warning_is_no_failure(tmp_path: Path) -> None:
    pki = Pki()
    leaf = pki.issue(shared_key().public_key(), not_after=pki.now + timedelta(days=999))
    result = check_chain(write_pem(tmp_path / "chain.pem", pki.chain(leaf)))
    assert result.exit_code == 0
    assert "leaf-ends-first\twarn" in result.stdout


def test_json_has_every_rule(chain: Path) -> None:
    result = check_chain(chain, "--profile", "etsi", "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 1
    assert document["passed"] is False
    assert document["profiles"] == ["etsi"]
    assert [rule["rule"] for rule in document["rules"]] == [rule.name for rule in rules_of(["etsi"])]
    assert set(document["rules"][0]) == {"rule", "outcome", "level", "clause", "demand", "reason"}
    assert document["certificates"][0] == "CN=Test TSA,O=tsa-core tests"


@pytest.mark.plugin("file")
@pytest.mark.parametrize(("kind", "code", "outcome"), [("ecdsa-p256", 0, "pass"), ("ecdsa-p384", 1, "fail")])
def test_the_key_is_compared_with_the_certificate(
    chain: Path, tmp_path: Path, kind: str, code: int, outcome: str
) -> None:
    result = check_chain(chain, "--key", f"file:{write_key(tmp_path / 'key.pem', kind)}")
    assert result.exit_code == code
    assert f"key-is-the-signers\t{outcome}" in result.stdout


@pytest.mark.plugin("file")
def test_settings_of_the_key_come_from_the_configuration(chain: Path, tmp_path: Path) -> None:
    config = tmp_path / "tsa.toml"
    write_key(tmp_path / "key.pem")
    config.write_text('[profiles.default]\nsigner = "file:key.pem"\nsigner_hash = "sha384"\n')
    result = check_chain(chain, "--key", "file:key.pem", "--config", config, "--profile", "csbr")
    assert "tokens are signed with sha384" in result.stdout


@pytest.mark.parametrize(("digits", "outcome"), [(0, "pass"), (3, "warn"), (6, "warn")])
def test_fraction_digits_come_from_the_profiles_with_this_chain(
    chain: Path, tmp_path: Path, digits: int, outcome: str
) -> None:
    config = tmp_path / "tsa.toml"
    profile = '[profiles.{}]\nsigner = "file:key.pem"\nfraction_digits = {}\ncertificate_chain = "{}"\n'
    config.write_text(profile.format("default", digits, chain) + profile.format("other", 5, "other.pem"))
    result = check_chain(chain, "--config", config, "--profile", "sigstore")
    [line] = [line for line in result.stdout.splitlines() if line.startswith("sigstore-gen-time")]
    assert line.split("\t")[1] == outcome
    assert "fraction_digits = " + str(digits) in line


@pytest.mark.plugin("memory")
def test_a_key_that_is_new_at_every_start_is_refused(chain: Path) -> None:
    with pytest.raises(ConfigError, match="--key: the signer 'memory' makes a key of its own"):
        check_chain(chain, "--key", "memory:")


def test_a_key_without_a_scheme_is_refused_and_not_repeated(chain: Path) -> None:
    with pytest.raises(ConfigError, match="--key: a URI is needed") as caught:
        check_chain(chain, "--key", "hunter2")
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_no_chain_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nope\.pem: the certificate chain cannot be read"):
        check_chain(tmp_path / "nope.pem")
    (tmp_path / "text.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match=r"text\.pem: .*: there is no BEGIN CERTIFICATE in it$"):
        check_chain(tmp_path / "text.pem")


ODD = {
    "notice in Latin-1": Extension(
        "2.5.29.32",
        der.sequence(
            der.sequence(
                der.oid("1.2.3.1"),
                der.sequence(
                    der.sequence(der.oid("1.3.6.1.5.5.7.2.2"), der.sequence(der.tlv(der.UTF8_STRING, b"Erkl\xe4rung")))
                ),
            )
        ),
    ),
    "explicit FALSE": Extension("2.5.29.19", der.sequence(der.boolean(False))),
    "garbage for a key identifier": Extension("2.5.29.14", b"\xff"),
    "X.400 address": Extension("2.5.29.17", der.sequence(der.tlv(0xA3, b""))),
}
TIMESTAMPING = Extension("2.5.29.37", der.sequence(der.oid("1.3.6.1.5.5.7.3.8")), True)


def encoded_chain(path: Path, *extensions: Extension, subject: bytes | str = "Signer", **arguments: Any) -> Path:
    """Write a chain whose first certificate has these extensions."""
    root = encoded("Root", extensions=CA)
    signer = encoded(subject, issuer=root, key_number=1, extensions=(TIMESTAMPING, *extensions), **arguments)
    path.write_text("".join(ssl.DER_cert_to_PEM_cert(certificate.der) for certificate in (signer, root)))
    return path


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_extension_that_is_not_critical_fails_no_rule(odd: str, tmp_path: Path) -> None:
    result = check_chain(encoded_chain(tmp_path / "chain.pem", ODD[odd]))
    assert result.exit_code == 0, result.output


def test_a_critical_extension_that_cannot_be_read_fails_by_name(tmp_path: Path) -> None:
    result = check_chain(encoded_chain(tmp_path / "chain.pem", Extension("2.5.29.31", b"\xff", True)))
    assert result.exit_code == 1
    assert "critical extension 2.5.29.31, which cannot be read" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"extensions": (TIMESTAMPING,)}, r"certificate 1 of the chain cannot be read: .* appears twice"),
        ({"version": 4}, "is not a PEM file of certificates.* not a valid X509 version"),
        ({"subject": der.sequence(der.set_of(der.sequence(der.oid("2.5.4.3"), der.named_bits(1))))}, "cannot be read"),
        ({"serial_number": -1}, None),
    ],
)
def test_a_certificate_that_cannot_be_read_is_one_line(
    arguments: dict[str, Any], reason: str | None, tmp_path: Path
) -> None:
    path = encoded_chain(tmp_path / "chain.pem", *arguments.pop("extensions", ()), **arguments)
    if reason is None:
        result = check_chain(path)
        assert "is not positive" in result.stdout
        assert result.exit_code == 1
        return
    with pytest.raises(ConfigError, match=rf"chain\.pem: .*{reason}") as caught:
        check_chain(path)
    assert str(caught.value).isprintable()
