"""The fields of a certificate template, under the names that Sigstore's Certificate Maker and smallstep give them.

As in Go's JSON, names are taken in upper or lower case and null is the same as nothing. Unlike there, a field or a word
that is not known is an error.
"""

from __future__ import annotations

import base64
import binascii
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from tsa_core.api import Oid
from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _without_empty(values: list[str]) -> list[str]:
    """Leave empty texts out: the published templates have them where something is to be filled in."""
    return [value for value in values if value]


def _ip_address(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("the text of an IP address is needed")
    return ip_address(value)


def _der_of_base64(value: object) -> bytes:
    if not isinstance(value, str):
        raise ValueError("base64 of a DER value is needed")
    try:
        octets = base64.b64decode(value, validate=True)
        _, _, end = der.read(octets, 0, len(octets))
    except (binascii.Error, EncodingError) as error:
        raise ValueError(f"base64 of a DER value is needed: {error}") from None
    if end != len(octets):
        raise ValueError("base64 of one DER value is needed, there is more behind it")
    return octets


IpAddress = Annotated[IPv4Address | IPv6Address, BeforeValidator(_ip_address)]
Texts = Annotated[list[str], BeforeValidator(_one_or_many), AfterValidator(_without_empty)]
"""One text or an array of them; empty ones do not count."""


class Part(BaseModel):
    """An object of a template."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, hide_input_in_errors=True, strict=True
    )

    @model_validator(mode="before")
    @classmethod
    def _known_names(cls, value: Any) -> Any:
        """Give names the case that they have here, and leave null out."""
        if not isinstance(value, dict):
            return value
        known = {name.lower(): name for name in cls.names()}
        return {known.get(name.lower(), name): each for name, each in value.items() if each is not None}

    @classmethod
    def names(cls) -> list[str]:
        """Return the names of the fields as JSON has them."""
        return [field.alias or name for name, field in cls.model_fields.items()]


class ExtraName(Part):
    """A further attribute of a name, by its OID."""

    type: Oid
    value: str = Field(min_length=1)


class NameFields(Part):
    """A subject or issuer; a text alone is the common name."""

    country: Texts = []
    organization: Texts = []
    organizational_unit: Texts = []
    locality: Texts = []
    province: Texts = []
    street_address: Texts = []
    postal_code: Texts = []
    serial_number: str = ""
    common_name: str = ""
    extra_names: list[ExtraName] = []

    @model_validator(mode="before")
    @classmethod
    def _common_name_alone(cls, value: Any) -> Any:
        return {"commonName": value} if isinstance(value, str) else value


class BasicConstraints(Part):
    """Whether this is a CA, and how many CAs may be below it: 0 unless given, any number if negative."""

    is_ca: bool = Field(False, alias="isCA")
    max_path_len: int = Field(0, le=15)


class ExtensionFields(Part):
    """An extension as it stands in the certificate; `value` is DER."""

    id: Oid
    critical: bool = False
    value: Annotated[bytes, BeforeValidator(_der_of_base64)]


class TemplateFields(Part):
    """A whole template."""

    subject: NameFields = NameFields()
    issuer: NameFields | None = None
    key_usage: Texts = []
    ext_key_usage: Texts = []
    unknown_ext_key_usage: Annotated[list[Oid], BeforeValidator(_one_or_many)] = []
    basic_constraints: BasicConstraints = BasicConstraints()
    extensions: list[ExtensionFields] = []
    policy_identifiers: Annotated[list[Oid], BeforeValidator(_one_or_many)] = []
    ocsp_server: Texts = []
    issuing_certificate_url: Texts = Field([], alias="issuingCertificateURL")
    crl_distribution_points: Texts = []
    dns_names: Texts = []
    email_addresses: Texts = []
    ip_addresses: Annotated[list[IpAddress], BeforeValidator(_one_or_many)] = []
    uris: Texts = []


PARTS: Final[dict[str, type[Part]]] = {
    "subject": NameFields,
    "issuer": NameFields,
    "extraNames": ExtraName,
    "basicConstraints": BasicConstraints,
    "extensions": ExtensionFields,
}
"""What the objects in a template are, by the fields that hold them."""

WITHOUT_EFFECT: Final = {
    "version": "it is always 3",
    "serialNumber": "it is random",
    "rawSubject": "write subject",
    "notBefore": "validity begins when the certificate is made",
    "notAfter": "the flags for lifetimes say how long it is valid",
    "certLife": "the flags for lifetimes say how long it is valid",
    "signatureAlgorithm": "the issuer's key decides it",
    "subjectKeyId": "it is computed from the key",
    "authorityKeyId": "it is the issuer's",
    "sans": "write dnsNames, emailAddresses, ipAddresses or uris",
    "nameConstraints": 'write them under "extensions", with the id 2.5.29.30',
}
"""Fields of smallstep's templates that are refused, with what to do."""
