"""Files that mean harm: each is refused with one line, in bounded time and memory, and nothing else is raised."""

from __future__ import annotations

import base64
import json
import random
import re
import struct
import sys
import zipfile

import pytest

from tests.extract import signed_files
from tests.extract.signed_files import box, png, signed_data, superbox, token
from tests.extract.test_extract import DATA, VERIFIER
from tests.interop.program_clients import portable_executable
from tsa_core.cose import ExtraMissing
from tsa_core.extract import ExtractError, extract, pdf
from tsa_core.extract.checking import Outcome, check
from tsa_core.extract.found import MAX_TOKENS
from tsa_core.protocol import der

TABLE = 64 + 24 + 112 + 4 * 8


def program(table: bytes, *, offset: int | None = None, size: int | None = None) -> bytes:
    data = bytearray(portable_executable())
    struct.pack_into("<II", data, TABLE, len(data) if offset is None else offset, len(table) if size is None else size)
    return bytes(data) + table


def refused(data: bytes) -> str:
    """The reason why a file is refused, when it is looked at or when one of its tokens is checked."""
    with pytest.raises(ExtractError) as caught:
        extract(data)
    return str(caught.value)


def zip_with_entries(count: int) -> bytes:
    directory = b"PK\x01\x02" + bytes(42)
    return b"PK\x03\x04" + directory * count + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, 46 * count, 4, 0)


def nested(levels: int) -> bytes:
    """Signatures in signatures, as Authenticode has them."""
    data = signed_data(None, DATA)
    for _ in range(levels):
        attribute = der.sequence(der.oid("1.3.6.1.4.1.311.2.4.1"), der.set_of(data))
        signer = der.sequence(
            *(der.integer(1), der.sequence(), der.sequence(), der.sequence(), der.octet_string(b"s")),
            der.tlv(0xA1, attribute),
        )
        body = der.sequence(der.integer(1), der.set_of(), der.sequence(der.oid("1.2.3")), der.set_of(signer))
        data = der.sequence(der.oid("1.2.840.113549.1.7.2"), der.explicit(0, body))
    return data


HEAD = der.oid("1.2.840.113549.1.7.2")
BOMB = zipfile.ZIP_DEFLATED


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "none of what is read here"),
        (b"hello", "none of what is read here"),
        (b"\x30\x03\x02\x01\x01", "no timestamp and no CMS signature"),
        (b"-----BEGIN CMS-----\n!!!\n-----END CMS-----\n", "base64"),
        (b'{"mediaType": 1}', "mediaType"),
        (b"{" * 100_000, "not JSON"),
        (b"\x30\x80" + HEAD + b"\xa0\x80" * 60, "cannot be read"),
        (b"\x30\x84\xff\xff\xff\xff" + HEAD, "cannot be read"),
        (nested(5), "nested more than 4 levels"),
        (signed_files.zipped({"META-INF/A.RSA": b"\x30"}), "cannot be read"),
        (b"PK\x03\x04" + bytes(100), "no end record"),
        (zip_with_entries(200_000), "directory is larger"),
        (b"PK\x03\x04PK\x06\x07" + bytes(16) + b"PK\x05\x06" + bytes(18), "ZIP64"),
        (zip_with_entries(3), "cannot be read|two files of one name"),
        (signed_files.zipped({"META-INF/a.p7s": bytes(17 << 20)}, BOMB), "longer than 16777216 bytes when unpacked"),
        (signed_files.zipped({"META-INF/ASiCManifest.xml": b"<!DOCTYPE a><a/>"}), "DOCTYPE"),
        (signed_files.zipped({"META-INF/ASiCManifest.xml": b"<a>" * 100}), "nested more than 64"),
        (signed_files.zipped({"META-INF/ASiCManifest.xml": b"<a"}), "no XML"),
        (b"MZ", "ends inside of its headers"),
        (b"MZ" + bytes(58) + b"\xff\xff\xff\x7f", "no PE header"),
        (program(b"", size=1 << 20), "beyond the end"),
        (program(struct.pack("<IHH", 1 << 20, 0x200, 2)), "longer than the table"),
        (program(struct.pack("<IHH", 0, 0x200, 2)), "longer than the table"),
        (program(struct.pack("<IHH", 8, 0x200, 1) * 40), "more than 16 signatures"),
    ],
)  # fmt: skip
def test_refused(data: bytes, reason: str) -> None:
    assert re.search(reason, refused(data))


@pytest.mark.package("cbor2")
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (signed_files.png(b"\xff\xff\xff\xffjumb"), "longer than the box"),
        (signed_files.png(b"\x00\x00\x00\x09jumbx"), "longer than the box"),
        (b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffcaBX" + bytes(20), "longer than the file"),
        (b"\xff\xd8\xff\xeb\xff\xff" + bytes(20), "longer than the file"),
        (signed_files.png(signed_files.box(b"free", b"") * 10_001), "more than 10000 boxes"),
        (signed_files.png(signed_files.superbox("c2pa.signature", signed_files.box(b"cbor", b"\xff"))), "signature:"),
        (b"\xd2\x84\x40\xa1\x19\x01\x0d\x40\x40\x40", "must stand in the protected header"),
    ],
)  # fmt: skip
def test_images_and_messages_are_refused(data: bytes, reason: str) -> None:
    assert reason in refused(data)


