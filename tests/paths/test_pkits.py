"""NIST's Public Key Interoperability Test Suite: every path that `pkits.json` lists, with its CRLs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tsa_backends.vectors import vectors, vectors_folder
from tsa_core.paths.algorithms import STRICT, AlgorithmRules
from tsa_core.paths.building import PathBuilder
from tsa_core.paths.certificate import PathCertificate
from tsa_core.paths.errors import RevocationError, VerificationError
from tsa_core.paths.revocation import Revocation, RevocationScope
from tsa_core.paths.validation import Inputs

TIME = datetime(2015, 1, 1, tzinfo=UTC)
DSA = AlgorithmRules(dsa=True, weak_hashes=frozenset({"sha1"}))
"""The suite's DSA key is of 1024 bits, with SHA-1; nobody outside this file may permit that."""
UNREADABLE = "valid_dsa_parameter_inheritance_test5"
"""A DSA key without parameters, which are its issuer's: `cryptography` reads no such certificate."""


def listed() -> list[dict[str, Any]]:
    folder = vectors_folder()
    file = folder / "pkits" / "pkits.json" if folder is not None else None
    found: list[dict[str, Any]] = json.loads(file.read_bytes()) if file is not None and file.is_file() else []
    return found


CASES = listed()


@cache
def certificate(file: Path) -> PathCertificate:
    return PathCertificate.from_der(file.read_bytes())


@cache
def crl(file: Path) -> bytes:
    return file.read_bytes()


def validate(case: dict[str, Any]) -> int:
    """Return the length of the case's path, target and anchor included; raises a VerificationError."""
    folder = vectors("pkits")
    parameters: dict[str, Any] = dict(case.get("params", {}))
    if "user_initial_policy_set" in parameters:
        parameters["user_initial_policy_set"] = frozenset(parameters["user_initial_policy_set"])
    dsa = "dsa" in case["name"]
    inputs = Inputs(time=TIME, algorithms=DSA if dsa else STRICT, **parameters)
    root = certificate(folder / "certs" / "TrustAnchorRootCertificate.crt")
    helpers = [certificate(folder / "certs" / name) for name in case.get("other_certs", ())]
    path = PathBuilder((root,), helpers, inputs).build(certificate(folder / "certs" / case["cert"]), (), TIME)
    crls = [folder / "crls" / name for name in (*case.get("crls", ()), "TrustAnchorRootCRL.crl")]
    if case.get("revocation", True):
        lists = [(file.name, crl(file)) for file in crls]
        revocation = Revocation.from_files(lists, scope=RevocationScope.PATH)
        revocation.check(path, TIME, at=TIME, certificates=helpers, algorithms=inputs.algorithms)
    return len(path.certificates)


def test_the_suite_is_whole() -> None:
    vectors("pkits")
    assert len(CASES) == 246
    assert len({case["cert"] for case in CASES}) >= 207


@pytest.mark.parametrize("case", CASES, ids=[f"{case['id']}-{case['name']}" for case in CASES])
def test_v17_a_path_of_the_suite(case: dict[str, Any]) -> None:
    if case["name"] == UNREADABLE:
        with pytest.raises(VerificationError, match="cannot be read"):
            validate(case)
    elif "error" in case:
        with pytest.raises(VerificationError) as refused:
            validate(case)
        about_revocation = "CRL" in case["error"]["msg_regex"] or "revocation" in case["error"]["msg_regex"]
        assert isinstance(refused.value, RevocationError) is about_revocation, refused.value
    else:
        assert validate(case) == case["path_len"]
