"""API keys: who they are for, what is kept of them, and that a revoked one opens nothing."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tsa_backends.commands import run_command
from tsa_core.api import ConfigError, GuardedRequest, GuardRefusal, Identity, ProfileSummary
from tsa_core.testing import on_threads, wait_until
from tsa_guard import key_file
from tsa_guard.guard import TenantGuard, open_guard
from tsa_guard.key_file import PREFIX, changed_keys, key_id, new_key, read_keys, revoked
from tsa_guard.options import GuardOptions


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.jsonl"


def add(path: Path, **facts: Any) -> str:
    text, key = new_key(**facts)
    with changed_keys(path) as known:
        known[key.id] = key
    return text


@contextmanager
def opened(**table: Any) -> Iterator[TenantGuard]:
    guard = open_guard(GuardOptions.model_validate(table))
    yield guard
    guard.close()


def ask(guard: TenantGuard, address: str = "192.0.2.1", **headers: str) -> Identity | GuardRefusal | None:
    given = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    return guard.check(GuardedRequest(client_address=address, header=lambda name: given.get(name.lower())))


def refusal(answer: object, status: int) -> str:
    assert isinstance(answer, GuardRefusal)
    assert answer.status == status
    return answer.text


def test_each_way_to_send_a_key(path: Path) -> None:
    key = add(path, name="build server")
    basic = base64.b64encode(f"anybody:{key}".encode()).decode()
    with opened(keys=str(path)) as guard:
        for headers in (
            {"X_API_Key": key},
            {"Authorization": f"Bearer {key}"},
            {"Authorization": f"bearer  {key} "},
            {"Authorization": f"Basic {basic}"},
        ):
            assert ask(guard, **headers) == Identity(name="build server", how="api-key")


def test_nothing_else_opens(path: Path) -> None:
    key = add(path, name="a")
    stranger, _ = new_key(name="b")
    head, _, secret = key.rpartition("_")
    other = head + "_" + ("A" if secret[0] != "A" else "B") + secret[1:]
    empty = base64.b64encode(b"a:").decode()
    wrong = [key[:-1], key + "x", other, stranger, PREFIX, key.upper(), "x", key.replace("_", "-"), key + "\xe9"]
    with opened(keys=str(path)) as guard:
        for text in wrong:
            assert key not in refusal(ask(guard, X_API_Key=text), 401)
            refusal(ask(guard, Authorization=f"Bearer {text}"), 401)
        for credential in (f"Basic {empty}", "Basic !", "Basic", "Digest x", "Bearer", f"Bearer {'x' * 20_000}"):
            refusal(ask(guard, Authorization=credential), 401)
        answer = ask(guard)
        assert "API key" in refusal(answer, 401)
        assert isinstance(answer, GuardRefusal)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


def test_expired_and_revoked_keys_say_so(path: Path) -> None:
    gone = add(path, name="a", expires=datetime.now(UTC) - timedelta(seconds=1))
    good = add(path, name="b", expires=datetime.now(UTC) + timedelta(days=1))
    taken = add(path, name="c")
    with changed_keys(path) as known:
        identifier = key_id(taken)
        assert identifier is not None
        known[identifier] = revoked(known[identifier])
    with opened(keys=str(path)) as guard:
        assert refusal(ask(guard, X_API_Key=gone), 401) == "this API key is expired"
        assert refusal(ask(guard, X_API_Key=taken), 401) == "this API key is revoked"
        assert ask(guard, X_API_Key=good) == Identity(name="b", how="api-key")


def test_a_running_guard_notices_changes_and_keeps_what_it_has(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = add(path, name="a")
    with opened(keys=str(path)) as guard:
        second = add(path, name="b")
        wait_until(lambda: isinstance(ask(guard, X_API_Key=second), Identity), seconds=60, what="the new key opens")
        kept = path.read_bytes()
        path.write_bytes(b"nonsense\n")
        wait_until(lambda: "stay as they were" in caplog.text, seconds=60, what="the log says it")
        assert isinstance(ask(guard, X_API_Key=first), Identity)
        path.write_bytes(b"".join(line for line in kept.splitlines(keepends=True) if b'"b"' in line))
        wait_until(lambda: isinstance(ask(guard, X_API_Key=first), GuardRefusal), seconds=60, what="the key is gone")
    assert first not in caplog.text


def test_tenants(path: Path) -> None:
    known, unknown = add(path, name="a", tenant="acme"), add(path, name="b", tenant="evil")
    with opened(keys=str(path), tenants={"acme": {"profiles": ["default"]}}) as guard:
        profiles = frozenset({"default"})
        assert ask(guard, X_API_Key=known) == Identity(name="a", tenant="acme", how="api-key", profiles=profiles)
        assert refusal(ask(guard, X_API_Key=unknown), 403) == "the tenant evil is not served here"


def test_anonymous_clients_have_profiles_of_their_own(path: Path) -> None:
    key = add(path, name="a")
    with opened(keys=str(path), anonymous="allow", anonymous_profiles=["free"]) as guard:
        assert ask(guard) == Identity(name="anonymous", how="none", profiles=frozenset({"free"}))
        assert ask(guard, X_API_Key=key) == Identity(name="a", how="api-key")
        refusal(ask(guard, X_API_Key=key[:-1]), 401)
    with opened(anonymous="allow") as guard:
        assert ask(guard) is None


def test_the_file_has_no_key_and_is_not_for_everybody(path: Path) -> None:
    key = add(path, name="a", tenant="acme")
    text = path.read_text()
    assert key not in text
    assert key.rpartition("_")[2] not in text
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0
    assert set(json.loads(text)) == {"id", "sha256", "name", "tenant", "created"}


def test_many_change_the_file_at_once_and_nothing_is_lost(path: Path) -> None:
    keys = on_threads(lambda number: add(path, name=f"client {number}"), range(24))
    assert {key.name for key in read_keys(path).values()} == {f"client {number}" for number in range(24)}
    assert len({key_id(key) for key in keys}) == 24


def test_many_keys_are_looked_up_by_one_identifier(path: Path) -> None:
    """No verdict on speed: whatever their number, at most one hash is made."""
    key = add(path, name="the one")
    line = {"sha256": "0" * 64, "name": "other"}
    with path.open("a") as stream:
        stream.writelines(json.dumps({"id": f"{number:012d}", **line}) + "\n" for number in range(20_000))
    with opened(keys=str(path)) as guard, pytest.MonkeyPatch.context() as patch:
        made: list[str] = []
        digest_of = key_file.digest_of

        def counted(text: str) -> str:
            made.append(text)
            return digest_of(text)

        patch.setattr(key_file, "digest_of", counted)
        assert ask(guard, X_API_Key=key) == Identity(name="the one", how="api-key")
        assert made == [key]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "line 2 is no key"),
        ("[]", "line 2 is no key"),
        ('{"id":"a"}', "line 2 is no key"),
        ('{"id":"abcabcabcabc","sha256":"00","name":"x"}', "its id or its sha256 is none"),
        (f'{{"id":"abcabcabcabc","sha256":"{"0" * 64}","name":""}}', "cannot be the name"),
        (f'{{"id":"abcabcabcabc","sha256":"{"0" * 64}","name":"x","expires":"2026-01-01"}}', "has no zone"),
        (f'{{"id":"abcabcabcabc","sha256":"{"0" * 64}","name":"x","admin":true}}', "admin"),
        ("SAME", "stands there twice"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_line(path: Path, line: str, said: str) -> None:
    add(path, name="a")
    path.write_text(path.read_text() + (path.read_text() if line == "SAME" else line + "\n"))
    with pytest.raises(ConfigError, match=said) as caught:
        open_guard(GuardOptions(keys=path))
    assert str(path) in str(caught.value)


def test_the_command(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "keys.jsonl"
    made = run_command("keys", "new", "--file", path, "--name", "build server", "--tenant", "acme", "--days", "30")
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    identifier = key_id(key)
    assert identifier is not None
    assert key not in made.stderr
    listed = json.loads(run_command("keys", "list", "--file", path, "--json").stdout)
    assert (listed["id"], listed["state"], listed["tenant"], listed["name"]) == (
        *(identifier, "valid"),
        *("acme", "build server"),
    )
    for whom in (key, identifier):
        assert run_command("keys", "revoke", "--file", path, whom).returncode == 0
    lines = run_command("keys", "list", "--file", path).stdout
    assert lines.split()[:4] == [identifier, "revoked", "acme", "build"]
    for wrong in (("revoke", "nobody"), ("new", "--name", "a\nb")):
        refused = run_command("keys", *wrong, "--file", path)
        assert refused.returncode == 2
        assert len(refused.stderr.strip().splitlines()) == 1
    missing = run_command("keys", "list", "--file", tmp_path / "none")
    assert missing.returncode == 2
    assert "`timestamp-server keys new` makes it" in missing.stderr


@given(scheme=st.sampled_from(["Bearer", "Basic", "", "Digest"]), credential=st.text(max_size=200))
def test_whatever_is_sent_is_refused_and_breaks_nothing(scheme: str, credential: str) -> None:
    with opened(keys=os.devnull) as guard:
        refusal(ask(guard, Authorization=f"{scheme} {credential}"), 401)
        refusal(ask(guard, X_API_Key=credential), 401)


def test_the_file_keeps_its_mode_whatever_the_umask(path: Path) -> None:
    add(path, name="a")
    path.chmod(0o640)
    before = os.umask(0o077)
    try:
        add(path, name="b")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_profiles_that_do_not_exist_are_an_error(path: Path) -> None:
    add(path, name="a")
    there = [ProfileSummary(name="default", policies=("1.2.3",))]
    table = {"keys": str(path), "anonymous": "allow"}
    with opened(**table, tenants={"acme": {"profiles": ["default"], "policies": ["1.2.3"]}}) as guard:
        guard.bind(there)
    for wrong, said in (
        ({"tenants": {"acme": {"profiles": ["defualt"]}}}, r"guard\.tenants\.acme\.profiles: there is no .* 'defualt'"),
        ({"tenants": {"acme": {"policies": ["1.2.4"]}}}, r"acme\.policies: no profile of this tenant has .* '1\.2\.4'"),
        ({"anonymous_profiles": ["free"]}, r"guard\.anonymous_profiles: there is no profile 'free'"),
    ):
        with opened(**table, **wrong) as guard, pytest.raises(ConfigError, match=said):
            guard.bind(there)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "nobody could get in"),
        ({"anonymous": "allow", "tenants": {"a": {}}}, "no effect without keys, jwt or"),
        ({"anonymous": "allow", "client_limits": ["1/second"]}, "no effect without keys, jwt or"),
        ({"keys": "k", "anonymous_limits": ["1/second"]}, "no effect without anonymous"),
        ({"keys": "k", "client_limits": ["often"]}, "'often' is no limit"),
        ({"keys": "k", "tenants": {"a": {"limits": ["1/fortnight"]}}}, "is no limit"),
        ({"keys": "k", "client_limits": ["10/second; 1000/day"]}, "is 2 limits; make each a text of its own"),
        ({"keys": "k", "tenants": {"a": {"limits": ["10/second, 5/minute | 9/day"]}}}, "is 3 limits; make each"),
        ({"keys": "k", "client_limits": ["10 per 0 seconds"]}, "it is for no time at all"),
        ({"keys": "k", "client_limits": ["10/second", "10 per 1 second"]}, "'10 per 1 second' is there twice"),
        ({"keys": "k", "storage": "mongodb://x"}, "storage must begin with"),
        ({"keys": "k", "on_storage_failure": "allow"}, "no effect without storage"),
        ({"keys": "k", "storage_timeout": "1s"}, "no effect without storage"),
        ({"jwt": {"issuer": "i", "audience": "a"}}, "give one of jwks and jwks_url"),
        ({"jwt": {"issuer": "i", "audience": "a", "jwks_url": "http://example.com/"}}, "must begin with https"),
        ({"jwt": {"issuer": "i", "audience": "a", "jwks": "j", "algorithms": ["HS256"]}}, "HS256 cannot be used"),
        ({"jwt": {"issuer": "i", "audience": "a", "jwks": "j", "algorithms": []}}, "at least 1 item"),
        ({"client_certificates": {"ca": "c", "trusted_proxies": ["::ffff:10.0.0.0/104"]}}, "has no effect: write the"),
    ],
)
def test_settings_that_cannot_be_meant(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        GuardOptions.model_validate(table)
