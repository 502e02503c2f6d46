"""Tokens are found in files of jarsigner, osslsigncode, openssl, pyHanko and others, and checked against their data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.timestamp_shell import CHAIN, honest
from tests.extract import signed_files
from tests.extract.signed_files import SIGNATURE_TIMESTAMP, signed_data, token
from tsa_core.extract import Extraction, extract
from tsa_core.extract.checking import Outcome, check
from tsa_core.protocol.hashes import SHA1
from tsa_core.protocol.timestamped_data import Layer, TimeStampedData
from tsa_core.testing import forge
from tsa_core.testing.http_tsa import HttpTsa
from tsa_core.verify import TrustStore, Verifier

VERIFIER = Verifier(TrustStore.from_chain(CHAIN.pem))
DATA = b"what was signed"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with HttpTsa(honest) as server:
        yield server.url


def kinds(found: Extraction) -> list[str]:
    return [each.kind for each in found.tokens]


def outcomes(found: Extraction) -> list[Outcome]:
    """What holds with trust; without trust, what is verified is intact, and nothing else changes."""
    trusted = [check(each, VERIFIER).outcome for each in found.tokens]
    alone = [check(each, None).outcome for each in found.tokens]
    assert alone == [Outcome.INTACT if each is Outcome.VERIFIED else each for each in trusted]
    return trusted


def test_a_jar() -> None:
    """jarsigner's own is in tests/interop/test_tool_recipes.py; here the data of the signature are beside it."""
    files = {
        "META-INF/A.SF": DATA,
        "META-INF/A.RSA": signed_data(None, DATA),
        "META-INF/B.DSA": signed_data(None, DATA),
    }
    found = extract(signed_files.zipped(files))
    assert (found.format, [each.place for each in found.tokens]) == ("JAR", ["META-INF/A.RSA", "META-INF/B.DSA"])
    assert outcomes(found) == [Outcome.VERIFIED, Outcome.NOT_CHECKED]


def test_a_program_of_osslsigncode(tmp_path: Path, url: str) -> None:
    data = signed_files.program(tmp_path, url)
    found = extract(data)
    assert (found.format, kinds(found)) == ("Windows program", ["Authenticode timestamp"])
    assert outcomes(found) == [Outcome.VERIFIED]
    value = found.tokens[0].subject
    assert value is not None
    changed = data.replace(value(), bytes(len(value())))
    assert outcomes(extract(changed)) == [Outcome.REFUSED]


def test_signatures_of_openssl(tmp_path: Path) -> None:
    signed = signed_files.cms(tmp_path, DATA, detached=True)
    assert extract(signed).tokens == ()
    stamp = token(signed_files.signature_value(signed))
    attributes = {SIGNATURE_TIMESTAMP: [stamp], "0.4.0.1733.2.4": [token(b"unknown")]}
    stamped = signed_files.with_attributes(signed, attributes)
    found = extract(stamped)
    assert set(kinds(found)) == {"signature-time-stamp", "archive-time-stamp-v3"}
    results = {each.kind: check(each, VERIFIER) for each in found.tokens}
    assert results["signature-time-stamp"].outcome is Outcome.VERIFIED
    assert results["archive-time-stamp-v3"].outcome is Outcome.NOT_CHECKED
    assert "is not worked out here" in results["archive-time-stamp-v3"].reason
    wrong = signed_files.with_attributes(signed, {SIGNATURE_TIMESTAMP: [token(b"another signature")]})
    assert outcomes(extract(wrong)) == [Outcome.REFUSED]


def test_content_timestamps() -> None:
    assert outcomes(extract(signed_data(DATA, DATA))) == [Outcome.VERIFIED]
    assert outcomes(extract(signed_data(DATA, b"other"))) == [Outcome.REFUSED]
    assert outcomes(extract(signed_data(None, DATA))) == [Outcome.NOT_CHECKED]
    assert outcomes(extract(signed_data(None, DATA), detached=lambda: DATA)) == [Outcome.VERIFIED]


@pytest.mark.package("pyhanko", install="pyHanko")
def test_a_pdf_of_pyhanko(url: str) -> None:
    data = signed_files.pdf(url)
    found = extract(data)
    assert (found.format, kinds(found)) == ("PDF", ["signature-time-stamp", "document timestamp"])
    assert outcomes(found) == [Outcome.VERIFIED, Outcome.VERIFIED]
    assert found.tokens[1].covers == "the document"
    later = extract(data + b"\n% something that was added\n")
    assert later.tokens[1].covers == "the document but the 28 bytes that were added later"
    assert outcomes(later)[1] is Outcome.VERIFIED
    changed = extract(data.replace(b"/MediaBox", b"/MediaBoy", 1))
    assert outcomes(changed)[1] is Outcome.REFUSED


@pytest.mark.package("pyhanko", install="pyHanko")
def test_a_byte_range_that_leaves_out_more_than_the_timestamp(url: str) -> None:
    data = signed_files.pdf(url)
    start = data.rindex(b"/ByteRange")
    end = data.index(b"]", start)
    first, length, second, rest = (int(each) for each in data[start:end].partition(b"[")[2].split())
    wrong = b"/ByteRange [%d %d %d %d" % (first, length, second + 1, rest - 1)
    found = extract(data[:start] + wrong.ljust(end - start) + data[end:])
    result = check(found.tokens[1], VERIFIER)
    assert (result.outcome, "leaves out more" in result.reason) == (Outcome.NOT_CHECKED, True)


