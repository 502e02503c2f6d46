"""What an authority is, besides good or bad: its key, policy, sizes, times. Everything here is safe to print."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from tsa_core.paths.errors import VerificationError, printable
from tsa_core.paths.extensions import PARSING_ERRORS
from tsa_core.probe.cases import SHA3_HASHES, STRONG_HASHES
from tsa_core.probe.evidence import Evidence, Unseen, fraction_digits, offset_of
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.signatures import describe_key

_HASHES = ("md5", "sha1", "sha256", *(h.name for h in (*STRONG_HASHES, *SHA3_HASHES)))


def facts(evidence: Evidence) -> dict[str, str]:
    """Return names with values, in the order in which they are shown; what was not seen is left out."""
    found: dict[str, str] = {}
    for name, read in _READERS.items():
        try:
            found[name] = printable(read(evidence))
        except (Unseen, EncodingError, VerificationError, *PARSING_ERRORS):
            continue
    return {name: value for name, value in found.items() if value}


def _signer(evidence: Evidence) -> str:
    return "; ".join(each.certificate.subject.rfc4514_string() for each in evidence.certificates())


def _key(evidence: Evidence) -> str:
    return ", ".join(dict.fromkeys(describe_key(each.certificate.public_key()) for each in evidence.certificates()))


def _until(evidence: Evidence) -> str:
    first = min(each.not_after for each in evidence.certificates())
    return f"{first:%Y-%m-%d}, in {(first - evidence.started).days} days"


def _chain(evidence: Evidence) -> str:
    return f"{len(evidence.certified().token.certificates)} certificates"


def _policy(evidence: Evidence) -> str:
    return evidence.tokens()[0].info.policy


def _accuracy(evidence: Evidence) -> str:
    stated = evidence.tokens()[0].info.accuracy
    return "not stated" if stated is None else f"{stated.microseconds / 1_000_000:g} s"


def _ordering(evidence: Evidence) -> str:
    return "yes" if evidence.tokens()[0].info.ordering else "no"


def _digits(evidence: Evidence) -> str:
    most = max(fraction_digits(stamp.token.content) for stamp in evidence.tokens())
    return "whole seconds" if not most else f"{most} digits of a second"


def _hashes(evidence: Evidence) -> str:
    granted = {"sha256"} if evidence.exchange("plain").is_granted else set()
    granted |= {name for name in _HASHES if (e := evidence.exchanges.get(name)) is not None and e.is_granted}
    return ", ".join(name for name in _HASHES if name in granted)


def _serial(evidence: Evidence) -> str:
    bits = [stamp.info.serial_number.bit_length() for stamp in evidence.tokens()]
    return f"{min(bits)} to {max(bits)} bits" if min(bits) != max(bits) else f"{bits[0]} bits"


def _offset(evidence: Evidence) -> str:
    """Return the interval in which all measurements agree, or say that they do not."""
    intervals = [offset_of(stamp) for stamp in evidence.tokens()]
    least = max(interval[0] for interval in intervals).total_seconds()
    most = min(interval[1] for interval in intervals).total_seconds()
    if least > most:
        return "it changed while it was looked at"
    return f"{least:+.3f} to {most:+.3f} s from this machine's clock"


def _times(evidence: Evidence) -> str:
    taken = [stamp.exchange.seconds * 1000 for stamp in evidence.tokens()]
    return f"{median(taken):.0f} ms in the middle, {max(taken):.0f} ms at most"


def _sizes(evidence: Evidence) -> str:
    with_certificates = len(evidence.stamp("plain").reply.body)
    try:
        return f"{with_certificates} bytes, {len(evidence.stamp('bare').reply.body)} without certificates"
    except Unseen:
        return f"{with_certificates} bytes"


def _tls(evidence: Evidence) -> str:
    if evidence.tls is None:
        return "" if evidence.url.startswith("https:") else "none: plain http"
    return f"{evidence.tls.version}, {evidence.tls.cipher}"


_READERS: dict[str, Callable[[Evidence], str]] = {
    "Signer": _signer,
    "Key": _key,
    "Certificate until": _until,
    "Chain in the token": _chain,
    "Policy": _policy,
    "Accuracy": _accuracy,
    "Ordering": _ordering,
    "genTime": _digits,
    "Hashes granted": _hashes,
    "Serial numbers": _serial,
    "Clock": _offset,
    "Time to answer": _times,
    "Size of a reply": _sizes,
    "TLS": _tls,
}