@pytest.mark.package("cbor2")
def test_boxes_in_boxes() -> None:
    store = b""
    for _ in range(30):
        store = signed_files.superbox("a", store)
    assert "levels of them" in refused(signed_files.png(store))


def test_a_file_of_many_tokens() -> None:
    files = {"a.txt": DATA, **{f"META-INF/{number}.tst": b"\x30\x00" for number in range(MAX_TOKENS + 1)}}
    assert f"more than {MAX_TOKENS} timestamps" in refused(signed_files.zipped(files))


def test_a_container_that_unpacks_to_more_than_is_read() -> None:
    """Every file of the manifest is unpacked when the token is checked; all together have a bound."""
    files = signed_files.asic_e({f"{number}.bin": b"" for number in range(40)})
    big = {**files, **{f"{number}.bin": bytes(16 << 20) for number in range(2)}}
    result = check(extract(signed_files.zipped(big, BOMB)).tokens[0], VERIFIER)
    assert (result.outcome, "is not what" in result.reason) == (Outcome.REFUSED, True)


@pytest.mark.package("cbor2")
def test_pieces_of_a_jpegs_box_that_some_readers_put_together_in_another_order() -> None:
    """One that goes by the numbers would see another claim than one that goes by the file."""
    data = signed_files.jpeg(signed_files.c2pa_store(1))
    assert len(extract(data).tokens) == 1
    first, second = (m.start() + 4 for m in list(re.finditer(b"JP..\0\0\0[\1\2]", data, re.DOTALL))[:2])
    swapped = bytearray(data)
    swapped[first : first + 4], swapped[second : second + 4] = data[second : second + 4], data[first : first + 4]
    assert "the order of their numbers" in refused(bytes(swapped))
    # A box of another type with the same number is another box.
    other = b"\xff\xeb" + (2 + 2 + 2 + 4 + 12).to_bytes(2, "big") + data[first - 4 : first] + b"\0\0\0\1"
    other += box(b"RESI", b"more")
    assert len(extract(data[:2] + other + data[2:]).tokens) == 1


@pytest.mark.parametrize("armored", [False, True], ids=["DER", "PEM"])
def test_a_second_signature_behind_the_first(armored: bool) -> None:
    """It would be read by nobody here, and the verdict on the first would be taken for one on both."""

    def written(data: bytes) -> bytes:
        return b"-----BEGIN CMS-----\n" + base64.encodebytes(data) + b"-----END CMS-----\n" if armored else data

    first, second = signed_data(b"one", b"one"), signed_data(b"two", b"two")
    assert len(extract(written(first + bytes(4))).tokens) == 1, "padding is no signature"
    for data in (written(first) + written(second), written(first + second)):
        assert re.search("more than one block|bytes follow the CMS signature", refused(data))


def test_a_sigstore_bundle_has_one_signature() -> None:
    """A reader that takes the other one would show a signature that the timestamp is not over."""
    other = json.dumps({"signature": base64.b64encode(b"another").decode()})
    whole = signed_files.bundle().decode()
    for name, reason in (
        ("messageSignature", "two fields of one name"),
        ("message_signature", "two signatures"),
        ("dsseEnvelope", "two signatures"),
    ):
        assert reason in refused(f'{{"{name}": {other}, {whole[1:]}'.encode()), name


def test_a_cms_signature_has_one_content_and_one_value() -> None:
    """Of two, another reader would show the one that the timestamp is not over."""
    content, evil = der.octet_string(b"a contract"), der.octet_string(b"another!")
    message, field = signed_data(b"a contract", b"a contract"), der.explicit(0, content)
    assert len(extract(message).tokens) == 1

    def with_field(changed: bytes) -> bytes:
        kind = der.oid("1.2.840.113549.1.7.1")
        inner = message[message.index(der.integer(1)) :].replace(der.sequence(kind, field), der.sequence(kind, changed))
        return der.sequence(der.oid("1.2.840.113549.1.7.2"), der.explicit(0, der.sequence(inner)))

    assert with_field(field) == message
    for changed in (der.explicit(0, content + evil), field + der.explicit(0, evil), der.explicit(1, content)):
        assert "not one value in one field" in refused(with_field(changed))
    attribute = der.sequence(der.oid(signed_files.SIGNATURE_TIMESTAMP), der.set_of(token(b"one")))
    signer = der.sequence(
        *(der.integer(1), der.sequence(), der.sequence(), der.sequence()),
        *(der.octet_string(b"one"), der.octet_string(b"two"), der.tlv(0xA1, attribute)),
    )
    body = der.sequence(der.integer(1), der.set_of(), der.sequence(der.oid("1.2.840.113549.1.7.1")), der.set_of(signer))
    two = der.sequence(der.oid("1.2.840.113549.1.7.2"), der.explicit(0, body))
    assert "2 signatures, not one" in refused(two)


