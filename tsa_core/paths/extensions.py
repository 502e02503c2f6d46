"""The extensions of a certificate, read so that one that cannot be parsed does not hide the others.

`cryptography` parses all extensions or none. Real certificates have a user notice in Latin-1, an explicit FALSE, a
key identifier that is no OCTET STRING, an X.400 address: there, each extension is parsed alone.
"""

from __future__ import annotations

from typing import Any, Final

from cryptography import exceptions, x509
from cryptography.x509.oid import ExtensionOID

from tsa_core.paths.der_fields import Extension, Fields, read_boolean, read_extension_list
from tsa_core.paths.names import contents, elements
from tsa_core.protocol import der, oids
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.tstinfo_reader import read_integer
from tsa_core.values import Value

POLICY_MAPPINGS: Final = x509.ObjectIdentifier("2.5.29.33")

RESTRICTING: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.POLICY_CONSTRAINTS,
        ExtensionOID.INHIBIT_ANY_POLICY,
        POLICY_MAPPINGS,
    }
)
"""Extensions that take rights away; to pass over one that cannot be read would give them back."""

PARSING_ERRORS: Final = (
    ValueError,
    TypeError,
    IndexError,
    OverflowError,
    NotImplementedError,
    Warning,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
    exceptions.UnsupportedAlgorithm,
)
"""What `cryptography` raises for a certificate, or a part of one, that it does not read."""


class Extensions(Value):
    """The extensions by identifier; `unreadable` are those whose value is not what the identifier promises."""

    parsed: dict[x509.ObjectIdentifier, x509.Extension[Any]]
    unreadable: dict[x509.ObjectIdentifier, Extension]


def read_extensions(certificate: x509.Certificate, encoded: bytes) -> Extensions:
    """Return the extensions of a certificate, whose bytes are `encoded`.

    Raises EncodingError where one appears twice, or not even the list of extensions can be read.
    """
    try:
        return Extensions(parsed={each.oid: each for each in certificate.extensions}, unreadable={})
    except PARSING_ERRORS:
        pass
    parsed: dict[x509.ObjectIdentifier, x509.Extension[Any]] = {}
    unreadable: dict[x509.ObjectIdentifier, Extension] = {}
    for oid, raw in raw_extensions(encoded).items():
        value = _parsed_alone(oid, raw.value)
        if value is not None:
            parsed[oid] = x509.Extension(oid, raw.critical, value)
        else:
            unreadable[oid] = raw
    return Extensions(parsed=parsed, unreadable=unreadable)


def raw_extensions(encoded: bytes) -> dict[x509.ObjectIdentifier, Extension]:
    """Return the extensions of a certificate's bytes; raises EncodingError, also for one that appears twice."""
    certificate = Fields(encoded, 0, len(encoded)).enter(der.SEQUENCE, "the certificate")
    fields = certificate.enter(der.SEQUENCE, "the signed part of the certificate")
    while fields.tag not in {0xA3, -1}:
        fields.any_whole()
    if fields.tag == -1:
        return {}
    wrapper = fields.enter(0xA3, "the extensions of the certificate")
    found = read_extension_list(wrapper, "the certificate", lenient=True)
    wrapper.finish("the list of extensions")
    return {x509.ObjectIdentifier(oid): extension for oid, extension in found.items()}


def _parsed_alone(oid: x509.ObjectIdentifier, value: bytes) -> x509.ExtensionType | None:
    """Return the value of one extension; None when it cannot be read."""
    try:
        certificate = x509.load_der_x509_certificate(_certificate_with(oid, value))
        values: list[x509.ExtensionType] = [extension.value for extension in certificate.extensions]
    except PARSING_ERRORS:
        pass
    else:
        return values[0]
    reader = _TOLERANT.get(oid)
    try:
        return reader(value) if reader is not None else None
    except (EncodingError, *PARSING_ERRORS):
        return None


def _certificate_with(oid: x509.ObjectIdentifier, value: bytes) -> bytes:
    """Return a certificate with this extension alone: there is no other way to have `cryptography` parse one."""
    ed25519 = der.sequence(der.oid(oids.ID_ED25519))
    time = der.tlv(der.UTC_TIME, b"200101000000Z")
    extension = der.sequence(der.oid(oid.dotted_string), der.octet_string(value))
    body = der.sequence(
        der.explicit(0, der.integer(2)),
        der.integer(1),
        ed25519,
        der.sequence(),
        der.sequence(time, time),
        der.sequence(),
        der.sequence(ed25519, der.tlv(der.BIT_STRING, bytes(33))),
        der.explicit(3, der.sequence(extension)),
    )
    return der.sequence(body, ed25519, der.tlv(der.BIT_STRING, bytes(65)))


def _basic_constraints(value: bytes) -> x509.BasicConstraints:
    """Read basicConstraints with FALSE written out, which DER forbids."""
    start, end = contents(value, der.SEQUENCE, "basicConstraints")
    fields = list(elements(value, start, end))
    ca = False
    if fields and fields[0][0] == der.BOOLEAN:
        ca = read_boolean(value[fields[0][2] : fields[0][3]], "cA", lenient=True)
        del fields[0]
    if not fields:
        return x509.BasicConstraints(ca=ca, path_length=None)
    ((tag, _, first, last),) = fields
    if tag != der.INTEGER or last - first > 4:
        raise EncodingError("pathLenConstraint is not a small INTEGER")
    return x509.BasicConstraints(ca=ca, path_length=read_integer(value, first, last))


def _certificate_policies(value: bytes) -> x509.CertificatePolicies:
    """Read the identifiers of certificatePolicies; the qualifiers, which are for people, are left out."""
    start, end = contents(value, der.SEQUENCE, "certificatePolicies")
    policies = []
    for tag, _, first, last in elements(value, start, end):
        kind, content, after = der.read(value, first, last)
        if tag != der.SEQUENCE or kind != der.OBJECT_IDENTIFIER:
            raise EncodingError("certificatePolicies holds something else than policies")
        der.check_oid(value[content:after])
        identifier = x509.ObjectIdentifier(der.dotted(value[first:after]))
        policies.append(x509.PolicyInformation(identifier, None))
    return x509.CertificatePolicies(policies)


_TOLERANT: Final = {
    ExtensionOID.BASIC_CONSTRAINTS: _basic_constraints,
    ExtensionOID.CERTIFICATE_POLICIES: _certificate_policies,
}


def policy_mappings(value: bytes) -> dict[str, frozenset[str]]:
    """Return the subjectDomainPolicies by issuerDomainPolicy (RFC 5280 4.2.1.5); raises EncodingError."""
    start, end = contents(value, der.SEQUENCE, "policyMappings")
    found: dict[str, set[str]] = {}
    for tag, _, first, last in elements(value, start, end):
        pair = list(elements(value, first, last))
        if tag != der.SEQUENCE or [kind for kind, *_ in pair] != [der.OBJECT_IDENTIFIER] * 2:
            raise EncodingError("policyMappings holds something else than pairs of policies")
        for _, _, content, after in pair:
            der.check_oid(value[content:after])
        issuer, subject = (der.dotted(value[offset:after]) for _, offset, _, after in pair)
        found.setdefault(issuer, set()).add(subject)
    return {issuer: frozenset(subjects) for issuer, subjects in found.items()}
