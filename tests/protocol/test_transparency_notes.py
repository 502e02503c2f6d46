"""Notes, checkpoints, cosignatures, policies and proofs."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from cryptography.exceptions import InvalidSignature

from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.transparency.checkpoint import Checkpoint, SignedCheckpoint, parse_signed_checkpoint
from tsa_core.protocol.transparency.log_proof import LogProof, parse_log_proof
from tsa_core.protocol.transparency.merkle import leaf_hash
from tsa_core.protocol.transparency.note import (
    SignatureType,
    SignedNote,
    UnknownKeyType,
    VerifierKey,
    parse_note,
    parse_verifier_key,
)
from tsa_core.protocol.transparency.policy import parse_policy, threshold_policy
from tsa_core.protocol.transparency.signing import NoteSigner

LOG = NoteSigner("example.com/log", SignatureType.ED25519, bytes(range(32)))
WITNESS = NoteSigner("witness.example/w1", SignatureType.COSIGNATURE_ED25519, bytes(32))
ML_DSA = NoteSigner("witness.example/pq", SignatureType.COSIGNATURE_ML_DSA_44, bytes(32))
CHECKPOINT = Checkpoint("example.com/log", 1, leaf_hash(b"the only one"))
SECONDS = 1_679_315_147

# The key and the note of the documentation of Go's golang.org/x/mod/sumdb/note.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)  # fmt: skip
GO_SIGNATURE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def signed(checkpoint: Checkpoint = CHECKPOINT, *signers: NoteSigner) -> SignedCheckpoint:
    lines = [signer.sign(checkpoint, seconds=SECONDS) for signer in (signers or (LOG, WITNESS, ML_DSA))]
    return parse_signed_checkpoint(SignedNote(checkpoint.text, tuple(lines)).encode())


def test_a_note_of_the_go_package_is_read_and_verified() -> None:
    note = parse_note((GO_TEXT + "\n" + GO_SIGNATURE).encode())
    key = parse_verifier_key(GO_KEY)
    assert str(key) == GO_KEY
    assert SignedCheckpoint(note, CHECKPOINT).signed_by([key]) == [(key, None)]
    other = parse_note((GO_TEXT.replace("answer", "question") + "\n" + GO_SIGNATURE).encode())
    with pytest.raises(InvalidSignature):
        SignedCheckpoint(other, CHECKPOINT).signed_by([key])


def test_the_key_of_a_log_and_of_witnesses_are_texts() -> None:
    for signer in (LOG, WITNESS, ML_DSA):
        assert parse_verifier_key(str(signer.key)) == signer.key
        again = NoteSigner.parse(signer.text())
        assert again.key == signer.key
        assert signer.text() not in repr(signer)
        assert base64.b64encode(bytes(32)).decode() not in repr(signer)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000",
        "na me+00000000+AQ==",
        "name+zz000000+AQ==",
        str(LOG.key)[:-4],
        str(LOG.key).replace("log+", "log2+"),
    ],
    ids=["nothing", "name", "no key", "blank", "no digits", "short", "other name"],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(EncodingError):
        parse_verifier_key(text)


def test_a_key_of_another_kind_is_told_apart() -> None:
    key = VerifierKey("name", SignatureType.ED25519, bytes(32))
    odd = f"name+{key.key_id.hex()}+{base64.b64encode(bytes([2, *bytes(32)])).decode()}"
    with pytest.raises(UnknownKeyType, match="kind 2"):
        parse_verifier_key(odd)


def test_a_cosignature_says_when() -> None:
    time = datetime.fromtimestamp(SECONDS, UTC)
    found = signed().signed_by([LOG.key, WITNESS.key, ML_DSA.key])
    assert found == [(LOG.key, None), (WITNESS.key, time), (ML_DSA.key, time)]


def test_the_time_of_zero_bounds_nothing() -> None:
    note = SignedNote(CHECKPOINT.text, (WITNESS.sign(CHECKPOINT, seconds=0),))
    assert SignedCheckpoint(note, CHECKPOINT).signed_by([WITNESS.key]) == [(WITNESS.key, None)]


@pytest.mark.parametrize("signer", [WITNESS, ML_DSA], ids=["ed25519", "ml-dsa-44"])
def test_the_time_of_a_cosignature_is_signed(signer: NoteSigner) -> None:
    line = signer.sign(CHECKPOINT, seconds=SECONDS)
    later = line._replace(signature=(SECONDS + 1).to_bytes(8, "big") + line.signature[8:])
    with pytest.raises(InvalidSignature):
        SignedCheckpoint(SignedNote(CHECKPOINT.text, (later,)), CHECKPOINT).signed_by([signer.key])


@pytest.mark.parametrize("signer", [LOG, WITNESS, ML_DSA], ids=["log", "ed25519", "ml-dsa-44"])
def test_a_signature_covers_origin_size_and_root(signer: NoteSigner) -> None:
    lines = signed().note.signatures
    for changed in (
        CHECKPOINT._replace(origin="example.com/other"),
        CHECKPOINT._replace(size=2),
        CHECKPOINT._replace(root=bytes(32)),
    ):
        forged = parse_signed_checkpoint(SignedNote(changed.text, lines).encode())
        with pytest.raises(InvalidSignature):
            forged.signed_by([signer.key])


def test_a_signature_by_another_key_of_the_name_is_passed_over() -> None:
    other = NoteSigner.generate(LOG.key.name, SignatureType.ED25519)
    assert signed(CHECKPOINT, other).signed_by([LOG.key]) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\nno dash AAAAAAA=\n",
        "text\n\n— name AAAA\n".encode(),
        "text\n\n— na+me AAAAAAA=\n".encode(),
        "text\r\n\n— name AAAAAAA=\n".encode(),
        "text\n\n— name AAAAAAA=".encode(),
        b"\xff\n\n",
        b"text\n\n" + "— name AAAAAAA=\n".encode() * 101,
    ],
    ids=["nothing", "text", "no signature", "dash", "short", "plus", "return", "newline", "no utf-8", "too many"],
)
def test_what_is_no_note_is_refused(data: bytes) -> None:
    with pytest.raises(EncodingError):
        parse_note(data)


@pytest.mark.parametrize(
    "text",
    [
        "origin\n1\n",
        "origin\n01\n" + "A" * 43 + "=\n",
        "origin\n-1\n" + "A" * 43 + "=\n",
        f"origin\n{1 << 63}\n" + "A" * 43 + "=\n",
        "origin\n1\nAAAA\n",
        "origin\n1\n" + "A" * 42 + "B=\n",
        "\n1\n" + "A" * 43 + "=\n",
        "origin\n1\n" + "A" * 43 + "=\n\n",
        "origin\n\u0661\n" + "A" * 43 + "=\n",
    ],
    ids=["no root", "zero", "sign", "large", "short", "second form", "no origin", "empty line", "other digits"],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    note = SignedNote(text, (LOG.sign(CHECKPOINT),))
    with pytest.raises(EncodingError):
        parse_signed_checkpoint(note.encode())


def test_a_policy_of_two_groups() -> None:
    witnesses = [NoteSigner.generate(f"w{number}", SignatureType.COSIGNATURE_ED25519).key for number in range(6)]
    lines = [f"witness {'X' if number < 3 else 'Y'}{number % 3 + 1} {key}" for number, key in enumerate(witnesses)]
    policy = parse_policy(
        "\n".join(
            [
                "# the example of the specification",
                f"log\t{LOG.key}   https://log.example/",
                *lines,
                "group X-witnesses 2 X1 X2 X3",
                "  group Y-witnesses any Y1 Y2 Y3",
                "group X-and-Y all X-witnesses Y-witnesses",
                "quorum X-and-Y",
            ]
        ).encode()
    )

    def among(numbers: set[int]) -> Callable[[VerifierKey], bool]:
        return lambda key: witnesses.index(key) in numbers

    assert [log.key for log in policy.logs] == [LOG.key]
    assert policy.logs[0].url == "https://log.example/"
    for number, enough in enumerate([{0, 1, 3}, {0, 2, 5}, {0, 1, 2, 3, 4, 5}]):
        assert policy.satisfied_by(among(enough)), number
    for number, lacking in enumerate([{0, 1, 2}, {0, 3, 4, 5}, set()]):
        assert not policy.satisfied_by(among(lacking)), number


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "no quorum"),
        (["quorum nobody"], "line 1: nobody is not defined"),
        (["quorum none", "quorum none"], "line 2: there is a second quorum"),
        (["witness none KEY", "quorum none"], "line 1: the name none is taken"),
        (["witness a KEY", "witness b KEY", "quorum a"], "line 2: the key of the witness b is there twice"),
        (["witness a LOGKEY", "quorum a"], "none for cosignatures"),
        (["witness a KEY", "group g 2 a", "quorum g"], "a group of 1 wants"),
        (["witness a KEY", "group g 0 a", "quorum g"], "a group of 1 wants"),
        (["witness a KEY", "group g 1 a a", "quorum g"], "a is a member twice"),
        (["group g any b", "quorum g"], "b is not defined before"),
        (["log LOGKEY", "log LOGKEY", "quorum none"], "is there twice"),
        (["threshold 1"], "a line is"),
        (["quorum none\r"], "control characters"),
    ],
    ids=lambda value: value[0][:20] if isinstance(value, list) and value else None,
)
def test_a_policy_that_is_wrong_is_refused_by_line(lines: list[str], message: str) -> None:
    text = "\n".join(lines).replace("LOGKEY", str(LOG.key)).replace("KEY", str(WITNESS.key))
    with pytest.raises(EncodingError, match=message):
        parse_policy(text.encode())


def test_a_threshold_is_a_policy() -> None:
    policy = threshold_policy([LOG.key], [WITNESS.key, ML_DSA.key], 2)
    assert not policy.satisfied_by(lambda key: key == WITNESS.key)
    assert policy.satisfied_by(lambda key: key in {WITNESS.key, ML_DSA.key})
    with pytest.raises(ValueError, match="3 of 2"):
        threshold_policy([LOG.key], [WITNESS.key, ML_DSA.key], 3)
    with pytest.raises(ValueError, match="twice"):
        threshold_policy([LOG.key], [WITNESS.key, WITNESS.key], 1)


def test_a_proof_is_a_file() -> None:
    proof = LogProof(0, (), signed(), b"extra")
    again = parse_log_proof(proof.encode())
    assert again == proof
    assert again.proves(b"the only one")
    assert not again.proves(b"another one")
    moved = LogProof(1, (), signed())
    assert not parse_log_proof(moved.encode()).proves(b"the only one")


@pytest.mark.parametrize(
    "change",
    [
        (b"@v1", b"@v2"),
        (b"index 0", b"index 00"),
        (b"index 0", b"index -1"),
        (b"index 0\n", b""),
        (b"index 0\n", b"index 0\nAAAA\n"),
        (b"index 0\n", b"index 0\n" + b"A" * 43 + b"=\n" * 64),
        (b"\n\n", b"\n"),
    ],
    ids=["version", "zeros", "sign", "no index", "short hash", "no hash", "no note"],
)
def test_what_is_no_proof_is_refused(change: tuple[bytes, bytes]) -> None:
    data = LogProof(0, (), signed()).encode()
    assert change[0] in data
    with pytest.raises(EncodingError):
        parse_log_proof(data.replace(change[0], change[1], 1))
