"""Name constraints of every form (RFC 5280 4.2.1.10): what is within, what is not, and what cannot be compared."""

from __future__ import annotations

import ipaddress

import pytest

from tests.paths.encoded_certificates import (
    CA,
    COMMON_NAME,
    EMAIL_ADDRESS,
    NAME_CONSTRAINTS,
    ORGANIZATION,
    TIME,
    Encoded,
    Extension,
    alternative_names,
    common_name,
    encoded,
    general_name,
    name,
    name_constraints,
)
from tsa_core.paths import names, validation
from tsa_core.paths.errors import PathError
from tsa_core.paths.name_constraints import check_name
from tsa_core.paths.names import GeneralName
from tsa_core.paths.validation import Inputs, validate_path
from tsa_core.protocol import der

ROOT = encoded("Root", extensions=CA)


def validate(*path: Encoded, inputs: Inputs | None = None) -> None:
    validate_path([certificate.path for certificate in path], inputs or Inputs(time=TIME))


def below(constraints: Extension, *alternatives: bytes, subject: bytes | str = "Target") -> None:
    """Validate a target with these alternative names below a CA with these constraints."""
    ca = encoded("CA", issuer=ROOT, key_number=1, extensions=(*CA, constraints))
    extensions = (alternative_names(*alternatives),) if alternatives else ()
    validate(encoded(subject, issuer=ca, key_number=2, extensions=extensions), ca, ROOT)


