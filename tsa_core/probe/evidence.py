"""What a probe saw: every exchange, and what the checks ask of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm

from tsa_core.client.answers import Answer
from tsa_core.paths.certificate import PathCertificate
from tsa_core.probe.cases import Case
from tsa_core.probe.reading import Reply, fields_of, named_by
from tsa_core.protocol.errors import EncodingError, RequestRejected
from tsa_core.protocol.reply import SignerInfo, Token
from tsa_core.protocol.request import TimeStampReq, read_request
from tsa_core.protocol.tstinfo_reader import TSTInfo

if TYPE_CHECKING:
    from tsa_core.probe.online import OnlineFacts
    from tsa_core.probe.wire import TlsFacts


class Unseen(Exception):
    """A check has nothing to judge; the text says what was missing."""


class DoesNotApply(Exception):
    """A check asks for something that this authority does not do; the text says what."""


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request and what came of it. Times are this machine's, aware, in UTC."""

    case: Case
    body: bytes | None
    sent: datetime
    received: datetime
    answer: Answer | None = None
    problem: str = ""
    """Why there is no answer."""
    reply: Reply | None = None
    """The answer's body, taken apart, if it may be a TimeStampResp."""
    kept: bool | None = None
    """Whether the server left a connection open; None where nobody looked."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return max((self.received - self.sent).total_seconds(), 0.0)

    @property
    def is_granted(self) -> bool:
        """Whether there is a token."""
        return self.reply is not None and self.reply.token is not None


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """A token whose statement can be read, with the exchange that brought it."""

    exchange: Exchange
    reply: Reply
    token: Token
    info: TSTInfo

    @property
    def name(self) -> str:
        """What was asked for."""
        return self.exchange.case.title

    @cached_property
    def request(self) -> TimeStampReq | None:
        """The request that it answers; None for what is no DER request, chunks among it."""
        try:
            return read_request(self.exchange.body or b"")
        except (EncodingError, RequestRejected):
            return None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything that a probe learnt. `exchanges` are by the names of their cases, in the order of sending.

    `clock_bound` is how far this machine's clock may be off, in seconds, None when the caller did not say.
    """

    url: str
    started: datetime
    exchanges: Mapping[str, Exchange]
    clock_bound: float | None = None
    tls: TlsFacts | None = None
    path_problem: str | None = None
    """Why a token, of each signer the first, is not trusted, empty when all are, None when no trust was given."""
    path: tuple[PathCertificate, ...] = ()
    """The path of the first token, from signer to root, where the caller trusts that root; else empty."""
    online: OnlineFacts | None = None
    stamps: Sequence[Stamp] = field(init=False, default=())

    def __post_init__(self) -> None:
        found = []
        for each in self.exchanges.values():
            reply = each.reply
            if reply is not None and reply.token is not None and reply.info is not None:
                found.append(Stamp(exchange=each, reply=reply, token=reply.token, info=reply.info))
        object.__setattr__(self, "stamps", tuple(found))

    def exchange(self, name: str) -> Exchange:
        """Return an exchange; raises Unseen when it was not made."""
        found = self.exchanges.get(name)
        if found is None:
            raise Unseen("the request for it was not sent")
        return found

    def answered(self, name: str) -> tuple[Exchange, Answer]:
        """Return an exchange with its answer; raises Unseen when there was none."""
        found = self.exchange(name)
        if found.answer is None:
            raise Unseen(f"{found.case.title}: {found.problem}")
        return found, found.answer

    def stamp(self, name: str) -> Stamp:
        """Return the token of a request; raises Unseen when there was none."""
        self.exchange(name)
        for each in self.stamps:
            if each.exchange.case.name == name:
                return each
        raise Unseen(f"{self.exchanges[name].case.title}: no token came")

    def tokens(self) -> Sequence[Stamp]:
        """Return every token; raises Unseen when there is none."""
        if not self.stamps:
            raise Unseen("no token came that can be read")
        return self.stamps

    def certified(self) -> Stamp:
        """Return the first token that holds its signer's certificate; raises Unseen."""
        for each in self.tokens():
            if each.reply.certificate is not None:
                return each
        raise Unseen("no token holds the certificate that its signer names")

    def certificates(self) -> list[PathCertificate]:
        """Return the signers' certificates, each once: several units may answer for one authority; raises Unseen."""
        self.certified()
        found = {c.der: c for each in self.stamps if (c := each.reply.certificate) is not None}
        return list(found.values())

    def certificate_of(self, stamp: Stamp) -> PathCertificate | None:
        """Return the certificate that a token's signer names, which another token may have brought; raises Unseen."""
        return stamp.reply.certificate or named_by(stamp.reply.signer, self.certificates())

    def bags(self) -> list[Reply]:
        """Return replies with their signer's certificate, one for each set of certificates; raises Unseen."""
        self.certified()
        held = (each.reply for each in self.stamps if each.reply.certificate is not None)
        return list({each.token.certificates: each for each in held if each.token is not None}.values())

    def certificate(self) -> PathCertificate:
        """Return the certificate of the first signer; raises Unseen."""
        return self.certificates()[0]

    def signers(self) -> Iterator[tuple[Stamp, SignerInfo]]:
        """Yield every token with its SignerInfo; raises Unseen when none can be read."""
        found = [(each, signer) for each in self.tokens() if (signer := each.reply.signer) is not None]
        if not found:
            raise Unseen("no SignerInfo can be read")
        yield from found

    def refusals(self) -> list[Exchange]:
        """Return every well-formed reply that says so; one that says granted and brings no token is none."""
        replies = [each for each in self.exchanges.values() if each.reply is not None and each.reply.token is None]
        return [e for e in replies if e.reply is not None and e.reply.status is not None and not e.reply.status.granted]


def key_of(certificate: PathCertificate) -> object:
    """Return a certificate's key, a weak one too; raises Unseen when it cannot be read."""
    try:
        return certificate.certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise Unseen("the key cannot be read") from None


def offset_of(stamp: Stamp) -> tuple[timedelta, timedelta]:
    """Return how far the authority's clock is from this one, at least and at most.

    genTime was read between the moments of sending and receiving, and says its time down to its last digit.
    """
    return stamp.info.gen_time - stamp.exchange.received, stamp.info.gen_time + tick_of(stamp) - stamp.exchange.sent


def tick_of(stamp: Stamp) -> timedelta:
    """Return what genTime's last digit is worth: a token that says 12:00:00 may have been made at 12:00:00.9."""
    digits = fraction_digits(stamp.token.content)
    return timedelta(microseconds=10 ** max(6 - digits, 0))


def fraction_digits(content: bytes) -> int:
    """Return how many digits of a second the genTime of an encoded TSTInfo has."""
    text = gen_time_text(content)
    return len(text.partition(b".")[2].removesuffix(b"Z"))


def gen_time_text(content: bytes) -> bytes:
    """Return genTime's own characters, of an encoded TSTInfo that has been read."""
    return next(each[2:] for each in fields_of(content) if each[0] == 0x18)
