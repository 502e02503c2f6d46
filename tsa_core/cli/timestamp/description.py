"""What a reply says, as a JSON document and as rows for people; nothing is verified here.

The names are those of the reference's `timestamp-cli inspect --format json`, and more; see docs/verify/cli.md.
"""

from __future__ import annotations

import base64
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from tsa_core.cli.timestamp.shown import shown_duration, shown_time
from tsa_core.cli.timestamp.shown_names import distinguished_name, general_name
from tsa_core.paths.certificate import PathCertificate, serial_number
from tsa_core.protocol import der, oids
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.reply import ReplyStatus, Token, is_token, read_reply, read_signer_info, read_token
from tsa_core.protocol.signatures import describe_key
from tsa_core.protocol.tstinfo_reader import TSTInfo, TSTInfoExtension, read_tst_info
from tsa_core.verify.errors import MalformedTimestamp, VerificationError, printable

_SUBJECT_KEY_IDENTIFIER: Final = 0x80
_ALGORITHMS: Final = {
    **{getattr(oids, name): name.replace("_", "-") for name in ("MD5", "SHA1", "SHA224", "SHA256", "SHA384")},
    **{getattr(oids, name): name.replace("_", "-") for name in ("SHA512", "SHA3_256", "SHA3_384", "SHA3_512")},
    oids.SHAKE256: "SHAKE256",
    oids.SHAKE256_LEN: "SHAKE256",
    oids.RSA_ENCRYPTION: "RSA",
    oids.ID_RSASSA_PSS: "RSA-PSS",
    oids.SHA256_WITH_RSA: "RSA with SHA256",
    oids.SHA384_WITH_RSA: "RSA with SHA384",
    oids.SHA512_WITH_RSA: "RSA with SHA512",
    oids.ECDSA_WITH_SHA256: "ECDSA with SHA256",
    oids.ECDSA_WITH_SHA384: "ECDSA with SHA384",
    oids.ECDSA_WITH_SHA512: "ECDSA with SHA512",
    oids.ID_ED25519: "Ed25519",
    oids.ID_ED448: "Ed448",
    oids.ID_ML_DSA_44: "ML-DSA-44",
    oids.ID_ML_DSA_65: "ML-DSA-65",
    oids.ID_ML_DSA_87: "ML-DSA-87",
}
_GO_HASHES: Final = {
    oids.MD5: 2,
    oids.SHA1: 3,
    oids.SHA224: 4,
    oids.SHA256: 5,
    oids.SHA384: 6,
    oids.SHA512: 7,
    oids.SHA3_256: 11,
    oids.SHA3_384: 12,
    oids.SHA3_512: 13,
}
"""The numbers of Go's crypto.Hash."""
_GO_LISTS: Final = {
    "Country": NameOID.COUNTRY_NAME,
    "Organization": NameOID.ORGANIZATION_NAME,
    "OrganizationalUnit": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "Locality": NameOID.LOCALITY_NAME,
    "Province": NameOID.STATE_OR_PROVINCE_NAME,
    "StreetAddress": NameOID.STREET_ADDRESS,
    "PostalCode": NameOID.POSTAL_CODE,
}
_GO_TEXTS: Final = {"SerialNumber": NameOID.SERIAL_NUMBER, "CommonName": NameOID.COMMON_NAME}
_MACHINES: Final = frozenset(
    {
        "Raw",
        "RawToken",
        "HashAlgorithm",
        "Policy",
        "SerialNumberHex",
        "NonceHex",
        "Qualified",
        "AddTSACertificate",
        "Id",
    }
)
"""What the reference has in its JSON, or machines keep, and people have no use for."""
_MAX_DECIMAL_BITS: Final = 4096
_TITLES: Final = {
    "StatusString": "Status text",
    "FailureInfo": "Failure info",
    "HashAlgorithmName": "Hash algorithm",
    "PolicyOID": "Policy",
    "QualifiedClaim": "Qualified",
    "HashedMessage": "Hashed message",
    "SubjectName": "Subject",
    "IssuerName": "Issuer",
    "SerialNumber": "Serial number",
    "NotBefore": "Valid from",
    "NotAfter": "Valid until",
    "PublicKey": "Public key",
    "SHA256Fingerprint": "SHA-256",
    "DigestAlgorithm": "Digest",
    "SignatureAlgorithm": "Signature",
    "SigningCertificate": "Names its certificate by",
    "SubjectKeyIdentifier": "Key identifier",
}
"""How people read the names; the JSON keeps them."""