def address(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def network(text: str) -> bytes:
    parsed = ipaddress.ip_network(text)
    return parsed.network_address.packed + parsed.netmask.packed


WITHIN: list[tuple[int, bytes | str, bytes | str, bool]] = [
    (names.DNS_NAME, "example.org", "example.org", True),
    (names.DNS_NAME, "example.org", "www.Example.ORG", True),
    (names.DNS_NAME, "example.org", "a.b.example.org.", True),
    (names.DNS_NAME, "example.org", "badexample.org", False),
    (names.DNS_NAME, "www.example.org", "example.org", False),
    (names.DNS_NAME, ".example.org", "www.example.org", True),
    (names.DNS_NAME, ".example.org", "example.org", False),
    (names.DNS_NAME, "", "anything.test", True),
    (names.RFC822_NAME, "tsa@example.org", "tsa@EXAMPLE.org", True),
    (names.RFC822_NAME, "tsa@example.org", "TSA@example.org", False),
    (names.RFC822_NAME, "example.org", "tsa@Example.org", True),
    (names.RFC822_NAME, "example.org", "tsa@mail.example.org", False),
    (names.RFC822_NAME, ".example.org", "tsa@mail.example.org", True),
    (names.RFC822_NAME, ".example.org", "tsa@example.org", False),
    (names.URI, "example.org", "https://EXAMPLE.org:8443/tsa", True),
    (names.URI, "example.org", "https://user@example.org/", True),
    (names.URI, "example.org", "https://www.example.org/", False),
    (names.URI, ".example.org", "https://www.example.org/", True),
    (names.URI, ".example.org", "https://example.org/", False),
    (names.IP_ADDRESS, network("192.0.2.0/24"), address("192.0.2.77"), True),
    (names.IP_ADDRESS, network("192.0.2.0/24"), address("192.0.3.1"), False),
    (names.IP_ADDRESS, network("2001:db8::/32"), address("2001:db8::1"), True),
    (names.IP_ADDRESS, network("2001:db8::/32"), address("2001:db9::1"), False),
    (names.IP_ADDRESS, network("0.0.0.0/0"), address("2001:db8::1"), False),
    (names.DIRECTORY_NAME, name((ORGANIZATION, "Tests ")), name((ORGANIZATION, "TESTS"), (COMMON_NAME, "a")), True),
    (names.DIRECTORY_NAME, name((ORGANIZATION, "tests")), name((COMMON_NAME, "a"), (ORGANIZATION, "tests")), False),
    (names.DIRECTORY_NAME, name((ORGANIZATION, "tests")), name(), False),
]


@pytest.mark.parametrize(("form", "tree", "used", "within"), WITHIN)
def test_a_name_is_within_a_subtree_or_not(form: int, tree: bytes | str, used: bytes | str, within: bool) -> None:
    tree, alternative = general_name(form, tree), general_name(form, used)
    allowed = name_constraints(permitted=[tree])
    if form == names.DIRECTORY_NAME:
        allowed = name_constraints(permitted=[tree, general_name(form, common_name("Target"))])
    forbidden = name_constraints(excluded=[tree])
    good, bad = (allowed, forbidden) if within else (forbidden, allowed)
    below(good, alternative)
    with pytest.raises(PathError, match=r"'CN=CA.*' (does not permit|excludes)"):
        below(bad, alternative)


UNSUPPORTED = [
    (names.OTHER_NAME, der.oid("1.2.3.4") + der.explicit(0, der.tlv(der.UTF8_STRING, b"x"))),
    (names.X400_ADDRESS, b""),
    (names.EDI_PARTY_NAME, der.explicit(1, der.tlv(der.UTF8_STRING, b"x"))),
    (names.REGISTERED_ID, der.oid("1.2.3.4")[2:]),
]


@pytest.mark.parametrize(("form", "content"), UNSUPPORTED)
def test_a_form_that_cannot_be_compared_is_refused_where_it_is_constrained_and_used(form: int, content: bytes) -> None:
    tree = general_name(form, content)
    for constraints in (name_constraints(permitted=[tree]), name_constraints(excluded=[tree])):
        below(constraints)
        below(constraints, general_name(names.DNS_NAME, "tsa.example.org"))
        with pytest.raises(PathError, match="is constrained and cannot be compared"):
            below(constraints, tree)
    below(name_constraints(permitted=[general_name(names.DNS_NAME, "example.org")]), tree)


@pytest.mark.parametrize(
    "alternative",
    [
        "urn:isbn:123",
        "https://192.0.2.1/",
        "https://[2001:db8::1]/",
        "https:///path",
        "https://[broken/",
        "not a URI",
        "https://a..b/",
    ],
)
def test_a_uri_without_a_host_name_is_within_no_constraint(alternative: str) -> None:
    uri = general_name(names.URI, alternative)
    tree = general_name(names.URI, "example.org")
    below(name_constraints(permitted=[general_name(names.DNS_NAME, "example.org")]), uri)
    for constraints in (name_constraints(permitted=[tree]), name_constraints(excluded=[tree])):
        with pytest.raises(PathError, match="without a host name"):
            below(constraints, uri)


def test_a_mail_address_in_the_subject_counts_where_there_is_no_alternative_name() -> None:
    subject = name((COMMON_NAME, "Target"), (EMAIL_ADDRESS, "tsa@elsewhere.test", 0x16))
    constraints = name_constraints(permitted=[general_name(names.RFC822_NAME, "example.org")])
    with pytest.raises(PathError, match=r"tsa@elsewhere\.test"):
        below(constraints, subject=subject)
    below(constraints, general_name(names.DNS_NAME, "tsa.example.org"), subject=subject)


def test_what_is_permitted_is_what_every_ca_above_permits() -> None:
    dns = [general_name(names.DNS_NAME, host) for host in ("example.org", "www.example.org", "example.com")]
    outer = encoded("Outer", issuer=ROOT, key_number=1, extensions=(*CA, name_constraints(permitted=dns[::2])))
    inner = encoded("Inner", issuer=outer, key_number=2, extensions=(*CA, name_constraints(permitted=dns[1:])))

    def target(host: str) -> None:
        own = alternative_names(general_name(names.DNS_NAME, host))
        validate(encoded("Target", issuer=inner, key_number=3, extensions=(own,)), inner, outer, ROOT)

    target("www.example.org")
    target("example.com")
    with pytest.raises(PathError, match=r"'CN=Inner.*' does not permit"):
        target("example.org")


def test_self_issued_certificates_are_exempt_unless_they_end_the_path() -> None:
    constraints = name_constraints(excluded=[general_name(names.DIRECTORY_NAME, common_name("CA"))])
    ca = encoded("CA", issuer=ROOT, key_number=1, extensions=(*CA, constraints))
    rolled = encoded("CA", issuer=ca, key_number=2, extensions=CA)
    validate(encoded("Target", issuer=rolled, key_number=3), rolled, ca, ROOT)
    with pytest.raises(PathError, match="excludes"):
        validate(rolled, ca, ROOT)


def test_the_anchors_own_constraints_and_the_callers_count() -> None:
    tree = general_name(names.DNS_NAME, "example.org")
    root = encoded("Root", extensions=(*CA, name_constraints(excluded=[tree])))
    own = alternative_names(tree)
    with pytest.raises(PathError, match="excludes"):
        validate(encoded("Target", issuer=root, key_number=1, extensions=(own,)), root)
    target = encoded("Target", issuer=ROOT, key_number=1, extensions=(own,))
    subtree = (GeneralName(names.DNS_NAME, b"example.org"),)
    validate(target, ROOT, inputs=Inputs(time=TIME, initial_permitted_subtrees=subtree))
    with pytest.raises(PathError, match="the caller excludes"):
        validate(target, ROOT, inputs=Inputs(time=TIME, initial_excluded_subtrees=subtree))


DNS = der.tlv(0x82, b"example.org")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x30\x03\x02\x01\x00",
        der.sequence(der.tlv(0xA0, der.sequence())),
        der.sequence(der.tlv(0xA0, der.integer(1))),
        der.sequence(der.tlv(0xA0, der.sequence(DNS, der.tlv(0x80, b"\x01")))),
        der.sequence(der.tlv(0xA0, der.sequence(DNS, der.tlv(0x81, b"\x01")))),
        der.sequence(der.tlv(0xA0, der.sequence(der.tlv(0x8B, b"")))),
        der.sequence(der.tlv(0xA0, der.sequence(der.tlv(0x87, b"\x01\x02\x03")))),
        der.sequence(der.tlv(0xA1, der.sequence(der.tlv(0x82, b"\xff")))),
        der.sequence(der.tlv(0xA1, der.sequence(der.tlv(0x86, b"")))),
    ],
)
def test_constraints_that_say_nothing_clear_are_refused_critical_or_not(value: bytes) -> None:
    used = [
        general_name(names.DNS_NAME, "tsa.example.org"),
        general_name(names.URI, "https://example.org/"),
        general_name(names.IP_ADDRESS, address("192.0.2.1")),
    ]
    for critical in (True, False):
        with pytest.raises(PathError, match=r"cannot be (validated|read)"):
            below(Extension(NAME_CONSTRAINTS, value, critical), *used)


def test_names_and_constraints_in_crowds_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    trees = [general_name(names.DNS_NAME, f"h{number}.test") for number in range(400)]
    below(name_constraints(excluded=trees[:20]), general_name(names.DNS_NAME, "tsa.test"))
    compared = 0

    def counted(*arguments: object) -> None:
        nonlocal compared
        compared += 1
        check_name(*arguments)  # type: ignore[arg-type]  # passed through as they came

    monkeypatch.setattr(validation, "check_name", counted)
    with pytest.raises(PathError, match="more than any honest ones"):
        below(name_constraints(excluded=trees), *(general_name(names.DNS_NAME, f"n{n}.test") for n in range(400)))
    assert compared == 0
