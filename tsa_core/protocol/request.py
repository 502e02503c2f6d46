"""TimeStampReq: the strict reader that the server uses and the encoder that the client uses.

TimeStampReq ::= SEQUENCE {
   version         INTEGER { v1(1) },
   messageImprint  SEQUENCE { hashAlgorithm AlgorithmIdentifier, hashedMessage OCTET STRING },
   reqPolicy       OBJECT IDENTIFIER OPTIONAL,
   nonce           INTEGER OPTIONAL,
   certReq         BOOLEAN DEFAULT FALSE,
   extensions      [0] IMPLICIT Extensions OPTIONAL }          -- RFC 3161 2.4.1
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError, RequestRejected
from tsa_core.protocol.hashes import IMPRINT_HASHES, SHA256, HashAlgorithm
from tsa_core.protocol.status import PKIFailureInfo

_new_request = tuple.__new__
"""Makes a TimeStampReq in half the time that its constructor takes."""

MAX_NONCE_OCTETS = 64
MAX_EXTENSIONS = 32
MAX_IMPRINT_OCTETS = 1024

_HASHES_BY_OID = {h.oid_der: h for h in IMPRINT_HASHES.values()}

_VERSION_1 = der.integer(1)
_COMMON_START = 2
_COMMON_IMPRINT = _COMMON_START + len(_VERSION_1)


def _common_head(algorithm: HashAlgorithm) -> bytes:
    """Return version and imprint up to the digest, as encoded in nearly all requests."""
    imprint = der.sequence(der.sequence(algorithm.oid_der, der.null()), der.octet_string(bytes(algorithm.digest_size)))
    return _VERSION_1 + imprint[: -algorithm.digest_size]


_COMMON_DIGEST = _COMMON_START + len(_common_head(SHA256))
_COMMON_HEADS = {
    _common_head(algorithm): (algorithm.oid_der, _COMMON_DIGEST + algorithm.digest_size)
    for algorithm in IMPRINT_HASHES.values()
}
"""The hash, and where the digest ends. Looked up instead of parsed; a head whose length is not that of SHA-256's is
never found, and so is parsed."""
_CERT_REQ = der.boolean(True)
_NONCE_HEADERS = {bytes((der.INTEGER, size)): 2 + size for size in range(2, MAX_NONCE_OCTETS + 1)}
"""The length of a nonce with its header, by the header; one of a single octet is parsed."""


class RequestExtension(NamedTuple):
    """One Extension; `der` is its encoding, without a critical that is FALSE, as DER requires."""

    oid: str
    critical: bool
    value: bytes
    der: bytes


class TimeStampReq(NamedTuple):
    """A well-formed request. The `_der` fields are the octets that were sent, to be copied into the token.

    The authority checks whether it accepts the hash, the digest's length, the policy and the extensions.
    """

    imprint_der: bytes
    """MessageImprint, whole."""
    hash_oid_der: bytes
    digest: bytes
    """hashedMessage; its length has not been compared with the hash algorithm's."""
    policy_der: bytes
    """reqPolicy, empty when absent."""
    nonce_der: bytes
    """nonce, empty when absent."""
    cert_req: bool
    extensions: tuple[RequestExtension, ...]

    @property
    def hash_algorithm(self) -> HashAlgorithm | None:
        """The imprint's hash algorithm, None when the core does not know it."""
        return _HASHES_BY_OID.get(self.hash_oid_der)

    @property
    def hash_oid(self) -> str:
        """The imprint's hash algorithm, dotted."""
        known = self.hash_algorithm
        return known.oid if known else der.dotted(self.hash_oid_der)

    @property
    def policy(self) -> str | None:
        """reqPolicy, dotted."""
        return der.dotted(self.policy_der) if self.policy_der else None

    @property
    def nonce(self) -> int | None:
        """The nonce; negative ones are legal."""
        # The content has fewer than 128 octets, so the header has two.
        return int.from_bytes(self.nonce_der[2:], "big", signed=True) if self.nonce_der else None


def _malformed(text: str) -> RequestRejected:
    return RequestRejected(PKIFailureInfo.BAD_DATA_FORMAT, f"the request is not a DER TimeStampReq: {text}")


@lru_cache(maxsize=512)
def _check_oid(content: bytes) -> None:
    """Check an identifier, and cache the result: real traffic has few, and the cache has a bounded size."""
    der.check_oid(content)


def _read_boolean(data: bytes, start: int, stop: int) -> bool:
    if stop - start != 1 or data[start] not in {0x00, 0xFF}:
        raise EncodingError(f"the BOOLEAN at byte {start} is neither 00 nor FF")
    return data[start] == 0xFF


