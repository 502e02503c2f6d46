"""Which clients get and verify this authority's timestamps, from what is known of each: docs/verify/clients.md.

Nothing is run here: each entry is a fact that a test of this repository found with the real client, or that its source
shows, and a predicate on what the probe saw. All of them were tested with good tokens: what a client makes of tokens
that fail a critical check is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from tsa_core.client.transport import REPLY_TYPE
from tsa_core.probe.canonical import is_sorted
from tsa_core.probe.check import Result
from tsa_core.probe.evidence import Evidence, Unseen, fraction_digits, key_of
from tsa_core.protocol import der, oids
from tsa_core.protocol.signatures import describe_key

KEYS: Final = (
    *("P-256", "P-384", "P-521", "RSA-2048", "RSA-3072", "RSA-4096", "RSA-PSS", "Ed25519", "Ed448"),
    *("ML-DSA-44", "ML-DSA-65", "ML-DSA-87"),
)
"""The columns of the table in docs/verify/clients.md."""
_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_SHA256_DIGEST: Final = der.oid(oids.SHA256)


class Reception(StrEnum):
    """What a client does with this authority."""

    WORKS = "works"
    """Nothing that was seen hinders it."""
    FAILS = "fails"
    UNKNOWN = "not known"


Quirk = Callable[[Evidence], str]
"""Returns why a client refuses what was seen, empty when it does not; raises Unseen."""


@dataclass(frozen=True, kw_only=True)
class Client:
    """A client of others: the kinds of keys that it verifies, as KEYS, and what else it refuses."""

    name: str
    keys: frozenset[str]
    quirks: tuple[Quirk, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ClientVerdict:
    """A client with what it does, and why."""

    client: str
    reception: Reception
    reasons: tuple[str, ...]


def key_kind(evidence: Evidence) -> str:
    """Return the column of KEYS for the authority's signatures, empty for another key; raises Unseen."""
    stamp, certificate = evidence.certified(), evidence.certificate()
    signer = stamp.reply.signer
    if signer is not None and der.oid(oids.ID_RSASSA_PSS) in signer.signature_algorithm_der[:16]:
        return "RSA-PSS"
    key = key_of(certificate)
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA-{min((2048, 3072, 4096), key=lambda bits: abs(bits - key.key_size))}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _CURVES.get(key.curve.name, "")
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return describe_key(key)
    name = describe_key(key)
    return name if name in KEYS else ""


def _status(evidence: Evidence) -> str:
    _, answer = evidence.answered("plain")
    return "" if answer.status == 200 else f"takes HTTP status 200 alone, not {answer.status}"


def _type(evidence: Evidence) -> str:
    _, answer = evidence.answered("plain")
    return "" if ";" not in answer.headers.get("Content-Type", "") else "takes no parameter in the Content-Type"


def _type_in_lower_case(evidence: Evidence) -> str:
    _, answer = evidence.answered("plain")
    written = answer.headers.get("Content-Type", "").partition(";")[0].strip()
    return "compares the Content-Type letter by letter" if written != written.lower() or not written else ""


def _type_at_all(evidence: Evidence) -> str:
    _, answer = evidence.answered("plain")
    return "" if answer.media_type == REPLY_TYPE else "takes no reply of another Content-Type"


def _chunks(evidence: Evidence) -> str:
    _, answer = evidence.answered("plain")
    return "reads no chunked reply" if "Transfer-Encoding" in answer.headers else ""


def _http_1_0(evidence: Evidence) -> str:
    return "" if evidence.exchange("http10").is_granted else "asks with HTTP/1.0, which is not served"


def _leaf_alone(evidence: Evidence) -> str:
    reply, certificate = evidence.certified().reply, evidence.certificate()
    if certificate.self_issued or reply.issuer_of(certificate) is not None:
        return ""
    if not evidence.path:
        raise Unseen("whether a CA between signer and root is missing in the token shows only to who trusts the root")
    return "finds no path with the root alone: the CA between does not come" if len(evidence.path) > 2 else ""


def _sorted_certificates(evidence: Evidence) -> str:
    return (
        "" if is_sorted(evidence.certified().token.certificates) else "refuses certificates that are not in DER order"
    )


def _fraction(evidence: Evidence) -> str:
    digits = {fraction_digits(stamp.token.content) for stamp in evidence.tokens()}
    return "" if digits <= {0, 3} else "reads whole seconds or exactly three digits of a fraction"


def _rsa_digest(evidence: Evidence) -> str:
    stamp = evidence.certified()
    signer = stamp.reply.signer
    if not key_kind(evidence).startswith("RSA-") or signer is None or _SHA256_DIGEST in signer.digest_algorithm_der:
        return ""
    return "verifies RSA with SHA-256 alone"


