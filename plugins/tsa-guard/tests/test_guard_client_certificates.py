"""Client certificates: from trusted proxies alone, of the right issuer, for clients, valid, and not revoked."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import permutations
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import ValidationError

from tsa_core.api import ConfigError, GuardRefusal, Identity
from tsa_core.testing import shared_key, wait_until
from tsa_guard import client_certificates
from tsa_guard.guard import open_guard
from tsa_guard.options import GuardOptions

from .test_guard_keys import add, ask, opened, refusal

PROXY = "10.0.0.5"
KEY: Any = shared_key("ecdsa-p256")
OTHER_KEY: Any = shared_key("ecdsa-p384")
NOW = datetime.now(UTC)
CA_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Clients CA")])


def issue(
    subject: str = "CN=build server,O=acme",
    *,
    days: int = 30,
    begun: int = 1,
    usage: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.CLIENT_AUTH,
    ca: bool = False,
    serial: int = 7,
    issuer: x509.Name = CA_NAME,
    key: Any = KEY,
    of: Any = KEY,
    names: x509.SubjectAlternativeName | None = None,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name.from_rfc4514_string(subject))
        .issuer_name(issuer)
        .public_key(of.public_key())
        .serial_number(serial)
        .not_valid_before(NOW - timedelta(days=begun))
        .not_valid_after(NOW + timedelta(days=days))
    )
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if ca:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256())


CA = issue("CN=Clients CA", ca=True, usage=None)


def revocation_list(
    *serials: int, key: Any = KEY, hours: int = 24, issuer: x509.Name = CA_NAME, partial: bool = False
) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer)
        .last_update(NOW - timedelta(days=2))
        .next_update(NOW + timedelta(hours=hours))
    )
    for serial in serials:
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - timedelta(hours=1))
        builder = builder.add_revoked_certificate(revoked.build())
    if partial:
        only = x509.IssuingDistributionPoint(
            full_name=None,
            relative_name=None,
            only_contains_user_certs=False,
            only_contains_ca_certs=True,
            only_some_reasons=None,
            indirect_crl=False,
            only_contains_attribute_certs=False,
        )
        builder = builder.add_extension(only, critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def as_nginx(certificate: x509.Certificate) -> str:
    return quote(certificate.public_bytes(Encoding.PEM))


def as_haproxy(certificate: x509.Certificate) -> str:
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()


@pytest.fixture
def table(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "ca.pem").write_bytes(CA.public_bytes(Encoding.PEM))
    return {"ca": str(tmp_path / "ca.pem"), "trusted_proxies": [PROXY, "unix", "2001:db8::/32"]}


@pytest.mark.parametrize("write", [as_nginx, as_haproxy])
@pytest.mark.parametrize("proxy", [PROXY, f"::ffff:{PROXY}", "unix", "2001:db8::7"])
def test_a_certificate_from_a_trusted_proxy(write: Any, proxy: str, table: dict[str, Any]) -> None:
    with opened(client_certificates=table) as guard:
        for _ in range(2):
            answer = ask(guard, proxy, X_SSL_Client_Cert=write(issue()))
            assert answer == Identity(name="build server", how="client-certificate")


@pytest.mark.parametrize("peer", ["10.0.0.6", "192.0.2.1", "", "localhost", "2001:db9::1"])
def test_nobody_else_can_say_so(peer: str, table: dict[str, Any]) -> None:
    with opened(client_certificates=table) as guard:
        assert "API key" in refusal(ask(guard, peer, X_SSL_Client_Cert=as_nginx(issue())), 401)


def test_the_subject_names_the_tenant(table: dict[str, Any]) -> None:
    with opened(client_certificates={**table, "tenant_from": "O"}, tenants={"acme": {}}) as guard:
        answer = ask(guard, PROXY, X_SSL_Client_Cert=as_nginx(issue()))
        assert answer == Identity(name="build server", tenant="acme", how="client-certificate")
        for subject in ("CN=x", "CN=x,O=a,O=b"):
            assert "has no O, or several" in refusal(ask(guard, PROXY, X_SSL_Client_Cert=as_nginx(issue(subject))), 401)
        refusal(ask(guard, PROXY, X_SSL_Client_Cert=as_nginx(issue("CN=x,O=evil"))), 403)


def test_a_subject_without_common_name(table: dict[str, Any]) -> None:
    with opened(client_certificates=table) as guard:
        answer = ask(guard, PROXY, X_SSL_Client_Cert=as_nginx(issue("OU=builds,O=acme")))
        assert answer == Identity(name="OU=builds,O=acme", how="client-certificate")


@pytest.mark.parametrize(
    ("certificate", "said"),
    [
        (issue(days=-1, begun=30), "not valid now"),
        (issue(begun=-1), "not valid now"),
        (issue(key=OTHER_KEY), "another issuer"),
        (issue(issuer=x509.Name.from_rfc4514_string("CN=Evil CA")), "another issuer"),
        (issue(usage=ExtendedKeyUsageOID.SERVER_AUTH), "not for clients"),
        (issue(ca=True), "is a CA's"),
        (issue("CN=\u00e9"), "cannot be logged"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_other_certificate_counts(certificate: x509.Certificate, said: str, table: dict[str, Any]) -> None:
    with opened(client_certificates=table) as guard:
        assert said in refusal(ask(guard, PROXY, X_SSL_Client_Cert=as_nginx(certificate)), 401)


@pytest.mark.parametrize("text", ["x", "%2d%2d%2d%2d%2d", "-----BEGIN CERTIFICATE-----", "AAAA", "x" * 20_000, "%ff"])
def test_a_header_that_is_no_certificate(text: str, table: dict[str, Any]) -> None:
    with opened(client_certificates=table) as guard:
        refusal(ask(guard, PROXY, X_SSL_Client_Cert=text), 401)


@pytest.mark.parametrize("between", [",", ", "])
@pytest.mark.parametrize(("sent", "added"), [(as_nginx, as_nginx), (as_nginx, as_haproxy), (as_haproxy, as_nginx)])
def test_a_certificate_that_a_client_sent_before_that_of_its_proxy_is_none(
    sent: Any, added: Any, between: str, table: dict[str, Any]
) -> None:
    """A proxy that adds its header to the client's, in place of overwriting it: whose certificate is it?"""
    header = sent(issue("CN=somebody else")) + between + added(issue())
    with opened(client_certificates=table) as guard:
        assert "must overwrite" in refusal(ask(guard, PROXY, X_SSL_Client_Cert=header), 401)


