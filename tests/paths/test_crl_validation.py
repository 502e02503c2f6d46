"""CRL validation by RFC 5280 6.3: which lists count, and what they say of a certificate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.paths.revocation_material import (
    AFTER,
    BEFORE,
    CA,
    COMPROMISED,
    DAY,
    GEN_TIME,
    HOLD,
    KEY_COMPROMISE,
    NOW,
    RECENTLY,
    REMOVE,
    SIGNER,
    SUPERSEDED,
    check,
    good,
    path_of,
    prepared,
    revoking,
)
from tsa_core.paths.errors import CertificateRevoked, RevocationUnknown
from tsa_core.paths.findings import RevocationStatus
from tsa_core.paths.revocation import Revocation
from tsa_core.protocol import der
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import (
    issue,
    name,
    signer_extensions,
)
from tsa_core.testing.forged_revocation import NO_END, entry, keeps_expired, pem, scope


def test_a_current_crl_covers_and_says_where_it_came_from() -> None:
    signer, intermediate = check(("a.crl", good()))
    assert signer.status is RevocationStatus.GOOD
    (evidence,) = signer.evidence
    assert (evidence.kind, evidence.source, evidence.this_update) == ("CRL", "a.crl", RECENTLY)
    assert intermediate.status is RevocationStatus.NOT_CHECKED
    assert "is by another issuer" in intermediate.detail


# --- the moment of verification ---


def test_v18_a_crl_that_ended_before_the_moment_of_verification_is_stale() -> None:
    ended = good(this_update=GEN_TIME, next_update=GEN_TIME + 7 * DAY)
    with pytest.raises(RevocationUnknown, match=r"the CRL old\.crl is stale"):
        check(("old.crl", ended))
    assert check(ended, at=GEN_TIME + 7 * DAY)[0].status is RevocationStatus.GOOD


def test_a_crl_of_the_future_proves_nothing() -> None:
    with pytest.raises(RevocationUnknown, match="after"):
        check(good(this_update=NOW + DAY))
    assert check(good(this_update=NOW + timedelta(minutes=4)))[0].evidence  # clocks differ


def test_a_stale_crl_still_revokes() -> None:
    with pytest.raises(CertificateRevoked):
        check(revoking(this_update=GEN_TIME, next_update=GEN_TIME + DAY), good())


def test_a_crl_without_an_end_has_an_age_limit() -> None:
    without_end = good(this_update=NOW - 8 * DAY, next_update=NO_END)
    with pytest.raises(RevocationUnknown, match="older than 7 days"):
        check(without_end)
    assert check(without_end, max_age=timedelta(days=9))[0].evidence
    assert check(good(this_update=NOW - 6 * DAY, next_update=NO_END))[0].evidence
    with pytest.raises(ValueError, match="age"):
        Revocation(max_age=timedelta(0))


def test_the_moment_must_be_aware() -> None:
    with pytest.raises(TypeError, match="aware"):
        check(good(), at=datetime(2025, 1, 1))  # noqa: DTZ001 - the point of the test


def test_without_a_moment_it_is_now() -> None:
    now = datetime.now(UTC)
    path = path_of(SIGNER)
    assert Revocation.from_files([good(this_update=now - DAY)]).check(path, GEN_TIME)[0].evidence
    with pytest.raises(RevocationUnknown, match="stale"):
        Revocation.from_files([good(this_update=now - 8 * DAY)]).check(path, GEN_TIME)


def test_v18_a_crl_made_after_the_certificates_end_proves_nothing() -> None:
    short = issue("Short", issuer=CA, extensions=signer_extensions(), not_after=GEN_TIME + 10 * DAY)
    path = path_of(short)
    with pytest.raises(RevocationUnknown, match="does not say that it keeps"):
        check(good(), path=path)
    assert check(good(this_update=GEN_TIME + 9 * DAY, next_update=NOW), path=path)[0].evidence
    assert check(good(extensions=[keeps_expired(GEN_TIME)]), path=path)[0].evidence
    with pytest.raises(RevocationUnknown, match="keeps"):
        check(good(extensions=[keeps_expired(GEN_TIME + 11 * DAY)]), path=path)
    with pytest.raises(CertificateRevoked):
        check(revoking(entry(short, AFTER, KEY_COMPROMISE)), path=path)
    assert check(revoking(entry(short, AFTER, SUPERSEDED)), path=path)[0].status is RevocationStatus.REVOKED_LATER


def test_a_delta_crl_does_not_keep_the_ended_certificates_that_its_base_dropped() -> None:
    short = issue("Short", issuer=CA, extensions=signer_extensions(), not_after=GEN_TIME + 10 * DAY)
    path, keeps = path_of(short), [keeps_expired(GEN_TIME)]
    delta = {"number": 6, "base_number": 5}
    with pytest.raises(RevocationUnknown, match="does not say that it keeps"):
        check(good(number=5), good(extensions=keeps, **delta), path=path)
    assert check(good(number=5, extensions=keeps), good(**delta), path=path)[0].evidence


# --- entries ---


@pytest.mark.parametrize("reversed_order", [False, True])
def test_v18_every_crl_of_a_pem_file_is_read(reversed_order: bool) -> None:
    lists = [good(), revoking()]
    with pytest.raises(CertificateRevoked, match=r"both\.pem"):
        check(("both.pem", pem(*(lists[::-1] if reversed_order else lists))))


def test_v18_every_entry_of_a_serial_number_is_judged() -> None:
    later, earlier = entry(SIGNER, AFTER, SUPERSEDED), entry(SIGNER, BEFORE, KEY_COMPROMISE)
    for order in ((later, earlier), (earlier, later)):
        with pytest.raises(CertificateRevoked, match="keyCompromise"):
            check(revoking(*order))
    assert check(revoking(later))[0].status is RevocationStatus.REVOKED_LATER


def test_a_padded_serial_number_is_found() -> None:
    number = der.integer(SIGNER.certificate.serial_number)
    padded = der.sequence(der.tlv(der.INTEGER, b"\x00" + number[2:]), COMPROMISED[2 + len(number) :])
    assert padded != COMPROMISED
    with pytest.raises(CertificateRevoked):
        check(revoking(padded))


def test_an_invalidity_date_before_gen_time_revokes() -> None:
    with pytest.raises(CertificateRevoked, match="invalid since"):
        check(revoking(entry(SIGNER, AFTER, SUPERSEDED, invalid_since=BEFORE)))
    assert check(revoking(entry(SIGNER, AFTER + DAY, SUPERSEDED, invalid_since=AFTER)))[0].detail


def test_the_accuracy_counts_against_the_revocation_date() -> None:
    revoked = revoking(entry(SIGNER, GEN_TIME + timedelta(seconds=2), SUPERSEDED))
    assert check(revoked, latest=GEN_TIME + timedelta(seconds=1))[0].detail
    with pytest.raises(CertificateRevoked):
        check(revoked, latest=GEN_TIME + timedelta(seconds=2))


UNKNOWN_CRITICAL = forge.extension("1.2.3.4", critical=True)


def test_an_unknown_critical_entry_extension_spoils_the_list() -> None:
    other = entry(4711, BEFORE, extensions=[UNKNOWN_CRITICAL])
    with pytest.raises(RevocationUnknown, match=r"entry with an unknown critical extension, 1\.2\.3\.4"):
        check(revoking(other))
    with pytest.raises(CertificateRevoked):
        check(revoking(entry(SIGNER, AFTER, SUPERSEDED, extensions=[UNKNOWN_CRITICAL])))
    with pytest.raises(CertificateRevoked):
        check(revoking(other, COMPROMISED))


def test_an_entry_that_cannot_be_read_revokes() -> None:
    unreadable = forge.extension("2.5.29.21", b"\x0a\x02\x00\x04")
    with pytest.raises(CertificateRevoked):
        check(revoking(entry(SIGNER, AFTER, extensions=[unreadable])))


def test_an_unknown_critical_extension_of_the_list() -> None:
    with pytest.raises(RevocationUnknown, match=r"unknown critical extension, 1\.2\.3\.4"):
        check(good(extensions=[UNKNOWN_CRITICAL]))
    with pytest.raises(CertificateRevoked):
        check(revoking(extensions=[UNKNOWN_CRITICAL]))
    assert check(good(extensions=[forge.extension("1.2.3.4")]))[0].evidence


# --- holds and delta CRLs ---


def test_a_hold_ends_when_a_newer_list_has_no_entry() -> None:
    held = revoking(entry(SIGNER, BEFORE, HOLD), this_update=RECENTLY - DAY)
    with pytest.raises(CertificateRevoked, match="certificateHold"):
        check(held)
    assert check(held, good())[0].status is RevocationStatus.GOOD
    with pytest.raises(CertificateRevoked):
        check(held, good(this_update=RECENTLY - 2 * DAY))


def test_only_a_hold_ends() -> None:
    with pytest.raises(CertificateRevoked):
        check(revoking(this_update=RECENTLY - DAY), good())


BASE: dict[str, Any] = {"number": 5, "this_update": RECENTLY - 5 * DAY}
DELTA: dict[str, Any] = {"number": 7, "base_number": 4}


def test_v18_a_delta_crl_revokes_what_its_base_does_not() -> None:
    with pytest.raises(CertificateRevoked):
        check(good(**BASE), revoking(**DELTA))
    signer, _ = check(good(**BASE), good(**DELTA))
    assert [evidence.kind for evidence in signer.evidence] == ["delta CRL"]


def test_a_delta_crl_carries_its_base_on() -> None:
    ended: dict[str, Any] = {**BASE, "next_update": RECENTLY - DAY}
    with pytest.raises(RevocationUnknown, match="stale"):
        check(good(**ended))
    assert check(good(**ended), good(**DELTA))[0].evidence


@pytest.mark.parametrize(
    "delta",
    [
        {"number": 7, "base_number": 6},
        {"number": 5, "base_number": 4},
        {"number": None, "base_number": 4},
        {"number": 7, "base_number": 4, "extensions": [scope(only_contains_user_certs=True)]},
        {"number": 7, "base_number": 4, "this_update": GEN_TIME},
    ],
    ids=["for a later base", "not newer", "without a number", "of another scope", "stale"],
)
def test_a_delta_crl_that_does_not_continue_the_base(delta: dict[str, Any]) -> None:
    with pytest.raises(RevocationUnknown):
        check(good(**BASE, next_update=RECENTLY - DAY), good(**delta))


def test_a_delta_crl_alone_proves_nothing_but_a_revocation() -> None:
    with pytest.raises(RevocationUnknown, match="without the base"):
        check(good(**DELTA))
    with pytest.raises(CertificateRevoked):
        check(revoking(**DELTA))


def test_remove_from_crl_ends_a_hold_and_nothing_else() -> None:
    removed = revoking(entry(SIGNER, BEFORE, REMOVE), **DELTA)
    assert check(revoking(entry(SIGNER, BEFORE, HOLD), **BASE), removed)[0].status is RevocationStatus.GOOD
    with pytest.raises(CertificateRevoked):
        check(revoking(**BASE), removed)


# --- reading ---


def test_names_of_the_issuer_that_differ_in_case_and_spaces_only() -> None:
    written = name("  INTERMEDIATE ")
    assert prepared(CA).subject != written.public_bytes()
    assert check(good(name=written.public_bytes()))[0].evidence


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (good(version=b"\x02\x01\x02"), "version"),
        (good(extensions=[forge.extension("2.5.29.20", der.integer(1))]), "appears twice"),
        (good() + b"\x00", "follow"),
        (good()[:-1], ""),
        (b"", ""),
        (b"-----BEGIN X509 CRL-----\nAAA", "without an end"),
        (b"-----BEGIN X509 CRL-----\n!\n-----END X509 CRL-----\n", "base64"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no X509 CRL"),
    ],
)
def test_v18_what_cannot_be_read_is_named(data: bytes, why: str) -> None:
    with pytest.raises(RevocationUnknown, match=r"the CRL bad\.crl cannot be read: .*" + why):
        check(("bad.crl", data))


def test_a_crl_of_the_first_version() -> None:
    assert check(good(version=b"", number=None))[0].evidence
