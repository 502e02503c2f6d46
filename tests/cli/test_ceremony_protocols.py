"""timestamp-server keys ceremony --verify: a changed protocol is found, and what was not checked is told."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.ceremonies import good, hold, needs_file, prepare, run
from tsa_core.api import LocalKeySigner
from tsa_core.documents.ceremony.protocol import Protocol, key_fields
from tsa_core.testing import shared_key
from tsa_core.testing.http_tsa import HttpTsa

pytestmark = [pytest.mark.usefixtures("key_folder"), needs_file]


@pytest.fixture(scope="module")
def protocol(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A protocol of a key that was made; files that are encrypted with a password cost a second."""
    folder = tmp_path_factory.mktemp("ceremony")
    prepare(folder)
    with contextlib.chdir(folder):
        good(hold("--make", "ecdsa-p256"))
    return (folder / "c.json").read_bytes()


def changed(path: str, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(Path(path).read_text())
    change(document)
    Path(path).write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["content"]["attendees"].pop(), "its signature does not fit"),
        (lambda d: d["content"]["key"].update(sha256="0" * 64), "is not that of its public key"),
        (lambda d: d["content"]["key"].update(public_key="AAAA"), "it has no public key that can be read"),
        (lambda d: d["content"].update(key=7), "it names no key"),
        (lambda d: d["content"].update(what="destroyed"), "its signature does not fit"),
        (lambda d: d["signature"].update(digest="sha512"), "its signature does not fit"),
        (lambda d: d["signature"].update(digest="md5"), "does not fit"),
        (lambda d: d.pop("signature"), "it is not signed"),
        (lambda d: d.update(format="x"), "of another version"),
        (lambda d: d.update(more=1), "more than a protocol has"),
        (lambda d: d["content"].update(x=1.5), "it is no protocol of a key ceremony"),
    ],
)
def test_a_protocol_that_was_changed_is_found(
    protocol: bytes, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    Path("c.json").write_bytes(protocol)
    changed("c.json", change)
    result = run("ceremony", "--verify", "c.json")
    assert result.exit_code == 1
    assert said in result.output


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the places of all texts of a JSON document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield from leaves(inner, (*path, name))
    if isinstance(value, str):
        yield path


def changes(document: dict[str, Any]) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Yield the document with each text changed, each removed, and each name of an object changed."""
    for *path, last in leaves(document):
        for change in ("text", "removed", "name"):
            other = json.loads(json.dumps(document))
            place = other
            for name in path:
                place = place[name]
            if change == "text":
                place[last] += "A"
            elif change == "removed":
                del place[last]
            elif isinstance(place, dict):
                place[f"{last}A"] = place.pop(last)
            else:
                continue
            yield (*path, last, change), other


def test_no_field_can_be_changed(tsa: HttpTsa) -> None:
    csr = ("--csr-out", "tsa.csr", "--org-name", "Example Ltd")
    good(hold("--make", "ecdsa-p256", *csr, "--tsa", tsa.url, "--tsa-roots", "roots.pem"))
    found = 0
    for place, document in changes(json.loads(Path("c.json").read_text())):
        if place[:2] == ("timestamp", "url") and place[-1] == "text":
            continue  # the address, of which --verify says that nothing proves it
        Path("changed.json").write_text(json.dumps(document))
        result = run("ceremony", "--verify", "changed.json", "--tsa-roots", "roots.pem")
        assert result.exit_code == 1, place
        assert isinstance(result.exception, SystemExit), place
        found += 1
    assert found > 60


def test_a_name_that_is_there_twice_is_refused(protocol: bytes) -> None:
    """One reader takes the first of the two, another the last."""
    Path("c.json").write_text(protocol.decode().replace('"reason": ""', '"reason": "a lie",\n"reason": ""'))
    result = run("ceremony", "--verify", "c.json")
    assert result.exit_code == 1
    assert "it is no protocol of a key ceremony" in result.output


def test_what_was_not_checked_is_told_whatever_the_protocol_says(protocol: bytes) -> None:
    """Whoever has the key can sign a protocol that says nothing of it."""
    content = Protocol.from_json(protocol).content
    signer = LocalKeySigner(shared_key("ecdsa-p256"), digest="sha256")
    key = {**content["key"], **key_fields(signer.public_key)}
    forged = Protocol(content={**content, "key": key, "not_checked": []}).signed(signer, timeout=10)
    Path("c.json").write_bytes(forged.to_json())
    checked = good(run("ceremony", "--verify", "c.json"))
    assert "not checked: Whether the persons named were there" in checked.stderr
    assert "not checked: Whether the module demands several persons" in checked.stderr
    assert "not checked: When it was written: it has no timestamp" in checked.stderr


def test_a_timestamp_of_another_protocol_is_found(tsa: HttpTsa) -> None:
    stamp = ("--tsa", tsa.url, "--tsa-roots", "roots.pem")
    good(hold("--make", "ecdsa-p256", *stamp))
    good(hold(*stamp, output="other.json"))
    reply = json.loads(Path("other.json").read_text())["timestamp"]["reply"]
    changed("c.json", lambda document: document["timestamp"].update(reply=reply))
    assert "NOT VERIFIED" in good(run("ceremony", "--verify", "c.json")).stdout
    result = run("ceremony", "--verify", "c.json", "--tsa-roots", "roots.pem")
    assert result.exit_code == 1
    assert "is not good" in result.output


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"[" * 100_000, b"\xff", b'{"format": "tsa-core key ceremony 1"}'])
def test_what_is_no_protocol_is_told_in_a_line(data: bytes) -> None:
    Path("c.json").write_bytes(data)
    result = run("ceremony", "--verify", "c.json")
    assert result.exit_code == 1
    assert "it" in result.output
    assert "Traceback" not in result.output


def test_control_characters_of_a_protocol_do_not_reach_the_terminal() -> None:
    key = {"sha256": "\x1b[31m"}
    document = {
        "format": "tsa-core key ceremony 1",
        "content": {"what": "\x1b[2J", "key": key, "not_checked": ["\x1b"]},
    }
    Path("c.json").write_text(json.dumps(document))
    result = run("ceremony", "--verify", "c.json")
    assert result.exit_code == 1
    assert "\x1b" not in result.output
