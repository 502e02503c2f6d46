"""What the check after response processors sees of a reply."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conformance.plain_encoder import PlainRequest
from tests.conformance.replies import granted, members, refused
from tests.serving import Parts, open_service
from tsa_core.api import RequestContext, ResponseProcessor, TokenDraft
from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.response import encode_rejection, signed_parts
from tsa_core.protocol.status import PKIFailureInfo

BODY = PlainRequest(nonce=5, cert_req=True).encode()


@pytest.fixture(scope="module")
def reply() -> Iterator[bytes]:
    with open_service() as service:
        yield service.authority.respond(BODY, RequestContext()).der


def test_signed_parts(reply: bytes) -> None:
    parts = signed_parts(reply)
    read = granted(reply)
    assert parts.status == b"\x00"
    assert parts.tst_info == read.content
    assert der.tlv(0x31, parts.signed_attributes) == read.signed_bytes
    assert parts.signature == read.signer_info["signature"].native


def test_a_rejection_has_none() -> None:
    with pytest.raises(EncodingError):
        signed_parts(encode_rejection(PKIFailureInfo.BAD_ALG, "no"))


def test_every_truncation_is_noticed(reply: bytes) -> None:
    for size in range(len(reply)):
        with pytest.raises(EncodingError):
            signed_parts(reply[:size])


def rebuilt(reply: bytes, *, in_signed_data: bytes = b"", in_info: bytes = b"", in_reply: bytes = b"") -> bytes:
    """Return the reply with bytes appended to its SignedData, its ContentInfo or itself, all lengths mended."""
    status, content_info = members(reply)
    identifier, explicit = members(content_info)
    (signed_data,) = members(explicit)
    signed_data = der.sequence(*members(signed_data), in_signed_data)
    content_info = der.sequence(identifier, der.explicit(0, signed_data), in_info)
    return der.sequence(status, content_info, in_reply)


def test_what_is_appended_is_noticed(reply: bytes) -> None:
    assert signed_parts(rebuilt(reply)) == signed_parts(reply)
    extra = der.octet_string(b"extra")
    for changed in (
        reply + b"\x00",
        rebuilt(reply, in_signed_data=extra),
        rebuilt(reply, in_info=extra),
        rebuilt(reply, in_reply=extra),
    ):
        with pytest.raises(EncodingError):
            signed_parts(changed)


def with_second_signer(reply: bytes) -> bytes:
    status, content_info = members(reply)
    identifier, explicit = members(content_info)
    (signed_data,) = members(explicit)
    *rest, signer_infos = members(signed_data)
    (signer,) = members(signer_infos)
    signed_data = der.sequence(*rest, der.tlv(0x31, signer + signer))
    return der.sequence(status, der.sequence(identifier, der.explicit(0, signed_data)))


def test_a_second_signer_is_noticed(reply: bytes) -> None:
    with pytest.raises(EncodingError):
        signed_parts(with_second_signer(reply))


class Processor(ResponseProcessor):
    """Does to replies what a test says."""

    def __init__(self) -> None:
        self.change: Callable[[bytes], bytes] = bytes

    def process(self, response: bytes, draft: TokenDraft) -> bytes:
        return self.change(response)


def unsigned_attribute_added(reply: bytes) -> bytes:
    """Add an unsigned attribute, as a processor may: it is not under the signature."""
    status, content_info = members(reply)
    identifier, explicit = members(content_info)
    (signed_data,) = members(explicit)
    *rest, signer_infos = members(signed_data)
    (signer,) = members(signer_infos)
    attribute = der.sequence(der.oid("1.2.3"), der.set_of(der.null()))
    signer = der.sequence(*members(signer), der.tlv(0xA1, attribute))
    signed_data = der.sequence(*rest, der.tlv(0x31, signer))
    return der.sequence(status, der.sequence(identifier, der.explicit(0, signed_data)))


def test_processors_may_not_change_what_is_signed() -> None:
    processor = Processor()
    with open_service(Parts(processors=[processor])) as service:

        def respond() -> bytes:
            return service.authority.respond(BODY, RequestContext()).der

        granted(respond())
        processor.change = unsigned_attribute_added
        assert len(granted(respond()).signer_info["unsigned_attrs"]) == 1
        for change in (
            lambda reply: reply[:-1] + bytes((reply[-1] ^ 1,)),
            lambda reply: reply.replace(granted(reply).content, granted(reply).content[:-1] + b"\x00"),
            lambda reply: reply + b"\x00",
            lambda reply: b"",
            with_second_signer,
            lambda reply: encode_rejection(PKIFailureInfo.BAD_ALG, "no"),
        ):
            processor.change = change
            refused(respond(), "03050600000040")