def test_content_in_pieces_is_what_the_pieces_hold() -> None:
    """An OCTET STRING in pieces (BER) in a message that is DER otherwise: the heads of the pieces are not content."""
    pieces = der.octet_string(b"a con") + der.octet_string(b"tract")
    primitive = der.octet_string(pieces)
    for over, wanted in ((pieces, Outcome.REFUSED), (b"a contract", Outcome.VERIFIED)):
        message = signed_data(pieces, over)
        assert message.count(primitive) == 1
        (found,) = extract(message.replace(primitive, b"\x24" + primitive[1:])).tokens
        assert check(found, VERIFIER).outcome is wanted, over


@pytest.mark.package("cbor2")
def test_a_claim_is_the_one_beside_the_signature_and_no_other() -> None:
    """What a reader of C2PA shows is the claim, whatever payload the signature brings along."""
    import cbor2

    over = cbor2.dumps(["CounterSignature", b"", b"", DATA])
    header = {"sigTst": {"tstTokens": [{"val": token(over)}]}}

    def image(payload: bytes | None, *claims: bytes) -> bytes:
        signature = cbor2.dumps(cbor2.CBORTag(18, [b"", header, payload, b"s"]))
        boxes = [superbox("c2pa.claim", box(b"cbor", claim)) for claim in claims]
        return png(superbox("c2pa", superbox("one", *boxes, superbox("c2pa.signature", box(b"cbor", signature)))))

    for payload in (None, DATA):
        (found,) = extract(image(payload, DATA)).tokens
        assert check(found, VERIFIER).outcome is Outcome.VERIFIED
    assert "a payload that is not the claim beside it" in refused(image(DATA, b"shown"))
    assert "a payload that is not the claim beside it" in refused(image(DATA))
    assert "c2pa/one has two claims" in refused(image(None, b"shown", DATA))


def test_a_pdf_signature_whose_range_is_not_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = b" what is shown"
    for over, whole, outcome in ((b"%PDF-" + shown, True, Outcome.VERIFIED), (b"%PDF-", False, Outcome.REFUSED)):
        contents = signed_data(None, over)
        data = b"%PDF-<" + contents.hex().encode() + b">" + shown
        second = len(data) - len(shown) if whole else len(data)
        found = [("/Sig", "f", (0, 5, second, len(data) - second), contents)]
        monkeypatch.setattr(pdf, "_signatures", lambda _, found=found: found)
        result = check(extract(data).tokens[0], VERIFIER)
        assert (result.outcome, "leaves out more than its /Contents" in result.reason) == (outcome, not whole)


@pytest.mark.package("pyhanko", install="pyHanko")
def test_broken_pdfs() -> None:
    for data in (b"%PDF-1.7", b"%PDF-1.7\nstartxref\n99999999999\n%%EOF", b"%PDF-1.7\n" + b"[" * 50_000 + b"\n%%EOF"):
        assert "the PDF cannot be read" in refused(data)


@pytest.mark.package("pyhanko", install="pyHanko")
def test_a_pdf_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "MAX_SECONDS", 0.01)
    assert refused(b"%PDF-1.7") == "the PDF cannot be read within 0.01 seconds"


@pytest.mark.package("pyhanko", install="pyHanko")
def test_a_process_that_reads_a_pdf_and_dies_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert "the process that reads it ended with 1" in refused(b"%PDF-1.7")
    monkeypatch.setattr(sys, "executable", "/nothing/here")
    assert "no process can be started for it: No such file" in refused(b"%PDF-1.7")


def test_without_pyhanko_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyhanko", None)
    with pytest.raises(ExtraMissing, match=r"needs the package pyHanko.*tsa-core\[pdf\]"):
        extract(b"%PDF-1.7")


def test_a_token_that_is_none_is_refused_and_the_others_are_not() -> None:
    files = {"a.txt": DATA, "META-INF/1.tst": b"nonsense", "META-INF/2.tst": token(DATA)}
    found = extract(signed_files.zipped(files))
    assert [check(each, VERIFIER).outcome for each in found.tokens] == [Outcome.REFUSED, Outcome.VERIFIED]


@pytest.mark.package("cbor2")
def test_changed_octets_raise_nothing_else() -> None:
    """Each file with octets changed at places that a fixed seed chooses: tokens, a refusal, or nothing."""
    chosen = random.Random(22)
    files = [
        nested(2),
        signed_files.zipped(signed_files.asic_e({"a.txt": DATA})),
        program(struct.pack("<IHH", 8 + len(nested(1)), 0x200, 2) + nested(1)),
        signed_files.png(signed_files.c2pa_store(1)),
        signed_files.jpeg(signed_files.c2pa_store(2)),
        signed_files.bundle(),
    ]
    for data in files:
        for _ in range(60):
            changed = bytearray(data)
            for _ in range(3):
                changed[chosen.randrange(len(changed))] = chosen.randrange(256)
            try:
                for found in extract(bytes(changed)).tokens:
                    check(found, VERIFIER)
            except ExtractError:
                continue
