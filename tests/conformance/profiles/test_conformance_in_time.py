"""Demands that time alone breaks: the profile then issues nothing, and /readyz says why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from tests.certs.chains_to_break import DAY, NOW
from tests.conformance.profiles.conforming import Conforming
from tsa_core.api import ConfigError, PKIFailureInfo, RequestContext
from tsa_core.cli.renewal import Present
from tsa_core.paths.algorithm_ends import TS_119_312_ENDS, AlgorithmEnd, Use, matches
from tsa_core.service import Service
from tsa_core.testing import encode_request


def failure(service: Service) -> PKIFailureInfo | None:
    reply = service.authority.respond(encode_request(b"x"), RequestContext())
    return reply.rejection.failure if reply.rejection else None


def why_not_ready(service: Service) -> str:
    return next(
        check.reason for check in service.readiness() if check.name == "certificate:default" and not check.healthy
    )


def months_later(start: datetime, months: int) -> datetime:
    years, month = divmod(start.month - 1 + months, 12)
    return start.replace(year=start.year + years, month=month + 1, day=min(start.day, 28))


def test_a_key_is_used_for_15_months() -> None:
    conforming = Conforming()
    conforming.chain[0].drop(x509.PrivateKeyUsagePeriod)
    begin = conforming.chain[0].not_before = (NOW - 100 * DAY).replace(day=5)
    for part in conforming.chain[1:]:
        part.not_before = NOW - 200 * DAY
    with conforming.open("csbr") as service:
        profile = service.authority.profiles["default"]
        last = months_later(begin, 15)
        assert profile.not_after == last
        conforming.time.set(last)
        assert failure(service) is None
        conforming.time.set(last + timedelta(seconds=1))
        assert failure(service) is PKIFailureInfo.SYSTEM_FAILURE
        assert why_not_ready(service) == "the use of the private key for 15 months (CSBR 6.3.2) is over"
    with conforming.open() as service:
        assert failure(service) is None


def test_a_renewal_counts_to_the_same_end() -> None:
    conforming = Conforming()
    conforming.chain[0].drop(x509.PrivateKeyUsagePeriod)
    with conforming.open("csbr") as service:
        profile = service.authority.profiles["default"]
        present = Present(
            config=Path("tsa.toml"),
            profile="default",
            settings=service.settings,
            signer="test:p256",
            chain_name="chain.pem",
            chain=profile.chain,
        )
        assert present.ends() == profile.not_after < min(c.not_valid_after_utc for c in profile.chain.certificates)


def test_a_private_key_usage_period_that_ends_earlier_holds() -> None:
    conforming = Conforming()
    with conforming.open("etsi", "csbr") as service:
        assert service.authority.profiles["default"].not_after == NOW + 300 * DAY
        conforming.time.set(NOW + 301 * DAY)
        assert failure(service) is PKIFailureInfo.SYSTEM_FAILURE
        assert "private key usage period" in why_not_ready(service)


def test_an_algorithm_that_ends_stops_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    end = AlgorithmEnd(algorithm="ecdsa", until=NOW + 20 * DAY, source="a standard of the future")
    monkeypatch.setattr("tsa_core.conformance.etsi.TS_119_312_ENDS", (end,))
    conforming = Conforming()
    with conforming.open("etsi") as service:
        conforming.time.set(NOW + 20 * DAY)
        assert failure(service) is None
        conforming.time.set(NOW + 20 * DAY + timedelta(seconds=1))
        assert failure(service) is PKIFailureInfo.SYSTEM_FAILURE
        reason = why_not_ready(service)
    assert reason.startswith("the strength of ecdsa in the key of ")
    assert "by a standard of the future" in reason
    monkeypatch.setattr(
        "tsa_core.conformance.etsi.TS_119_312_ENDS",
        (AlgorithmEnd(algorithm="ecdsa", until=NOW - DAY, source="a standard of the past"),),
    )
    with pytest.raises(ConfigError, match=r"a standard of the past\); take a stronger key .* \(etsi-algorithm-end: "):
        conforming.open("etsi")


def test_the_table_of_ends_is_that_of_ts_119_312() -> None:
    def end(algorithm: str, bits: int | None) -> datetime | None:
        use = Use(algorithm, bits, "")
        return next((each.until for each in TS_119_312_ENDS if matches(use, each)), None)

    assert end("rsa", 2048) == datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert end("rsa", 3072) is None
    assert end("ecdsa", 224) == datetime(2021, 9, 30, 23, 59, 59, tzinfo=UTC)
    assert end("ecdsa", 256) is None
    assert end("sha1", None) == datetime(2012, 7, 31, 23, 59, 59, tzinfo=UTC)
    assert end("sha256", None) is None


def test_a_reload_that_breaks_a_demand_keeps_the_old_service() -> None:
    conforming = Conforming()
    with conforming.open("etsi") as service:
        broken = service.settings.model_copy(
            update={"clock": service.settings.clock.model_copy(update={"on_failure": "warn"})}
        )
        with pytest.raises(ConfigError, match=r"clock\.on_failure: .* \(etsi-clock-gate: "):
            Service(broken, previous=service, host=None)
        assert failure(service) is None