def _asks(name: str, text: str) -> Quirk:
    """Return the quirk of a client that sends requests of this kind, which must be granted."""

    def refused(evidence: Evidence) -> str:
        return "" if evidence.exchange(name).is_granted else text

    return refused


_ALL: Final = frozenset(KEYS)
_RSA: Final = frozenset({"RSA-2048", "RSA-3072", "RSA-4096"})
_EC: Final = frozenset({"P-256", "P-384", "P-521"})
_USUAL: Final = _EC | _RSA
_EDDSA: Final = frozenset({"Ed25519", "Ed448"})
_CLASSIC: Final = _USUAL | {"RSA-PSS"}

CLIENTS: Final = (
    Client(name="timestamp-cli, tsa_core.verify", keys=_ALL),
    Client(name="openssl ts", keys=_USUAL, quirks=(_leaf_alone,)),
    Client(name="osslsigncode", keys=_CLASSIC, quirks=(_http_1_0, _status, _type, _type_at_all, _chunks, _leaf_alone)),
    Client(name="rfc3161-client", keys=_USUAL, quirks=(_sorted_certificates,)),
    Client(name="sigstore-python", keys=_USUAL, quirks=(_sorted_certificates,)),
    Client(name="pyHanko", keys=_ALL, quirks=(_type, _type_in_lower_case, _type_at_all)),
    Client(
        name="rfc3161ng", keys=_RSA, quirks=(_asks("absent-parameters", "sends hash identifiers without parameters"),)
    ),
    Client(name="sigstore-go", keys=_USUAL | {"Ed25519"}),
    Client(name="sigstore/timestamp-authority", keys=_USUAL | {"Ed25519"}),
    Client(name="digitorus/timestamp", keys=_USUAL | {"Ed25519"}),
    Client(name="tspclient-go (notation)", keys=_CLASSIC, quirks=(_status, _type, _type_in_lower_case, _type_at_all)),
    Client(name="relic", keys=_CLASSIC),
    Client(name="ietf-cms (smimesign)", keys=_USUAL),
    Client(name="sigstore-tsa (sigstore-rust)", keys=frozenset({"P-256", "P-384"})),
    Client(name="sigstore-js", keys=_USUAL | {"Ed25519"}, quirks=(_fraction, _rsa_digest)),
    Client(name="sigstore-js, of 2024", keys=_USUAL | {"Ed25519"}, quirks=(_fraction, _rsa_digest)),
    Client(name="PKI.js", keys=_CLASSIC),
    Client(name="jarsigner", keys=_CLASSIC | _EDDSA, quirks=(_type, _type_at_all)),
    Client(name="Bouncy Castle", keys=_ALL),
    Client(
        name="DSS (European Commission)",
        keys=_CLASSIC | _EDDSA,
        quirks=(_asks("nonce-negative", "sends negative nonces half of the time, which are refused"),),
    ),
    Client(name="Jsign", keys=_ALL, quirks=(_asks("bare", "sends no nonce, which is refused"),)),
    Client(
        name="cryptographic-message-syntax (Rust)",
        keys=_USUAL - {"P-521"} | {"Ed25519"},
    ),
    Client(
        name="NuGet",
        keys=_RSA,
        quirks=(_asks("nonce-33", "sends nonces of 256 bits, which are refused"),),
    ),
)
"""The clients of docs/verify/clients.md in its order, and one more; a test compares the keys with that table."""


def receptions(evidence: Evidence, critical: Iterable[Result]) -> tuple[ClientVerdict, ...]:
    """Return what each client does with this authority, as far as can be told from what was seen.

    `critical` are the results of the critical checks, whether the caller asked for them or not.
    """
    broken = ["nobody has tried it where a critical check fails"] if any(each.fails for each in critical) else []
    return tuple(_verdict(client, evidence, broken) for client in CLIENTS)


def _verdict(client: Client, evidence: Evidence, broken: Sequence[str]) -> ClientVerdict:
    reasons: list[str] = []
    unknown = list(broken)
    try:
        kind = key_kind(evidence)
        if not kind:
            unknown.append("nobody has tried a key of this kind")
        elif kind not in client.keys:
            reasons.append(f"does not verify {kind}")
    except Unseen as error:
        unknown.append(str(error))
    for quirk in client.quirks:
        try:
            reason = quirk(evidence)
        except Unseen as error:
            unknown.append(str(error))
        else:
            reasons += [reason] if reason else []
    if reasons:
        return ClientVerdict(client=client.name, reception=Reception.FAILS, reasons=tuple(reasons))
    reception = Reception.UNKNOWN if unknown else Reception.WORKS
    return ClientVerdict(client=client.name, reception=reception, reasons=tuple(dict.fromkeys(unknown)))