def test_a_key_goes_before_a_certificate(tmp_path: Path, table: dict[str, Any]) -> None:
    key = add(tmp_path / "keys.jsonl", name="by key")
    with opened(client_certificates=table, keys=str(tmp_path / "keys.jsonl")) as guard:
        answer = ask(guard, PROXY, X_SSL_Client_Cert=as_nginx(issue()), X_API_Key=key)
        assert answer == Identity(name="by key", how="api-key")


def test_a_revoked_certificate_opens_nothing_from_the_moment_its_list_is_there(
    tmp_path: Path, table: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    crl = tmp_path / "clients.crl"
    crl.write_bytes(revocation_list(8))
    header = as_nginx(issue())
    with opened(client_certificates={**table, "crls": [str(crl)]}) as guard:
        assert isinstance(ask(guard, PROXY, X_SSL_Client_Cert=header), Identity)
        assert "revoked" in refusal(ask(guard, PROXY, X_SSL_Client_Cert=as_nginx(issue(serial=8))), 401)
        crl.write_bytes(revocation_list(8, key=OTHER_KEY))
        wait_until(lambda: "stay as they were" in caplog.text, seconds=60, what="the log says it")
        assert isinstance(ask(guard, PROXY, X_SSL_Client_Cert=header), Identity)
        crl.write_bytes(revocation_list(7))
        wait_until(
            lambda: isinstance(ask(guard, PROXY, X_SSL_Client_Cert=header), GuardRefusal),
            seconds=60,
            what="the certificate is revoked",
        )


def test_a_list_that_is_out_of_date_lets_nobody_in(tmp_path: Path, table: dict[str, Any]) -> None:
    crl = tmp_path / "clients.crl"
    crl.write_bytes(revocation_list(hours=-1))
    with opened(client_certificates={**table, "crls": [str(crl)]}) as guard:
        assert "out of date" in refusal(ask(guard, PROXY, X_SSL_Client_Cert=as_nginx(issue())), 401)


def test_a_certificate_that_was_checked_counts_no_longer_than_its_issuer(
    tmp_path: Path, table: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = issue("CN=Clients CA", ca=True, usage=None, days=1)
    (tmp_path / "ca.pem").write_bytes(ca.public_bytes(Encoding.PEM))
    header = as_nginx(issue(days=30))
    with opened(client_certificates=table) as guard:
        assert isinstance(ask(guard, PROXY, X_SSL_Client_Cert=header), Identity)
        monkeypatch.setattr(client_certificates, "datetime", _TwoDaysLater)
        assert "another issuer" in refusal(ask(guard, PROXY, X_SSL_Client_Cert=header), 401)


class _TwoDaysLater(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) + timedelta(days=2)


def test_every_list_of_an_issuer_counts(tmp_path: Path, table: dict[str, Any]) -> None:
    """In one file or in several, in any order, and whichever of two keys under one name has signed it."""
    other = issue("CN=Clients CA", ca=True, usage=None, key=OTHER_KEY, of=OTHER_KEY)
    (tmp_path / "ca.pem").write_bytes(CA.public_bytes(Encoding.PEM) + other.public_bytes(Encoding.PEM))
    lists = [revocation_list(), revocation_list(7), revocation_list(8, key=OTHER_KEY)]
    for order in permutations(lists):
        names = [tmp_path / f"{number}.crl" for number in range(3)]
        for name, data in zip(names, order, strict=True):
            name.write_bytes(data)
        (tmp_path / "all.crl").write_bytes(b"a comment\n".join(order))
        for crls in (names, [tmp_path / "all.crl"]):
            with opened(client_certificates={**table, "crls": [str(each) for each in crls]}) as guard:
                for good in (issue(serial=8), issue(serial=7, key=OTHER_KEY)):
                    assert isinstance(ask(guard, PROXY, X_SSL_Client_Cert=as_nginx(good)), Identity)
                for bad in (issue(serial=7), issue(serial=8, key=OTHER_KEY)):
                    assert "revoked" in refusal(ask(guard, PROXY, X_SSL_Client_Cert=as_nginx(bad)), 401)


def test_a_list_of_another_key_of_the_same_name_is_none(tmp_path: Path, table: dict[str, Any]) -> None:
    other = issue("CN=Clients CA", ca=True, usage=None, key=OTHER_KEY, of=OTHER_KEY)
    (tmp_path / "ca.pem").write_bytes(CA.public_bytes(Encoding.PEM) + other.public_bytes(Encoding.PEM))
    (tmp_path / "other.crl").write_bytes(revocation_list(key=OTHER_KEY))
    with opened(client_certificates={**table, "crls": [str(tmp_path / "other.crl")]}) as guard:
        assert "no revocation list" in refusal(ask(guard, PROXY, X_SSL_Client_Cert=as_nginx(issue())), 401)
        good = as_nginx(issue(key=OTHER_KEY))
        assert isinstance(ask(guard, PROXY, X_SSL_Client_Cert=good), Identity)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"nonsense", "no revocation list that can be read"),
        (revocation_list(key=OTHER_KEY), "has signed this"),
        (revocation_list(issuer=x509.Name.from_rfc4514_string("CN=Evil CA")), "has signed this"),
        (revocation_list(partial=True), "not a whole one"),
    ],
)
def test_lists_that_cannot_be_used_are_one_line(data: bytes, said: str, tmp_path: Path, table: dict[str, Any]) -> None:
    crl = tmp_path / "clients.crl"
    crl.write_bytes(data)
    with pytest.raises(ConfigError, match=said) as caught:
        open_guard(GuardOptions.model_validate({"client_certificates": {**table, "crls": [str(crl)]}}))
    assert str(crl) in str(caught.value)


@pytest.mark.parametrize(
    "change", [{"trusted_proxies": [], "header": "X-Cert"}, {"trusted_proxies": ["x"]}, {"header": "a b"}]
)
def test_settings_that_cannot_be_meant(change: dict[str, Any], table: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GuardOptions.model_validate({"client_certificates": {**table, **change}})