def test_asic_containers() -> None:
    simple = {"mimetype": b"application/vnd.etsi.asic-s+zip", "a.txt": DATA, "META-INF/timestamp.tst": token(DATA)}
    found = extract(signed_files.zipped(simple))
    assert (found.format, kinds(found), found.tokens[0].covers) == ("ASiC", ["ASiC time assertion"], "a.txt")
    assert outcomes(found) == [Outcome.VERIFIED]
    files = signed_files.asic_e({"a.txt": DATA, "b c.txt": b"more"})
    found = extract(signed_files.zipped(files))
    assert outcomes(found) == [Outcome.VERIFIED]
    assert found.tokens[0].covers == "META-INF/ASiCManifest1.xml, and by it 2 files"
    changed = check(extract(signed_files.zipped({**files, "a.txt": b"other"})).tokens[0], VERIFIER)
    assert (changed.outcome, "'a.txt' is not what" in changed.reason) == (Outcome.REFUSED, True)
    weak = signed_files.asic_e({"a.txt": DATA}, method="http://www.w3.org/2000/09/xmldsig#sha1")
    assert "unknown or weak method" in check(extract(signed_files.zipped(weak)).tokens[0], VERIFIER).reason
    more = extract(signed_files.zipped({**files, "evil.txt": b"", "more.txt": b""})).tokens[0]
    assert more.covers == "META-INF/ASiCManifest1.xml, and by it 2 files, but not 'evil.txt' and 1 more"
    assert check(more, VERIFIER).outcome is Outcome.VERIFIED
    unnamed = {"a": b"", "b": b"", "META-INF/timestamp.tst": token(DATA)}
    assert outcomes(extract(signed_files.zipped(unnamed))) == [Outcome.NOT_CHECKED]


def test_a_block_of_a_jar_hides_no_time_assertion() -> None:
    files = {"a.txt": b"other", "META-INF/timestamp.tst": token(DATA), "META-INF/A.RSA": signed_data(DATA, DATA)}
    found = extract(signed_files.zipped(files))
    assert kinds(found) == ["content-time-stamp", "ASiC time assertion"]
    assert outcomes(found) == [Outcome.VERIFIED, Outcome.REFUSED]


def test_an_intact_timestamp_with_a_weak_hash_is_called_so() -> None:
    content = forge.tst_info(DATA, hash_algorithm=SHA1)
    weak = forge.token(CHAIN.signer, content, certificates=[CHAIN.signer.der])
    (found,) = extract(weak, detached=lambda: DATA).tokens
    result = check(found, None)
    assert (result.outcome, result.reason) == (
        Outcome.INTACT, "nobody was trusted, and sha1 is weak: something else may have the same digest",
    )  # fmt: skip


def test_a_cades_signature_in_asic_has_its_content_beside_it() -> None:
    files = {"a.txt": DATA, "META-INF/signature.p7s": signed_data(None, DATA)}
    assert outcomes(extract(signed_files.zipped(files))) == [Outcome.VERIFIED]


def test_a_xades_signature_in_asic() -> None:
    import base64

    value = base64.b64encode(token(DATA)).decode()
    xml = (
        '<s xmlns:x="http://uri.etsi.org/01903/v1.3.2#"><x:SignatureTimeStamp><x:EncapsulatedTimeStamp>'
        f"{value}</x:EncapsulatedTimeStamp></x:SignatureTimeStamp></s>"
    )
    found = extract(signed_files.zipped({"a.txt": DATA, "META-INF/signatures0.xml": xml.encode()}))
    assert kinds(found) == ["XAdES SignatureTimeStamp"]
    assert outcomes(found) == [Outcome.NOT_CHECKED]


def test_a_sigstore_bundle() -> None:
    found = extract(signed_files.bundle())
    assert (found.format, kinds(found)) == ("Sigstore bundle", ["signedTimestamp"])
    assert outcomes(found) == [Outcome.VERIFIED]


@pytest.mark.package("cbor2")
@pytest.mark.parametrize(("version", "kind"), [(1, "C2PA sigTst"), (2, "C2PA sigTst2")])
@pytest.mark.parametrize("form", ["png", "jpeg"])
def test_images_with_c2pa(version: int, kind: str, form: str) -> None:
    store = signed_files.c2pa_store(version)
    data = signed_files.png(store) if form == "png" else signed_files.jpeg(store)
    found = extract(data)
    assert kinds(found) == [kind]
    assert found.tokens[0].place == "c2pa/urn:c2pa:1/c2pa.signature"
    assert outcomes(found) == [Outcome.VERIFIED]


@pytest.mark.package("cbor2")
def test_a_claim_that_was_changed() -> None:
    store = signed_files.c2pa_store(1).replace(b"sha256", b"sha512", 1)
    assert outcomes(extract(signed_files.png(store))) == [Outcome.REFUSED]


@pytest.mark.package("cbor2")
def test_a_cose_message() -> None:
    from tsa_core.cose import add_ctt, ctt_input, read_message

    message = read_message(b"\xd2\x84\x40\xa0\x41a\x44sign")
    found = extract(add_ctt(message, token(ctt_input(message))))
    assert (kinds(found), outcomes(found)) == (["3161-ctt"], [Outcome.VERIFIED])


def test_timestamped_data_and_timestamps_alone() -> None:
    first = Layer(token=token(DATA))
    archive = TimeStampedData(layers=(first, Layer(token=token(first.encoded))), content=DATA)
    assert outcomes(extract(archive.encode())) == [Outcome.VERIFIED, Outcome.VERIFIED]
    for data in (first.token, forge.reply(first.token)):
        assert outcomes(extract(data)) == [Outcome.NOT_CHECKED]
        assert outcomes(extract(data, detached=lambda: DATA)) == [Outcome.VERIFIED]


def test_pem() -> None:
    import base64

    body = base64.encodebytes(signed_data(DATA, DATA)).decode()
    pem = f"-----BEGIN CMS-----\n{body}-----END CMS-----\n".encode()
    assert outcomes(extract(pem)) == [Outcome.VERIFIED]
