"""The period in which a profile may issue, and the days that are left of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from cryptography import x509

from tsa_core.conformance.rule import End
from tsa_core.paths.extensions import read_extensions
from tsa_core.protocol.encodings import Encoding
from tsa_core.protocol.errors import EncodingError
from tsa_core.values import Value

_DAY = timedelta(days=1)
OF_CERTIFICATE = "validity of the certificates"
OF_KEY = "private key usage period"


class IssuingPeriod(Value):
    """The first and the last instant of tokens, both included; `begins_with` and `ends_with` say what sets them.

    `certificates_end` is when the first certificate of the chain ends, `key_end` when the key must stop to sign, None
    when nothing says so.
    """

    not_before: datetime
    not_after: datetime
    certificates_end: datetime
    key_end: datetime | None = None
    begins_with: str = OF_CERTIFICATE
    ends_with: str = OF_CERTIFICATE


def private_key_usage_period(certificate: x509.Certificate) -> tuple[datetime | None, datetime | None]:
    """Return begin and end of the certificate's private key usage period (RFC 3280 4.2.1.4), None where it has none.

    Raises ValueError for an extension that is not strict DER, has neither time, or ends before it begins, and where
    the extensions cannot be read.
    """
    try:
        extensions = read_extensions(certificate, certificate.public_bytes(Encoding.DER))
    except EncodingError as error:
        raise ValueError(str(error)) from None
    if x509.PrivateKeyUsagePeriod.oid in extensions.unreadable:
        raise ValueError("the private key usage period is malformed")
    found = extensions.parsed.get(x509.PrivateKeyUsagePeriod.oid)
    if found is None:
        return None, None
    begin, end = found.value.not_before, found.value.not_after
    return begin and begin.replace(tzinfo=UTC), end and end.replace(tzinfo=UTC)


def issuing_period(
    certificates: Sequence[x509.Certificate], *, until: Literal["key-usage", "certificate"]
) -> IssuingPeriod:
    """Return when a TSA with this chain, its own certificate first, may issue.

    Verifiers check the whole path at genTime, so the period ends with the first certificate of the chain that ends.
    With `until` as `key-usage`, the private key usage period of the TSA's own certificate limits it too. Raises
    ValueError when that cannot be read.
    """
    begin = max(certificate.not_valid_before_utc for certificate in certificates)
    end = min(certificate.not_valid_after_utc for certificate in certificates)
    certificates_end, key_end = end, None
    begins_with = ends_with = OF_CERTIFICATE
    if until == "key-usage":
        key_begin, key_end = private_key_usage_period(certificates[0])
        if key_begin is not None and key_begin > begin:
            begin, begins_with = key_begin, OF_KEY
        if key_end is not None and key_end < end:
            end, ends_with = key_end, OF_KEY
    return IssuingPeriod(
        not_before=begin,
        not_after=end,
        certificates_end=certificates_end,
        key_end=key_end,
        begins_with=begins_with,
        ends_with=ends_with,
    )


def ended_earlier(period: IssuingPeriod, ends: Iterable[End]) -> IssuingPeriod:
    """Return the period, ended by the first of `ends` that is earlier than its own end."""
    first = min(ends, key=lambda end: end.moment, default=None)
    if first is None or first.moment >= period.not_after:
        return period
    return period.replace(not_after=first.moment, ends_with=first.what)


def days_between(now: datetime, end: datetime) -> float:
    """Return the days from `now` to `end`, with fractions; negative when it is past."""
    return (end - now) / _DAY
