"""Takes a reply apart as far as it goes: what cannot be read is said, and hinders no other part."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tsa_core.paths.certificate import PathCertificate
from tsa_core.paths.errors import VerificationError, printable
from tsa_core.paths.extensions import PARSING_ERRORS
from tsa_core.protocol import der
from tsa_core.protocol.ber import definite
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.reply import ReplyStatus, SignerInfo, Token, read_reply, read_signer_info, values_of
from tsa_core.protocol.tstinfo_reader import TSTInfo, read_tst_info
from tsa_core.verify.signed_data import is_named
from tsa_core.verify.statement import readable

MAX_CERTIFICATES: Final = 32
_CERTIFICATES: Final = 0xA0


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came as a TimeStampResp. A part that could not be read is None, and `problem` says why."""

    body: bytes
    problem: str = ""
    status: ReplyStatus | None = None
    status_der: bytes = b""
    """PKIStatusInfo, whole."""
    token: Token | None = None
    info: TSTInfo | None = None
    signer: SignerInfo | None = None
    certificates: tuple[PathCertificate, ...] = ()
    """Those of the token that can be read, in its order."""

    @property
    def is_token(self) -> bool:
        """Whether there is a token whose statement can be read."""
        return self.token is not None and self.info is not None

    @property
    def certificate(self) -> PathCertificate | None:
        """The certificate that the SignerInfo names, if the token holds it."""
        return named_by(self.signer, self.certificates)

    @property
    def path(self) -> tuple[PathCertificate, ...]:
        """The signer's certificate and those above it, as far as they came; nothing of it is verified."""
        found: list[PathCertificate] = []
        place = self.certificate
        while place is not None and place not in found:
            found.append(place)
            place = self.issuer_of(place)
        return tuple(found)

    def issuer_of(self, certificate: PathCertificate) -> PathCertificate | None:
        """Return the certificate above one, by its name, if it came."""
        if certificate.self_issued:
            return None
        return next((other for other in self.certificates if other.subject_name == certificate.issuer_name), None)


def named_by(signer: SignerInfo | None, certificates: Iterable[PathCertificate]) -> PathCertificate | None:
    """Return the certificate that a SignerInfo names, None when it is not among these."""
    if signer is None:
        return None
    return next((each for each in certificates if _is_named(each, signer.sid_der)), None)


def _is_named(certificate: PathCertificate, sid: bytes) -> bool:
    try:
        return is_named(certificate, sid)
    except (VerificationError, *PARSING_ERRORS):  # its extensions cannot be read
        return False


def read(body: bytes) -> Reply:
    """Return the parts of a body; raises nothing, whatever the body is."""
    try:
        status, token = read_reply(body)
        status_der = _status_der(body)
    except EncodingError as error:
        return Reply(body=body, problem=printable(str(error)))
    if token is None:
        return Reply(body=body, status=status, status_der=status_der)
    problems = []
    info = signer = None
    try:
        info = read_tst_info(token.content)
    except EncodingError as error:
        problems.append(str(error))
    try:
        if token.signers:
            signer = read_signer_info(token.signers[0])
    except EncodingError as error:
        problems.append(str(error))
    return Reply(
        body=body,
        problem=printable("; ".join(problems)),
        status=status,
        status_der=status_der,
        token=token,
        info=info,
        signer=signer,
        certificates=tuple(readable(token.certificates[:MAX_CERTIFICATES])),
    )


def _status_der(body: bytes) -> bytes:
    """Return PKIStatusInfo as it was sent; empty when its lengths are BER's."""
    try:
        _, start, end = der.read(body, 0, len(body))
        return body[start : der.read(body, start, end)[2]]
    except EncodingError:
        return b""


def has_certificates(reply: bytes) -> bool:
    """Say whether the SignedData of a reply that has been read has the field `certificates`, an empty one too."""
    token = fields_of(definite(reply))[1]
    signed_data = fields_of(fields_of(token)[1])[0]
    return any(field[0] == _CERTIFICATES for field in fields_of(signed_data))


def fields_of(encoded: bytes) -> tuple[bytes, ...]:
    """Return the values in a constructed value; raises EncodingError."""
    _, start, end = der.read(encoded, 0, len(encoded))
    return values_of(encoded[start:end])