def describe_reply(data: bytes) -> dict[str, Any]:
    """Return everything in a TimeStampResp or a bare TimeStampToken; raises MalformedTimestamp."""
    try:
        if is_token(data):
            status, token, octets = None, read_token(data), data
        else:
            status, optional = read_reply(data)
            if optional is None:
                return describe_status(status)
            token, octets = optional, _token_octets(data)
        return {**(describe_status(status) if status else {}), **describe_token(token, octets)}
    except EncodingError as error:
        raise MalformedTimestamp(f"the timestamp cannot be read: {error}") from None


def describe_status(status: ReplyStatus) -> dict[str, Any]:
    """Return PKIStatusInfo."""
    return {
        "Status": status.name,
        "StatusString": list(status.texts),
        "FailureInfo": list(status.failure_names),
    }


def _token_octets(reply: bytes) -> bytes:
    """Return the TimeStampToken of a TimeStampResp that was read without an error."""
    _, start, end = der.read(reply, 0, len(reply))
    return reply[der.read(reply, start, end)[2] : end]


def describe_token(token: Token, octets: bytes) -> dict[str, Any]:
    """Return TSTInfo, the signer and the certificates of a token, and its `octets` as they are."""
    info = read_tst_info(token.content)
    return {
        "RawToken": base64.b64encode(octets).decode(),
        **describe_info(info),
        "AddTSACertificate": bool(token.certificates),
        "Certificates": [_certificate(data) for data in token.certificates],
        "Signers": [_signer(data) for data in token.signers],
    }


def describe_info(info: TSTInfo) -> dict[str, Any]:
    """Return TSTInfo, with the names and types of the reference, and beside them what machines can keep.

    Accuracy is in nanoseconds; null is unknown, not zero. HashAlgorithm is Go's number, 0 for a hash without one.
    """
    return {
        "Time": shown_time(info.gen_time),
        "HashAlgorithm": _GO_HASHES.get(info.hash_oid, 0),
        "HashAlgorithmName": hash_name(info),
        "HashedMessage": base64.b64encode(info.hashed_message).decode(),
        "SerialNumber": number(info.serial_number),
        "SerialNumberHex": hexadecimal(info.serial_number),
        "Policy": arcs(info.policy),
        "PolicyOID": info.policy,
        "Ordering": info.ordering,
        "Nonce": number(info.nonce) if info.nonce is not None else None,
        "NonceHex": hexadecimal(info.nonce) if info.nonce is not None else None,
        "Accuracy": info.accuracy.microseconds * 1000 if info.accuracy else None,
        "Earliest": shown_time(info.earliest) if info.earliest else None,
        "Latest": shown_time(info.latest) if info.latest else None,
        "Qualified": is_qualified(info),
        "QualifiedClaim": _claim(info),
        "TSA": general_name(info.tsa_der) if info.tsa_der else None,
        "Extensions": [_extension(extension) for extension in info.extensions] or None,
        "ExtraExtensions": None,
    }


def _extension(extension: TSTInfoExtension) -> dict[str, Any]:
    value = base64.b64encode(extension.value).decode()
    return {"Id": arcs(extension.oid), "OID": extension.oid, "Critical": extension.critical, "Value": value}


def arcs(oid: str) -> list[int]:
    """Return the numbers of an object identifier, as Go writes it in JSON."""
    return [int(arc) for arc in oid.split(".")]


def hexadecimal(value: int) -> str:
    """Return an INTEGER in hexadecimal digits without a prefix, in pairs, as certificates are shown."""
    digits = f"{abs(value):x}"
    return f"{'-' if value < 0 else ''}{'0' * (len(digits) % 2)}{digits}"


def number(value: int) -> int | str:
    """Return an INTEGER for JSON: as a number, or in hexadecimal when writing it in decimal would take long.

    Python refuses to write more than 4,300 digits; no honest serial number or nonce has 50.
    """
    return value if value.bit_length() <= _MAX_DECIMAL_BITS else hex(value)


def is_qualified(info: TSTInfo) -> bool:
    """Say whether the token claims to be a qualified one (ETSI EN 319 422 9.1)."""
    return info.qc_statements is not None and info.qc_statements.claims_qualified


def _claim(info: TSTInfo) -> str:
    """Return in words what the token claims of itself, and what nobody has checked."""
    statements = info.qc_statements
    if statements is None:
        return "no"
    if not statements.readable:
        return "no; the token has a qcStatements extension that cannot be read"
    if not statements.claims_qualified:
        return "no; the token has a qcStatements extension that claims something else"
    critical = "; the claim is marked critical, which EN 319 422 9.1 forbids" if statements.critical else ""
    return (
        "claims to be a qualified electronic timestamp; whether its authority is qualified is in the trusted list, not "
        f"checked{critical}"
    )


