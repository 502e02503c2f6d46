"""No token after the end of a certificate or of the key's usage period, and warnings long before."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.serving import Parts, TestClock, open_service
from tsa_core.api import ConfigError, LocalKeySigner, PKIFailureInfo, PrivateKey, RequestContext
from tsa_core.authority.validity import OF_KEY, issuing_period, private_key_usage_period
from tsa_core.service import CertificateWatch, Service
from tsa_core.testing import Pki, encode_request, new_key

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
PERIOD_OID = x509.ObjectIdentifier("2.5.29.16")


def with_period(pki: Pki, key: PrivateKey, raw: bytes | None, *, not_after: datetime | None = None) -> x509.Certificate:
    """Return a TSA certificate with these bytes as its private key usage period."""
    like = pki.issue(key.public_key(), not_after=not_after)
    builder = (
        x509.CertificateBuilder()
        .subject_name(like.subject)
        .issuer_name(like.issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(like.not_valid_before_utc)
        .not_valid_after(like.not_valid_after_utc)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    )
    if raw is not None:
        builder = builder.add_extension(x509.UnrecognizedExtension(PERIOD_OID, raw), critical=False)
    return builder.sign(pki._issuer_key, hashes.SHA256())


def tlv(tag: int, content: bytes) -> bytes:
    return bytes([tag, len(content)]) + content


def period(begin: datetime | None, end: datetime | None) -> bytes:
    """Return the DER of a PrivateKeyUsagePeriod, written by hand: implicit tags 0 and 1."""
    parts = [(0x80, begin), (0x81, end)]
    return tlv(0x30, b"".join(tlv(tag, f"{time:%Y%m%d%H%M%SZ}".encode()) for tag, time in parts if time))


def opened(tmp_path: Path, certificate: x509.Certificate, pki: Pki, key: PrivateKey, **profile: Any) -> Service:
    clock = TestClock()
    chain = pki.write_chain(tmp_path / "chain.pem", certificate)
    return open_service(
        Parts(signers={"p256": LocalKeySigner(key)}, clock=clock),
        profiles={"default": {"certificate_chain": str(chain), **profile}},
    )


def answer(service: Service, time: datetime) -> PKIFailureInfo | None:
    clock = service.clock.gate.clock
    assert isinstance(clock, TestClock)
    clock.set(time)
    reply = service.authority.respond(encode_request(b"x"), RequestContext())
    return reply.rejection.failure if reply.rejection else None


@pytest.fixture
def pki() -> Pki:
    return Pki(now=NOW)


@pytest.fixture
def key() -> PrivateKey:
    return new_key()


@pytest.mark.parametrize("until", ["key-usage", "certificate"])
def test_the_last_token_is_of_the_last_second(until: str, tmp_path: Path, pki: Pki, key: PrivateKey) -> None:
    key_end, end = NOW + 20 * DAY, NOW + 40 * DAY
    certificate = with_period(pki, key, period(None, key_end), not_after=end)
    last = key_end if until == "key-usage" else end
    with opened(tmp_path, certificate, pki, key, issue_until=until) as service:
        profile = service.authority.profiles["default"]
        assert profile.not_after == last
        assert profile.days_remaining(NOW) == (20 if until == "key-usage" else 40)
        assert answer(service, last) is None
        assert answer(service, last + timedelta(microseconds=1)) is PKIFailureInfo.SYSTEM_FAILURE
        assert answer(service, last + SECOND) is PKIFailureInfo.SYSTEM_FAILURE
        assert answer(service, NOW) is None


def test_the_reply_and_readyz_say_why(
    tmp_path: Path, pki: Pki, key: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = with_period(pki, key, period(None, NOW + DAY))
    with opened(tmp_path, certificate, pki, key) as service:
        clock = service.clock.gate.clock
        assert isinstance(clock, TestClock)
        clock.set(NOW + 2 * DAY)
        reply = service.authority.respond(encode_request(b"x"), RequestContext())
        assert reply.rejection is not None
        assert "private key usage period of the certificate is over" in reply.rejection.text
        profile = service.authority.profiles["default"]
        assert profile.outside_period(NOW + 2 * DAY) == (
            "the private key usage period of the certificate is over or has not begun"
        )
        monkeypatch.setattr(profile, "not_after", NOW - DAY)
        unhealthy = {check.name for check in service.readiness() if not check.healthy}
        assert unhealthy == {"certificate:default"}


def test_readyz_tells_what_is_left(tmp_path: Path, pki: Pki, key: PrivateKey) -> None:
    certificate = with_period(pki, key, None, not_after=NOW + 30 * DAY)
    with opened(tmp_path, certificate, pki, key) as service:
        (check,) = [check for check in service.readiness() if check.name == "certificate:default"]
        assert check.healthy
        assert check.reason == "issues for 29 more days; the validity of the certificates ends then"


@pytest.mark.parametrize(
    ("begin", "end"),
    [(None, NOW - DAY), (NOW + DAY, None), (NOW - 3 * DAY, NOW - 2 * DAY)],
    ids=["over", "not yet", "both"],
)
def test_a_key_outside_its_period_does_not_start(
    begin: datetime | None, end: datetime | None, tmp_path: Path, pki: Pki, key: PrivateKey
) -> None:
    certificate = with_period(pki, key, period(begin, end))
    with pytest.raises(ConfigError, match="private key usage period of the TSA certificate") as caught:
        opened(tmp_path, certificate, pki, key)
    assert "\n" not in str(caught.value)
    opened(tmp_path, certificate, pki, key, issue_until="certificate").close()


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(tlv(0x30, b""), id="neither time"),
        pytest.param(tlv(0x30, tlv(0x81, b"20250101000000.5Z")), id="fraction"),
        pytest.param(tlv(0x30, tlv(0x81, b"202501010000Z")), id="no seconds"),
        pytest.param(tlv(0x30, tlv(0x81, b"20250101000000+0100")), id="zone"),
        pytest.param(tlv(0x30, tlv(0x81, b"20251301000000Z")), id="month 13"),
        pytest.param(tlv(0x30, tlv(0xA1, tlv(0x18, b"20250101000000Z"))), id="explicit tag"),
        pytest.param(tlv(0x30, tlv(0x81, b"20250101000000Z") + tlv(0x80, b"20200101000000Z")), id="order"),
        pytest.param(period(None, NOW) + b"\0", id="trailing byte"),
        pytest.param(b"\x30\x81\x11" + tlv(0x81, b"20300101000000Z"), id="long form length"),
        pytest.param(period(NOW, NOW - DAY), id="ends before it begins"),
    ],
)
def test_a_malformed_usage_period_does_not_start(raw: bytes, tmp_path: Path, pki: Pki, key: PrivateKey) -> None:
    certificate = with_period(pki, key, raw)
    with pytest.raises(ConfigError, match="malformed"):
        opened(tmp_path, certificate, pki, key)


def test_the_narrowest_of_chain_and_key_counts(pki: Pki, key: PrivateKey) -> None:
    certificate = with_period(pki, key, period(NOW - SECOND, NOW + DAY), not_after=NOW + 800 * DAY)
    assert private_key_usage_period(certificate) == (NOW - SECOND, NOW + DAY)
    chain = pki.chain(certificate)
    assert issuing_period(chain, until="key-usage").not_after == NOW + DAY
    assert issuing_period(chain, until="key-usage").not_before == NOW - SECOND
    # The issuers end before this certificate does.
    assert issuing_period(chain, until="certificate").not_after == chain[1].not_valid_after_utc
    assert private_key_usage_period(pki.issue(key.public_key())) == (None, None)


def test_warnings_get_louder(caplog: pytest.LogCaptureFixture) -> None:
    watch = CertificateWatch()
    profiles = [{"name": "default", "issues_until": (NOW + 100 * DAY).isoformat(), "ends_with": OF_KEY}]
    levels = []
    for left in (100, 91, 90, 89, 15, 14, 13, 1, 0.5, -1):
        caplog.clear()
        watch.look(profiles, now=NOW + (100 - left) * DAY)
        levels.append([record.levelno for record in caplog.records])
    # What was said today is not said again, unless it has become more urgent.
    assert levels == [[], [], [logging.WARNING], [], [], [logging.ERROR], [], [logging.CRITICAL], [], []]


def test_the_warning_comes_again_after_a_day(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    time = [1000.0]
    monkeypatch.setattr("tsa_core.service.certificate_watch.monotonic", lambda: time[0])
    watch = CertificateWatch()
    profiles = [{"name": "default", "issues_until": (NOW + 30 * DAY).isoformat(), "ends_with": OF_KEY}]
    for _ in range(3):
        watch.look(profiles, now=NOW)
    assert len(caplog.records) == 1
    assert "stops issuing on" in caplog.text
    assert "in 30 days" in caplog.text
    time[0] += 86_400
    watch.look(profiles, now=NOW + DAY)
    assert len(caplog.records) == 2
    profiles[0]["issues_until"] = (NOW + 20 * DAY).isoformat()  # another certificate, after a reload
    watch.look(profiles, now=NOW + DAY)
    assert len(caplog.records) == 3
