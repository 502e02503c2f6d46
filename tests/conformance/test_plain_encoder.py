"""TokenTemplate, and the authority around it, equal the plain encoder byte for byte."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from asn1crypto import core
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import pki
from tests.conformance.plain_encoder import (
    HASHES,
    Extension,
    PlainOptions,
    PlainRequest,
    plain_response,
)
from tests.conformance.replies import assert_der, granted, verify
from tests.serving import Parts, TestClock, TestSigner, open_service
from tsa_core.api import RequestContext, signature_algorithm
from tsa_core.protocol import der
from tsa_core.protocol.hashes import IMPRINT_HASHES
from tsa_core.protocol.request import encode_request, read_request
from tsa_core.protocol.template import TokenTemplate
from tsa_core.protocol.tstinfo import Accuracy, encode_gen_time, encode_serials, encode_signing_time

EXAMPLES = int(os.environ.get("TSA_TEST_EXAMPLES", "300"))
"""300 reach every branch that 1,000 reach; give more where there is time, TSA_TEST_EXAMPLES=20000 for example."""
TEMPLATE_KINDS = ("p256", "p384", "p521", "rsa-2048", "ed25519", "ed448", "ml-dsa-44", "ml-dsa-65", "ml-dsa-87")
SIGNATURE_SIZES = (0, 1, 64, 70, 71, 72, 103, 114, 127, 128, 139, 255, 256, 384, 512, 2420, 3309, 4627, 65535, 65536)

arcs = st.one_of(st.integers(0, 200), st.sampled_from([127, 128, 16383, 16384, 2**32, 2**64 - 1, 2**127]))
oids = st.one_of(
    st.builds(
        lambda first, second, rest: ".".join(map(str, (first, second, *rest))),
        st.integers(0, 1),
        st.integers(0, 39),
        st.lists(arcs, max_size=8),
    ),
    st.builds(
        lambda second, rest: ".".join(map(str, (2, second, *rest))), st.integers(0, 999), st.lists(arcs, max_size=8)
    ),
)
nonces = st.one_of(
    st.none(),
    st.integers(-(2**511), 2**512 - 1),
    st.integers(-(2**64), 2**64),
    st.sampled_from([0, 1, -1, 127, 128, -128, -129, 255, 256, 2**159, 2**160, 2**511, 2**512 - 1, -(2**511)]),
)
extensions: st.SearchStrategy[tuple[Extension, ...]] = st.lists(
    st.tuples(oids, st.booleans(), st.binary(max_size=300)), max_size=4, unique_by=lambda one: one[0]
).map(tuple)


@st.composite
def requests(draw: st.DrawFn, hashes: tuple[str, ...] = tuple(HASHES)) -> PlainRequest:
    name = draw(st.sampled_from(hashes))
    size = HASHES[name][1]
    return PlainRequest(
        hash_name=name,
        null_parameters=draw(st.booleans()),
        digest=draw(st.binary(min_size=size, max_size=size)),
        policy=draw(st.none() | oids),
        nonce=draw(nonces),
        cert_req=draw(st.booleans()),
    )


@st.composite
def options(draw: st.DrawFn) -> PlainOptions:
    kind = draw(st.sampled_from(TEMPLATE_KINDS))
    return PlainOptions(
        kind=kind,
        pss=kind.startswith("rsa") and draw(st.booleans()),
        chain=pki.der(pki.chain(kind))[: draw(st.integers(1, 3))],
        accuracy_us=draw(
            st.none()
            | st.sampled_from([1, 999, 1000, 1001, 127_000, 128_000, 999_999, 1_000_000, 1_500_000, 10**9])
            | st.integers(1, 2**40)
        ),
        ordering=draw(st.booleans()),
        fraction_digits=draw(st.integers(0, 6)),
        tsa_name=draw(st.booleans()),
        algorithm_protection=draw(st.booleans()),
        extensions=draw(extensions),
    )


times = st.datetimes(
    datetime(1950, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
    datetime(2060, 12, 31, 23, 59, 59, 999999),  # noqa: DTZ001 - as above
    timezones=st.just(UTC),
)


def encode_extension(extension: Extension) -> bytes:
    oid, critical, value = extension
    return der.sequence(der.oid(oid), der.boolean(True) if critical else b"", der.octet_string(value))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    request=requests(),
    option=options(),
    time=times,
    random=st.binary(min_size=20, max_size=20),
    signature_size=st.sampled_from(SIGNATURE_SIZES),
    own=st.integers(0, 4),
)
def test_template_equals_the_plain_encoder(
    request: PlainRequest, option: PlainOptions, time: datetime, random: bytes, signature_size: int, own: int
) -> None:
    """Every shape of request, profile and time; `own` extensions are the template's, the others this token's."""
    encoded_extensions = [encode_extension(extension) for extension in option.extensions]
    template = TokenTemplate(
        signer_certificate=option.chain[0],
        certificates=option.chain,
        algorithm=signature_algorithm(pki.key(option.kind).public_key(), pss=option.pss),
        accuracy=None if option.accuracy_us is None else Accuracy(microseconds=option.accuracy_us),
        ordering=option.ordering,
        tsa_name=option.tsa_name,
        algorithm_protection=option.algorithm_protection,
        extensions=encoded_extensions[:own],
    )
    policy = request.policy or "1.3.6.1.4.1.57264.2"
    (serial_der,) = encode_serials(random)
    read = read_request(request.encode())
    tst_info = template.tst_info(
        policy_der=read.policy_der or der.oid(policy),
        imprint_der=read.imprint_der,
        serial_der=serial_der,
        gen_time_der=encode_gen_time(time, fraction_digits=option.fraction_digits),
        nonce_der=read.nonce_der,
        extensions=b"".join(encoded_extensions[own:]),
    )
    signed_attributes = template.signed_attributes(tst_info, encode_signing_time(time))
    signature = bytes(signature_size)
    response = template.response(
        tst_info=tst_info, signed_attributes=signed_attributes, signature=signature, certificates=read.cert_req
    )
    plain = plain_response(
        request,
        option,
        policy=policy,
        serial_number=core.Integer.load(serial_der).native,
        time=time,
        signature=signature,
    )
    assert response == plain


@settings(max_examples=EXAMPLES // 6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(request=requests(), option=options(), seconds=st.integers(0, 49 * 365 * 86400), micros=st.integers(0, 999_999))
def test_authority_equals_the_plain_encoder(
    request: PlainRequest, option: PlainOptions, seconds: int, micros: int
) -> None:
    """From the request's bytes to the reply's, with real signatures: only serial and signature are taken from it."""
    time = pki.NOT_BEFORE + timedelta(seconds=seconds, microseconds=micros)
    policy = request.policy or "1.3.6.1.4.1.57264.2"
    profile = {
        "policies": [policy],
        "accuracy": "none" if option.accuracy_us is None else timedelta(microseconds=option.accuracy_us),
        "ordering": option.ordering and option.fraction_digits >= 3,
        "fraction_digits": option.fraction_digits,
        "tsa_name": option.tsa_name,
        "algorithm_protection": option.algorithm_protection,
        "include_chain": ("leaf", "intermediates", "full")[len(option.chain) - 1],
        "allow_custom_extensions": True,
        "accept_sha1": True,
        "hashes": [name for name in HASHES if name != "sha1"],
    }
    parts = Parts(
        signers={"p256": TestSigner(option.kind, rsa_pss=option.pss)},
        clock=TestClock(lambda: time),
    )
    request = PlainRequest(**{**vars(request), "extensions": option.extensions})
    with open_service(parts, profiles={"default": profile}) as service:
        body = service.authority.respond(request.encode(), RequestContext()).der
    reply = granted(body)
    chain = pki.der(pki.chain(option.kind))
    verify(reply, chain[0])
    assert_der(reply.content)
    option = PlainOptions(**{**vars(option), "ordering": profile["ordering"]})
    assert body == plain_response(
        request,
        option,
        policy=policy,
        serial_number=reply.tst_info["serial_number"].native,
        time=time,
        signature=reply.signer_info["signature"].native,
    )


@settings(max_examples=EXAMPLES // 5, deadline=None)
@given(request=requests(), added=extensions)
def test_our_request_encoder_equals_the_plain_one(request: PlainRequest, added: tuple[Extension, ...]) -> None:
    plain = PlainRequest(**{**vars(request), "null_parameters": True, "extensions": added})
    assert plain.encode() == encode_request(
        algorithm=IMPRINT_HASHES[plain.hash_name],
        digest=plain.digest,
        policy=plain.policy,
        nonce=plain.nonce,
        cert_req=plain.cert_req,
        extensions=tuple(map(encode_extension, added)),
    )