def read_extensions(data: bytes) -> tuple[RequestExtension, ...]:
    """Read the content of an Extensions value: one Extension after another, no identifier twice.

    Raises EncodingError for anything else, RequestRejected for more than MAX_EXTENSIONS.
    """
    return _read_extensions(data, 0, len(data))


def _read_extensions(data: bytes, offset: int, end: int) -> tuple[RequestExtension, ...]:
    if offset == end:
        raise EncodingError("the extensions field is present but empty")
    extensions: list[RequestExtension] = []
    seen: set[str] = set()
    while offset < end:
        if len(extensions) == MAX_EXTENSIONS:
            raise RequestRejected(PKIFailureInfo.BAD_REQUEST, f"the request has more than {MAX_EXTENSIONS} extensions")
        tag, position, stop = der.read(data, offset, end)
        if tag != der.SEQUENCE:
            raise EncodingError(f"the value at byte {offset} is not an Extension")
        whole = data[offset:stop]
        tag, start, after = der.read(data, position, stop)
        if tag != der.OBJECT_IDENTIFIER:
            raise EncodingError(f"the Extension at byte {offset} does not begin with an identifier")
        _check_oid(data[start:after])
        identifier = data[position:after]
        name = der.dotted(identifier)
        tag, start, after = der.read(data, after, stop)
        critical = False
        if tag == der.BOOLEAN:
            critical = _read_boolean(data, start, after)
            rest = after
            tag, start, after = der.read(data, rest, stop)
            if not critical:
                whole = der.sequence(identifier, data[rest:stop])
        if tag != der.OCTET_STRING or after != stop:
            raise EncodingError(f"the Extension at byte {offset} does not end with one OCTET STRING")
        if name in seen:
            raise EncodingError(f"the extension {name} appears twice")
        seen.add(name)
        extensions.append(RequestExtension(name, critical, data[start:after], whole))
        offset = stop
    return tuple(extensions)


def _read_imprint(data: bytes, offset: int, end: int) -> tuple[bytes, bytes, int]:
    """Return (hash identifier, digest, end of the MessageImprint that begins at `offset`)."""
    tag, start, stop = der.read(data, offset, end)
    if tag != der.SEQUENCE:
        raise EncodingError("the messageImprint is not a SEQUENCE")
    tag, position, algorithm_end = der.read(data, start, stop)
    if tag != der.SEQUENCE:
        raise EncodingError("the hashAlgorithm is not an AlgorithmIdentifier")
    tag, start, after = der.read(data, position, algorithm_end)
    if tag != der.OBJECT_IDENTIFIER:
        raise EncodingError("the hashAlgorithm does not begin with an identifier")
    hash_oid_der = data[position:after]
    if hash_oid_der not in _HASHES_BY_OID:
        _check_oid(data[start:after])
    bad_parameters = False
    if after != algorithm_end:
        tag, start, parameters_end = der.read(data, after, algorithm_end)
        if parameters_end != algorithm_end:
            raise EncodingError("the hashAlgorithm has something after its parameters")
        bad_parameters = tag != der.NULL or start != parameters_end
    tag, start, after = der.read(data, algorithm_end, stop)
    if tag != der.OCTET_STRING or after != stop:
        raise EncodingError("the messageImprint does not end with one OCTET STRING")
    if bad_parameters:
        raise RequestRejected(PKIFailureInfo.BAD_ALG, "the parameters of the hash algorithm must be absent or NULL")
    if after - start > MAX_IMPRINT_OCTETS:
        raise EncodingError("the hashedMessage is longer than any digest")
    return hash_oid_der, data[start:after], stop


def read_request(data: bytes) -> TimeStampReq:
    """Read one DER TimeStampReq that fills `data` exactly.

    Strict: shortest lengths, no octets left over at any level, a bound on everything. One exception: a certReq or
    critical that is FALSE may be present although DER omits defaults, because some toolkits write it and the meaning
    is the same.

    Raises RequestRejected, and nothing else, for every other input: badDataFormat for what is not DER of a
    TimeStampReq, badRequest for another version or excess, badAlg for parameters of the hash algorithm.
    """
    # A shortcut for the most common request: short lengths, a known imprint, at most a nonce and certReq after it. All
    # others are parsed below, with the same result for these.
    known = _COMMON_HEADS.get(data[_COMMON_START:_COMMON_DIGEST])
    if known is not None and data[0] == der.SEQUENCE and data[1] == len(data) - 2 < 0x80:
        hash_oid_der, stop = known
        nonce = data[stop:]
        if cert_req := nonce.endswith(_CERT_REQ):
            nonce = nonce[:-3]
        # There is nothing else, and it is positive and in its shortest form; or there is none.
        alone = len(nonce) == _NONCE_HEADERS.get(nonce[:2])
        if (alone and (0 < nonce[2] < 0x80 or (not nonce[2] and nonce[3] >= 0x80))) or (
            not nonce and stop <= len(data)
        ):
            return _new_request(
                TimeStampReq,
                (data[_COMMON_IMPRINT:stop], hash_oid_der, data[_COMMON_DIGEST:stop], b"", nonce, cert_req, ()),
            )
    try:
        return _read_request(data)
    except EncodingError as error:
        raise _malformed(str(error)) from None


