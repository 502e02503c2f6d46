"""Faults in TSTInfo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.probe.fault import add, fault
from tests.probe.faulty_authority import (
    CHAIN,
    NOW,
    FaultyAuthority,
    Fields,
)
from tsa_core.protocol import der, oids
from tsa_core.protocol.request import TimeStampReq
from tsa_core.testing import forge

NULL: Final = der.null()
TRUE: Final = der.boolean(True)


# --- Statements


def _stating(fails: str, name: str, **fields: bytes) -> None:
    def put(authority: FaultyAuthority) -> None:
        authority.statement = lambda _request, found: found.update(fields)

    add(fails, name, put)


def _changing(fails: str, name: str, change: Callable[[TimeStampReq, Fields], None]) -> None:
    def put(authority: FaultyAuthority) -> None:
        authority.statement = change

    add(fails, name, put)


def _named(kind: str, text: bytes) -> bytes:
    return der.sequence(der.oid(kind), der.tlv(der.UTF8_STRING, text))


@fault("readable granted")
def noise_for_tokens(authority: FaultyAuthority) -> None:
    authority.reply = lambda _body: der.sequence(der.sequence(der.integer(0)), der.sequence(der.null()))


_stating("readable verifies path", "version_2", version=der.integer(2))
_stating(
    "imprint verifies path",
    "another_digest",
    imprint=der.sequence(der.sequence(der.oid(oids.SHA256), NULL), der.octet_string(bytes(range(32)))),
)
_changing(
    "imprint-octets",
    "null_for_absent_parameters",
    lambda request, fields: fields.update(
        imprint=der.sequence(der.sequence(request.hash_oid_der, NULL), der.octet_string(request.digest))
    ),
)
_stating("nonce verifies path", "no_nonce", nonce=b"")
_changing(
    "nonce verifies",
    "nonce_cut_to_64_bits",
    lambda request, fields: fields.update(
        nonce=der.integer(request.nonce & (2**64 - 1)) if request.nonce is not None else b""
    ),
)
_stating("nonce-unasked verifies nonce path", "a_nonce_always", nonce=der.integer(5))
_changing(
    "nonce-unasked verifies",
    "a_nonce_with_sha_384",
    lambda request, fields: fields.update(
        nonce=request.nonce_der or (der.integer(5) if len(request.digest) == 48 else b"")
    ),
)
_stating("serial-unique", "one_serial_number", serial=der.integer(77))
_stating("serial-positive", "negative_serial_number", serial=der.integer(-77))
_stating("serial-positive", "serial_number_zero", serial=der.integer(0))
_stating("serial-size", "long_serial_number", serial=der.integer(1 << 161))


@fault("size-stable serial-size")
def sizes_that_vary(authority: FaultyAuthority) -> None:
    sizes = iter(range(1, 100_000, 50))

    def change(request: TimeStampReq, fields: Fields) -> None:
        fields["serial"] = der.integer(1 << 8 * next(sizes))

    authority.statement = change


@fault("gen-time-form")
def trailing_zeros(authority: FaultyAuthority) -> None:
    def change(_request: TimeStampReq, fields: Fields) -> None:
        fields["gen_time"] = der.tlv(0x18, fields["gen_time"][2:-1] + b".500Z")

    authority.statement = change


_stating("readable", "bare_dot", gen_time=der.tlv(0x18, f"{NOW:%Y%m%d%H%M%S}.Z".encode()))
_stating("accuracy-form", "zero_millis", accuracy=der.sequence(der.integer(1), b"\x80\x01\x00"))
_stating("accuracy", "no_accuracy", accuracy=b"")
_stating("accuracy-second", "accuracy_of_a_minute", accuracy=der.sequence(der.integer(60)))
_stating("ordering-form", "ordering_false_written", ordering=der.boolean(False))


@fault("ordering accuracy-second")
def ordered_in_one_second(authority: FaultyAuthority) -> None:
    now = authority.now()
    authority.now = lambda: now
    authority.statement = lambda _request, fields: fields.update(ordering=TRUE, accuracy=der.sequence(der.integer(60)))


_stating(
    "tsa-name verifies path",
    "another_name",
    tsa=der.explicit(0, der.explicit(4, CHAIN.root.certificate.subject.public_bytes())),
)
_stating(
    "statement-der path tsa-name verifies",
    "name_out_of_order",
    tsa=der.explicit(
        0, der.explicit(4, der.sequence(der.tlv(der.SET, _named("2.5.4.10", b"b") + _named("2.5.4.3", b"a"))))
    ),
)
_stating(
    "statement-extensions verifies path",
    "critical_extension_in_the_token",
    extensions=der.tlv(0xA1, forge.extension("1.2.3", critical=True)),
)
