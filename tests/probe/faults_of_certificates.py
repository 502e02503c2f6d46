"""Faults of certificates and of the clock."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.probe.fault import add, fault
from tests.probe.faulty_authority import (
    CHAIN,
    NOW,
    FaultyAuthority,
    make_signer,
    revocation,
)
from tsa_core.protocol.signatures import signature_algorithm
from tsa_core.testing.forged_pki import Extension, ca_extensions, key_usage, make_chain, make_key, timestamping

_DAY: Final = timedelta(days=1)


# --- Certificates


def _certified(fails: str, name: str, *extensions: Extension, **arguments: Any) -> None:
    def put(authority: FaultyAuthority) -> None:
        authority.signer = make_signer(extensions=extensions or None, **arguments)

    add(fails, name, put)


_PURPOSES: Final = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING])
_SIGN: Final = key_usage(sign=True)
_certified("extended-key-usage verifies path", "eku_not_critical", timestamping(critical=False), _SIGN, revocation())
_certified("extended-key-usage verifies path", "eku_for_more", (_PURPOSES, True), _SIGN, revocation())
_certified("extended-key-usage verifies path", "no_eku", _SIGN, revocation())
_certified("no-ca verifies key-usage path", "ca_as_signer", timestamping(), *ca_extensions(), revocation())
_certified("key-usage", "no_key_usage", timestamping(), revocation())
_certified("key-usage", "key_usage_for_more", timestamping(), key_usage(sign=True, crls=True), revocation())
_certified("certificate-valid path", "certificate_ended", days=-1)
_certified("certificate-valid path", "certificate_not_begun", begins=NOW + _DAY)
_certified("certificate-lifetime", "certificate_ends_soon", days=9)
_certified("key-future", "rsa_2048_for_long", kind="rsa2048", days=365 * 6)
_certified("revocation-pointers", "nothing_about_revocation", timestamping(), _SIGN)


@fault("key-strength verifies path")
def rsa_1024(authority: FaultyAuthority) -> None:
    authority.signer = make_signer("rsa1024")
    # Its algorithm is that of any RSA key; for so short a one nobody gives it.
    algorithm = signature_algorithm(make_key("rsa2048").public_key())
    authority.token = lambda _request, parts: parts.update(algorithm=algorithm)


@fault("chain-signatures")
def issuer_of_the_same_name(authority: FaultyAuthority) -> None:
    authority.certificates = sorted([authority.signer.der, make_chain().intermediate.der])


@fault("chain-included")
def leaf_alone(authority: FaultyAuthority) -> None:
    authority.certificates = [authority.signer.der]


@fault("root-left-out")
def root_included(authority: FaultyAuthority) -> None:
    authority.certificates = sorted([authority.signer.der, CHAIN.intermediate.der, CHAIN.root.der])


@fault("unrelated-certificates")
def unrelated_certificate(authority: FaultyAuthority) -> None:
    authority.certificates = sorted([authority.signer.der, CHAIN.intermediate.der, CHAIN.signer.der])


@fault("path")
def another_root(authority: FaultyAuthority) -> None:
    other = make_chain()
    authority.signer = make_signer(chain=other)
    authority.certificates = sorted([authority.signer.der, other.intermediate.der])


# --- The clock


def _clock(fails: str, name: str, by: timedelta) -> None:
    def put(authority: FaultyAuthority) -> None:
        now = authority.now
        authority.now = lambda: now() + by

    add(fails, name, put)


_clock("clock-window clock-accuracy", "an_hour_ahead", timedelta(hours=1))
_clock("clock-window clock-accuracy", "an_hour_behind", timedelta(hours=-1))
_clock("clock-accuracy", "a_minute_ahead", timedelta(minutes=1))
_clock("clock-accuracy", "a_minute_behind", timedelta(minutes=-1))


@fault("clock-forward clock-accuracy")
def goes_back(authority: FaultyAuthority) -> None:
    steps = iter(range(0, -10_000, -3))
    now = authority.now
    authority.now = lambda: now() + timedelta(seconds=next(steps))