def hash_name(info: TSTInfo) -> str:
    """Return the imprint's hash as people write it, its identifier if it is unknown."""
    algorithm = info.hash_algorithm
    if algorithm is None:
        return info.hash_oid
    name = algorithm.name.upper()
    return name if "-" in name else name.replace("SHA", "SHA-")


def _certificate(data: bytes) -> dict[str, Any]:
    """Return a certificate of the token; one that cannot be read is only shown as bytes."""
    raw = {"Raw": base64.b64encode(data).decode()}
    try:
        certificate = PathCertificate.from_der(data).certificate
        key = describe_key(certificate.public_key())
        subject, issuer = certificate.subject.rfc4514_string(), certificate.issuer.rfc4514_string()
    except (ValueError, VerificationError, UnsupportedAlgorithm) as error:
        return {"Error": printable(str(error)), **raw}
    return {
        "Subject": _name(certificate.subject),
        "SubjectName": printable(subject),
        "Issuer": _name(certificate.issuer),
        "IssuerName": printable(issuer),
        "SerialNumber": number(serial_number(certificate)),
        "NotBefore": shown_time(certificate.not_valid_before_utc),
        "NotAfter": shown_time(certificate.not_valid_after_utc),
        "PublicKey": key,
        "SHA256Fingerprint": certificate.fingerprint(hashes.SHA256()).hex(),
        **raw,
    }


def _name(name: x509.Name) -> dict[str, Any]:
    """Return a name as Go's pkix.Name is in JSON: lists by field, null for none, and all attributes as they stand."""

    def values(oid: x509.ObjectIdentifier) -> list[str]:
        return [printable(str(each.value)) for each in name.get_attributes_for_oid(oid)]

    return {
        **{field: values(oid) or None for field, oid in _GO_LISTS.items()},
        **{field: "".join(values(oid)[-1:]) for field, oid in _GO_TEXTS.items()},
        "Names": [{"Type": arcs(each.oid.dotted_string), "Value": printable(str(each.value))} for each in name],
        "ExtraNames": None,
    }


def _signer(data: bytes) -> dict[str, Any]:
    """Return how a SignerInfo says that it was signed."""
    info = read_signer_info(data)
    named = _signer_name(info.sid_der)
    versions = {
        "ESSCertID": der.oid(oids.ID_AA_SIGNING_CERTIFICATE),
        "ESSCertIDv2": der.oid(oids.ID_AA_SIGNING_CERTIFICATE_V2),
    }
    return {
        **named,
        "DigestAlgorithm": _algorithm(info.digest_algorithm_der),
        "SignatureAlgorithm": _algorithm(info.signature_algorithm_der),
        "SigningCertificate": [name for name, attribute in versions.items() if attribute in info.attributes],
    }


def _signer_name(sid: bytes) -> dict[str, Any]:
    """Return how a SignerInfo names its signer's certificate; octets that are neither way in hexadecimal."""
    try:
        tag, start, end = der.read(sid, 0, len(sid))
        if tag == _SUBJECT_KEY_IDENTIFIER:
            return {"SubjectKeyIdentifier": sid[start:end].hex()}
        _, _, name_end = der.read(sid, start, end)
        number_tag, first, last = der.read(sid, name_end, end)
        if tag == der.SEQUENCE and number_tag == der.INTEGER:
            serial = int.from_bytes(sid[first:last], signed=True)
            return {"Issuer": distinguished_name(sid[start:name_end]), "SerialNumber": number(serial)}
    except EncodingError:
        pass
    return {"Identifier": sid.hex()}


def _algorithm(encoded: bytes) -> str:
    """Return the name of an algorithm, its identifier if it is unknown."""
    _, start, end = der.read(encoded, 0, len(encoded))
    oid = der.dotted(encoded[start : der.read(encoded, start, end)[2]])
    return _ALGORITHMS.get(oid, oid)


def rows(description: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return the description as names and values for people, certificates and signers numbered."""
    result: list[tuple[str, str]] = []
    for name, value in description.items():
        title = prefix + _TITLES.get(name, name)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            for number, item in enumerate(value, 1):
                result += rows(item, f"{title.removesuffix('s')} {number}: ")
        elif name not in _MACHINES and value is not None and value != [] and not isinstance(value, dict):
            result.append((title, _shown(name, value)))
    return result


def _shown(name: str, value: Any) -> str:
    if name == "HashedMessage":
        return base64.b64decode(value).hex()
    if name == "Accuracy":
        return shown_duration(value)
    if name == "SerialNumber":
        return value if isinstance(value, str) else f"{value:#x}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "; ".join(printable(str(item)) for item in value)
    return str(value)
