"""Tokens of a real server, one for each kind of key, as files that clients in every language read.

The folder has `artifact`, what was timestamped, `other`, what was not, the SHA-256 digests of both (`artifact.sha256`),
and a folder for each kind of key:

    query.tsq reply.tsr token.der               the request, the TimeStampResp, the bare TimeStampToken
    signer.der intermediate.der root.der        the chain, one certificate in a file; the same as .pem
    url                                         where the server gives more of them, for clients that ask by themselves
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from asn1crypto.tsp import TimeStampResp
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tsa_core.api import PrivateKey
from tsa_core.client import build_request
from tsa_core.testing import ServerProcess
from tsa_core.testing.forged_pki import (
    Chain,
    Issued,
    ca_extensions,
    issue,
    make_key,
    signer_extensions,
    timestamping,
)

KEYS: Final[dict[str, str]] = {
    "p256": "P-256",
    "p384": "P-384",
    "p521": "P-521",
    "rsa2048": "RSA-2048",
    "rsa3072": "RSA-3072",
    "rsa4096": "RSA-4096",
    "rsa-pss": "RSA-PSS",
    "ed25519": "Ed25519",
    "ed448": "Ed448",
    "ml-dsa-44": "ML-DSA-44",
    "ml-dsa-65": "ML-DSA-65",
    "ml-dsa-87": "ML-DSA-87",
}
"""The kinds of keys that are tried, with their titles. RSA-PSS is a key of 3072 bits."""

ARTIFACT: Final = b"an artifact\n"
OTHER: Final = b"another artifact\n"


@contextmanager
def case_folder(folder: Path) -> Iterator[Path]:
    """Fill `folder` with a token for each of KEYS, of one server that serves until the block ends."""
    for key in KEYS:
        place = folder / key
        place.mkdir(parents=True)
        chain = chain_of(key)
        for name, issued in (("signer", chain.signer), ("intermediate", chain.intermediate), ("root", chain.root)):
            (place / f"{name}.der").write_bytes(issued.der)
            (place / f"{name}.pem").write_bytes(issued.certificate.public_bytes(Encoding.PEM))
        (place / "chain.pem").write_bytes(chain.pem)
        (place / "key.pem").touch(0o600)
        private = chain.signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (place / "key.pem").write_bytes(private)
    settings = "".join(
        f'[profiles.{name}]\nsigner = "file:{key}/key.pem"\ncertificate_chain = "{key}/chain.pem"\n'
        f"rsa_pss = {'true' if key == 'rsa-pss' else 'false'}\n"
        for name, key in [("default", "p256"), *zip(KEYS, KEYS, strict=True)]
    )
    (folder / "tsa.toml").write_text(settings)
    write_artifacts(folder)
    with ServerProcess(folder / "tsa.toml") as server:
        for key in KEYS:
            _ask(server, key, folder / key)
        yield folder


def write_artifacts(folder: Path) -> None:
    """Write what was timestamped and what was not, with their digests."""
    for name, data in (("artifact", ARTIFACT), ("other", OTHER)):
        (folder / name).write_bytes(data)
        (folder / f"{name}.sha256").write_bytes(hashlib.sha256(data).digest())


def _ask(server: ServerProcess, key: str, place: Path) -> None:
    """Write a request, its reply and the token."""
    query = build_request(artifact=ARTIFACT)
    reply = server.stamp(query, path=f"/tsa/{key}")
    response = TimeStampResp.load(reply.body)
    assert response["status"]["status"].native == "granted", key
    (place / "url").write_text(f"{server.url}/tsa/{key}")
    (place / "query.tsq").write_bytes(query)
    (place / "reply.tsr").write_bytes(reply.body)
    (place / "token.der").write_bytes(response["time_stamp_token"].dump())


def chain_of(key: str) -> Chain:
    """Return a chain whose CAs' keys are of the TSA's kind, as those are that `timestamp-server init` makes.

    CAs of RSA have one key of 3072 bits and sign with PKCS #1 v1.5, whatever the TSA's size and padding.
    """
    family = "rsa" if key.startswith("rsa") else key
    root, intermediate = _authorities(family)
    signer = issue("Signer", issuer=intermediate, key=_key(key), extensions=signer_extensions())
    return Chain(root=root, intermediate=intermediate, signer=signer)


@cache
def _authorities(family: str) -> tuple[Issued, Issued]:
    root = issue("Root", key=_key(family), extensions=ca_extensions())
    purposes = (*ca_extensions(0), timestamping(critical=False))
    return root, issue("Intermediate", issuer=root, key=_key(family), extensions=purposes)


def _key(kind: str) -> PrivateKey:
    sizes = {"rsa": 3072, "rsa2048": 2048, "rsa3072": 3072, "rsa4096": 4096, "rsa-pss": 3072}
    return rsa.generate_private_key(65537, sizes[kind]) if kind in sizes else make_key(kind)