def _read_request(data: bytes) -> TimeStampReq:
    read = der.read
    size = len(data)
    if not size:
        raise EncodingError("it is empty")
    tag, offset, end = read(data, 0, size)
    if tag != der.SEQUENCE:
        raise EncodingError("it is not a SEQUENCE")
    if end != size:
        raise EncodingError(f"{size - end} bytes follow it")

    position = offset + len(_VERSION_1)
    if data[offset:position] != _VERSION_1:
        tag, start, stop = read(data, offset, end)
        if tag != der.INTEGER:
            raise EncodingError("the version is not an INTEGER")
        _check_integer(data, start, stop, "version")
        raise RequestRejected(PKIFailureInfo.BAD_REQUEST, "the version of the request must be 1")

    hash_oid_der, digest, offset = _read_imprint(data, position, end)
    imprint_der = data[position:offset]
    return TimeStampReq(imprint_der, hash_oid_der, digest, *_read_optional_fields(data, offset, end))


def _read_optional_fields(
    data: bytes, offset: int, end: int
) -> tuple[bytes, bytes, bool, tuple[RequestExtension, ...]]:
    """Return (reqPolicy, nonce, certReq, extensions), each at most once and in this order."""
    policy_der = nonce_der = b""
    cert_req = False
    extensions: tuple[RequestExtension, ...] = ()
    last = 0
    while offset < end:
        start = offset + 2
        if start <= end and data[offset + 1] < 0x80 and start + data[offset + 1] <= end:
            tag, stop = data[offset], start + data[offset + 1]  # as `read` returns them for a short value
        else:
            tag, start, stop = der.read(data, offset, end)
        if tag == der.OBJECT_IDENTIFIER and last < 1:
            last = 1
            _check_oid(data[start:stop])
            policy_der = data[offset:stop]
        elif tag == der.INTEGER and last < 2:
            last = 2
            _check_integer(data, start, stop, "nonce")
            # A leading octet 00, which makes the number positive, does not count.
            if stop - start - (data[start] == 0) > MAX_NONCE_OCTETS:
                raise RequestRejected(PKIFailureInfo.BAD_REQUEST, f"the nonce is longer than {MAX_NONCE_OCTETS} bytes")
            nonce_der = data[offset:stop]
        elif tag == der.BOOLEAN and last < 3:
            last = 3
            cert_req = _read_boolean(data, start, stop)
        elif tag == 0xA0 and last < 4:
            last = 4
            extensions = _read_extensions(data, start, stop)
        else:
            raise EncodingError(f"unexpected value with tag {tag:#04x} at byte {offset}")
        offset = stop
    return policy_der, nonce_der, cert_req, extensions


def _check_integer(data: bytes, start: int, stop: int, name: str) -> None:
    size = stop - start
    if not size:
        raise EncodingError(f"the {name} is an INTEGER without content")
    if size > 1 and (
        (data[start] == 0x00 and data[start + 1] < 0x80) or (data[start] == 0xFF and data[start + 1] >= 0x80)
    ):
        raise EncodingError(f"the {name} is an INTEGER with superfluous leading octets")


def encode_request(
    *,
    algorithm: HashAlgorithm,
    digest: bytes,
    policy: str | None = None,
    nonce: int | None = None,
    cert_req: bool = False,
    extensions: tuple[bytes, ...] = (),
) -> bytes:
    """Return the DER of a TimeStampReq; hash parameters are NULL, which every known server accepts.

    `extensions` are encoded Extension values. Raises EncodingError for a digest of the wrong length.
    """
    if len(digest) != algorithm.digest_size:
        raise EncodingError(f"a {algorithm.name} digest has {algorithm.digest_size} bytes, this one has {len(digest)}")
    imprint = der.sequence(der.sequence(algorithm.oid_der, der.null()), der.octet_string(digest))
    return der.sequence(
        der.integer(1),
        imprint,
        der.oid(policy) if policy is not None else b"",
        der.integer(nonce) if nonce is not None else b"",
        der.boolean(True) if cert_req else b"",
        der.tlv(0xA0, b"".join(extensions)) if extensions else b"",
    )
