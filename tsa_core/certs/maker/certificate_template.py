"""Certificate templates: what one puts into a certificate."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal, TypeAlias, TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tsa_core.api import ConfigError, PublicKey, read_file
from tsa_core.certs.issuing import Issuer
from tsa_core.certs.maker.located_json import Place
from tsa_core.certs.maker.template_fields import NameFields
from tsa_core.certs.maker.template_source import TemplateSource, read_template
from tsa_core.certs.templates import TIME_STAMPING, Publication

Role: TypeAlias = Literal["root", "intermediate", "leaf"]
ValueT = TypeVar("ValueT")
_Described: TypeAlias = tuple[str, x509.ExtensionType, bool]

_MAX_FILE_OCTETS: Final = 256 * 1024
_KEY_USAGES: Final = {
    "digitalSignature": "digital_signature",
    "contentCommitment": "content_commitment",
    "nonRepudiation": "content_commitment",
    "keyEncipherment": "key_encipherment",
    "dataEncipherment": "data_encipherment",
    "keyAgreement": "key_agreement",
    "certSign": "key_cert_sign",
    "keyCertSign": "key_cert_sign",
    "crlSign": "crl_sign",
    "encipherOnly": "encipher_only",
    "decipherOnly": "decipher_only",
}
_EXTENDED_KEY_USAGES: Final = {
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    "serverAuth": ExtendedKeyUsageOID.SERVER_AUTH,
    "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "codeSigning": ExtendedKeyUsageOID.CODE_SIGNING,
    "emailProtection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "timeStamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocspSigning": ExtendedKeyUsageOID.OCSP_SIGNING,
}
_ATTRIBUTES: Final = (
    ("country", NameOID.COUNTRY_NAME),
    ("province", NameOID.STATE_OR_PROVINCE_NAME),
    ("locality", NameOID.LOCALITY_NAME),
    ("street_address", NameOID.STREET_ADDRESS),
    ("postal_code", NameOID.POSTAL_CODE),
    ("organization", NameOID.ORGANIZATION_NAME),
    ("organizational_unit", NameOID.ORGANIZATIONAL_UNIT_NAME),
)
"""The attributes of a name before its common name and serial number, in the order in which Go 1.26 writes them."""


def default_template(role: Role) -> str:
    """Return the text of the template that is used where none is given."""
    folder = files("tsa_core.certs.maker").joinpath("default_templates")
    return folder.joinpath(f"{role}-template.json").read_text(encoding="utf-8")


class CertificateTemplate:
    """A template for one certificate.

    `path` None is the default one. `common_name` may be empty, and counts where `names_subject` is true. Raises
    ConfigError, here and when it is put to use, which names the file and the line.
    """

    def __init__(self, role: Role, path: Path | None, *, common_name: str) -> None:
        self.role: Final = role
        if path is None:
            text, where = default_template(role), f"the default template of the {role}"
        else:
            where = str(path)
            text = _decoded(read_file(path, "template", limit=_MAX_FILE_OCTETS), where)
        self.names_subject: Final = ".Subject" in text
        self._fields, self._source = read_template(text, where=where, common_name=common_name)
        self.subject: Final = _name(self._fields.subject, "subject", self._source)
        if not self.subject.rdns:
            raise self._error(("subject",), "the name is empty; give a common name, or write it here")

    def extensions(self, public_key: PublicKey, issuer: Issuer | None) -> list[tuple[x509.ExtensionType, bool]]:
        """Return the extensions of a certificate for this key; without an issuer, of one that signs itself.

        What stands under "extensions" takes the place of what the keys would yield.
        """
        own = self._own_extensions()
        given = {extension.oid: number for number, (extension, _) in enumerate(own)}
        made: list[tuple[x509.ExtensionType, bool]] = []
        for field, extension, critical in self._described():
            if extension.oid not in given:
                made.append((extension, critical))
            elif field:
                raise self._error(
                    (field.lower(),), f"no effect beside the extension {extension.oid.dotted_string}", field
                )
        identifiers = [(x509.SubjectKeyIdentifier.from_public_key(public_key), False)]
        made += [*identifiers, *([(issuer.authority_key_identifier, False)] if issuer else [])]
        return [*(pair for pair in made if pair[0].oid not in given), *own]

    def check_issuer(self, issuer: x509.Name) -> None:
        """Raise ConfigError when the template names an issuer that is another than this."""
        named = self._fields.issuer
        if named is not None and _name(named, "issuer", self._source) != issuer:
            raise self._error(("issuer",), f"the issuer is {issuer.rfc4514_string()!r}; leave the field out")

    def _error(self, place: Place, text: str, name: str | None = None) -> ConfigError:
        return self._source.error(place, text, name=name)

    def _own_extensions(self) -> list[tuple[x509.ExtensionType, bool]]:
        found: dict[str, tuple[x509.ExtensionType, bool]] = {}
        for number, extension in enumerate(self._fields.extensions):
            if extension.id in found:
                raise self._error(("extensions", number, "id"), f"{extension.id} stands twice")
            value = x509.UnrecognizedExtension(x509.ObjectIdentifier(extension.id), extension.value)
            found[extension.id] = (value, extension.critical)
        return list(found.values())

    def _described(self) -> Iterator[_Described]:
        """Yield the extensions that fields describe, each with its field; an empty one for what holds without it."""
        fields = self._fields
        constraints = fields.basic_constraints
        length = constraints.max_path_len if constraints.is_ca and constraints.max_path_len >= 0 else None
        named = "basicConstraints" if "basic_constraints" in fields.model_fields_set else ""
        yield named, x509.BasicConstraints(ca=constraints.is_ca, path_length=length), True
        if fields.key_usage:
            yield "keyUsage", self._key_usage(), True
        if usages := self._extended_key_usages():
            # RFC 3161 2.3 demands a critical one of a TSA; Go's library never makes it so.
            critical = self.role == "leaf" and usages == list(TIME_STAMPING)
            yield (
                ("extKeyUsage" if fields.ext_key_usage else "unknownExtKeyUsage"),
                x509.ExtendedKeyUsage(usages),
                critical,
            )
        yield from self._alternative_names()
        yield from self._published()

    def _key_usage(self) -> x509.KeyUsage:
        bits = dict.fromkeys(_KEY_USAGES.values(), False)
        for name in self._known(self._fields.key_usage, _KEY_USAGES, "keyUsage"):
            bits[name] = True
        try:
            return x509.KeyUsage(**bits)
        except ValueError as error:
            raise self._error(("keyusage",), str(error), "keyUsage") from None

    def _extended_key_usages(self) -> list[x509.ObjectIdentifier]:
        named = self._known(self._fields.ext_key_usage, _EXTENDED_KEY_USAGES, "extKeyUsage")
        return [*named, *map(x509.ObjectIdentifier, self._fields.unknown_ext_key_usage)]

    def _known(self, words: Sequence[str], known: Mapping[str, ValueT], field: str) -> Iterator[ValueT]:
        """Yield what each word of a field means; case and underscores do not matter, as in the reference."""
        names = {name.lower(): name for name in known}
        for number, word in enumerate(words):
            key = word.lower().replace("_", "")
            if key not in names:
                near = difflib.get_close_matches(key, names, n=1)
                hint = f"did you mean {names[near[0]]}?" if near else f"there are {', '.join(known)}"
                raise self._error((field.lower(), number), f"{word!r} is not known; {hint}", field)
            yield known[names[key]]

    def _alternative_names(self) -> Iterator[_Described]:
        fields = self._fields
        kinds: tuple[tuple[str, type[x509.GeneralName], Sequence[object]], ...] = (
            ("dnsNames", x509.DNSName, fields.dns_names),
            ("emailAddresses", x509.RFC822Name, fields.email_addresses),
            ("ipAddresses", x509.IPAddress, fields.ip_addresses),
            ("uris", x509.UniformResourceIdentifier, fields.uris),
        )
        names: list[x509.GeneralName] = []
        used = ""
        for field, kind, values in kinds:
            for value in values:
                used = used or field
                try:
                    names.append(kind(value))  # type: ignore[call-arg] # each of the kinds takes its value
                except ValueError as error:
                    raise self._error((field.lower(),), f"{value!s}: {error}", field) from None
        if names:
            yield used, x509.SubjectAlternativeName(names), False

    def _published(self) -> Iterator[_Described]:
        fields = self._fields
        access = Publication(ocsp_urls=fields.ocsp_server, issuer_urls=fields.issuing_certificate_url)
        for field, publication in (
            ("policyIdentifiers", Publication(policies=fields.policy_identifiers)),
            ("crlDistributionPoints", Publication(crl_urls=fields.crl_distribution_points)),
            ("ocspServer" if fields.ocsp_server else "issuingCertificateURL", access),
        ):
            try:
                for extension, critical in publication.extensions():
                    yield field, extension, critical
            except ConfigError as error:
                raise self._error((field.lower(),), str(error), field) from None


def _name(fields: NameFields, place: str, source: TemplateSource) -> x509.Name:
    """Return a name as Go makes it of these fields: the values of one attribute are one RDN."""
    parts: list[tuple[str, x509.ObjectIdentifier, Sequence[str]]] = [
        (field, oid, getattr(fields, field)) for field, oid in _ATTRIBUTES
    ]
    parts.append(("common_name", NameOID.COMMON_NAME, [fields.common_name]))
    parts.append(("serial_number", NameOID.SERIAL_NUMBER, [fields.serial_number]))
    parts += [("extra_names", x509.ObjectIdentifier(extra.type), [extra.value]) for extra in fields.extra_names]
    rdns: list[x509.RelativeDistinguishedName] = []
    for field, oid, values in parts:
        name = NameFields.model_fields[field].alias or field
        try:
            if attributes := [x509.NameAttribute(oid, value) for value in dict.fromkeys(values) if value]:
                rdns.append(x509.RelativeDistinguishedName(attributes))
        except ValueError as error:
            raise source.error((place, name.lower()), str(error), name=f"{place}.{name}") from None
    return x509.Name(rdns)


def _decoded(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError("the template is not UTF-8 text", path=f"{where}, line {line}") from None
