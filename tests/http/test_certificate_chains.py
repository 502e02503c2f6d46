"""/certchain: what caches may keep, and the chains from before a rotation."""

from __future__ import annotations

import errno
import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from tests.rotation import ENGINES, Identity, TsaDirectory
from tests.serving import running_server
from tsa_core.api import ConfigError, UnavailableError
from tsa_core.config import load_settings
from tsa_core.service import Material, Service, read_material
from tsa_core.service.material import MAX_EARLIER_CHAINS, read_chains, store_chain
from tsa_core.testing import encode_request
from tsa_core.verify import TrustStore, Verifier

pytestmark = pytest.mark.plugin("file")

CHAIN = "/api/v1/timestamp/certchain"
ALL = f"{CHAIN}?all=true"


def test_etag_and_a_short_age() -> None:
    with running_server() as server:
        first = server.request("GET", CHAIN)
        assert first.status == 200
        assert first.headers["content-type"] == "application/pem-certificate-chain"
        directives = first.headers["cache-control"].split(", ")
        (age,) = [part for part in directives if part.startswith("max-age=")]
        assert int(age.removeprefix("max-age=")) <= timedelta(hours=1).total_seconds()
        assert "immutable" not in directives
        again = server.request("GET", CHAIN, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status, again.body) == (304, b"")
        other = server.request("GET", CHAIN, headers={"If-None-Match": '"other"'})
        assert (other.status, other.body) == (200, first.body)
        head = server.request("HEAD", CHAIN)
        assert (head.status, head.body, head.headers["etag"]) == (200, b"", first.headers["etag"])


def test_all_is_the_chain_itself_before_any_rotation() -> None:
    with running_server() as server:
        one = server.request("GET", CHAIN)
        for query in ("all=true", "all=1", "all=TRUE"):
            assert server.request("GET", f"{CHAIN}?{query}").body == one.body
        for query in ("all=false", "all=0", "all="):
            assert server.request("GET", f"{CHAIN}?{query}").headers["etag"] == one.headers["etag"]
        assert server.request("GET", "/tsa/default/certchain?all=true").body == one.body
        assert server.request("GET", "/tsa/nobody/certchain?all=true").status == 404


@pytest.mark.parametrize("engine", ENGINES)
def test_old_tokens_stay_verifiable(engine: str, tmp_path: Path) -> None:
    """Tokens of three keys, one after the other, verify with what ?all=true gives; also after a restart."""
    tsa = TsaDirectory(tmp_path, server='state_directory = "state"')
    tokens = []
    with tsa.served(engine) as server:
        etags: set[str] = set()
        for number in range(3):
            request = encode_request(b"x", nonce=number + 1)
            tokens.append((request, server.stamp(request).body))
            etags.update(value for name, value in server.get(ALL).headers.items() if name.lower() == "etag")
            tsa.write(Identity())
            assert tsa.reload().succeeded
        assert len(etags) == 3
        bodies = {server.get(ALL).body for _ in range(20)}
        assert len(bodies) == 1, "every worker knows the same chains"
    served = bodies.pop()
    assert served.startswith(tsa.identity.pem)
    with tsa.served(engine) as server:
        assert server.get(ALL).body == served
        assert server.get("/tsa/default/certchain?all=true").body == served
        assert server.get(CHAIN).body == tsa.identity.pem
    verifier = Verifier(TrustStore.from_chain(served))
    for request, reply in tokens:
        verifier.verify_response(reply, request=request)


def test_without_a_state_directory_chains_live_as_long_as_the_process(tmp_path: Path) -> None:
    tsa = TsaDirectory(tmp_path)
    first = tsa.identity
    with tsa.served("waitress") as server:
        tsa.write(Identity())
        assert tsa.reload().succeeded
        assert server.get(ALL).body == tsa.identity.pem + first.pem
        # Back to the first: it is the current one now, and not a former one besides.
        second = tsa.identity
        tsa.write(first)
        assert tsa.reload().succeeded
        assert server.get(ALL).body == first.pem + second.pem
    with tsa.served("waitress") as server:
        assert server.get(ALL).body == first.pem


def test_stored_chains_are_bounded_and_in_order(tmp_path: Path) -> None:
    chains = [Identity().pem for _ in range(4)]
    many = [chains[number % 4] for number in range(3 * MAX_EARLIER_CHAINS)]
    for chain in many:
        store_chain(tmp_path, chain)
        store_chain(tmp_path, chain)
    assert read_chains(tmp_path) == list(reversed(chains))
    for number in range(2 * MAX_EARLIER_CHAINS):
        shutil.copy(next(tmp_path.glob("*.pem")), tmp_path / f"{number + 500:08d}-{number:032x}.pem")
    store_chain(tmp_path, chains[0])
    assert len(read_chains(tmp_path)) <= MAX_EARLIER_CHAINS + 1


def test_earlier_chains_are_bounded_without_a_directory(tmp_path: Path) -> None:
    tsa = TsaDirectory(tmp_path)
    settings = load_settings(tsa.config, environ={})
    before = Material(
        chains={"default": b"before"},
        earlier={"default": tuple(str(number).encode() for number in range(2 * MAX_EARLIER_CHAINS))},
    )
    earlier = read_material(settings, before=before).earlier["default"]
    assert len(earlier) == MAX_EARLIER_CHAINS
    assert earlier[:2] == (b"before", b"0")


def test_a_state_directory_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, no directory")
    tsa = TsaDirectory(tmp_path, server='state_directory = "state"')
    with pytest.raises(ConfigError, match=r"server\.state_directory: the certificate chain cannot be remembered"):
        Service(load_settings(tsa.config, environ={}))
    assert tsa.folder.is_dir()


def test_a_full_disk_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another error the start ended with 2, after which systemd does not try again."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UnavailableError, match="No space left on device; make room there"):
        store_chain(tmp_path, b"chain")
