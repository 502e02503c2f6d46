"""Where a run puts timestamps and what it writes about them: files, a manifest, a bundle."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding

from tsa_core.cli import console
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.refuse_inputs import refuse_inputs
from tsa_core.cli.timestamp.files import STANDARD
from tsa_core.cli.timestamp.flags import PROGRAM, Call
from tsa_core.cli.timestamp.many.bundle import MAX_BUNDLE_OCTETS, Bundle, Entry
from tsa_core.cli.timestamp.many.bundle_store import BundleStore, existing_bundle, write_document
from tsa_core.cli.timestamp.many.kept import Verifiers
from tsa_core.cli.timestamp.many.manifest import MAX_MANIFEST_OCTETS, encode_manifest, is_manifest
from tsa_core.cli.timestamp.many.outcome import Outcome
from tsa_core.cli.timestamp.many.records import is_record
from tsa_core.cli.timestamp.many.store import FileStore, Store
from tsa_core.cli.timestamp.many_flags import EVIDENCE, INPUTS
from tsa_core.cli.timestamp.revocation import fetched_revocation, given_revocation
from tsa_core.cli.timestamp.shown import shown_time
from tsa_core.cli.timestamp.tokens import bare_token
from tsa_core.protocol.errors import TsaError
from tsa_core.verify import VerifiedTimestamp

_LISTED_INPUTS: Final = ("from_file", "sums", "crl", "ocsp")


class Outputs:
    """The outputs of one run; in a `with` statement, it gives the store of the timestamps.

    Raises UsageMistake for flags that do not fit together and for files that must not be written over.
    """

    def __init__(self, call: Call, verifiers: Verifiers) -> None:
        self._call = call
        self._verifiers = verifiers
        self._stack = ExitStack()
        flags, force = call.flags, bool(call.flags["force"])
        self._manifest: str | None = flags["manifest"]
        self._bundle_path: str | None = flags["bundle"]
        _check_documents(self._manifest, self._bundle_path)
        inputs = [(f"--{name.replace('_', '-')}", flags[name]) for name in INPUTS]
        inputs += [(f"--{name.replace('_', '-')}", each) for name in _LISTED_INPUTS for each in flags[name]]
        for option, path in (("--manifest", self._manifest), ("--bundle", self._bundle_path)):
            if path is not None:
                refuse_inputs(option, path, [*inputs, ("--config", call.common("config"))])
        if self._manifest is not None and not force:
            _refuse_other(self._manifest)
        if self._bundle_path is None:
            _refuse_evidence(flags, "--bundle")
        elif verifiers.tokens is None:
            _refuse_evidence(flags, "--verify-with: only a path that is trusted says where to ask")
        self._only_bundle = self._bundle_path is not None and flags["out_dir"] is None and flags["suffix"] is None
        if self._only_bundle and self._manifest is not None:
            raise UsageMistake("--manifest lists files with timestamps, and --bundle makes none; give --out-dir too")
        self._store: Store
        if self._bundle_path is not None and self._only_bundle:
            self._store = BundleStore(self._bundle_path, force=force)
        else:
            suffix = (flags["suffix"] or "tsr") if flags["each"] else "ers"
            self._store = FileStore(out_dir=flags["out_dir"], suffix=suffix, force=force)
        whole = flags["each"] and not self._only_bundle and flags["suffix"] in {None, "tsr"}
        self.convert: Callable[[bytes], bytes] = bytes if whole else bare_token
        """What is kept of a reply: all of it, or the token."""
        self._bundle = Bundle()

    def __enter__(self) -> Store:
        if isinstance(self._store, BundleStore):
            self._bundle = self._stack.enter_context(self._store).bundle
        elif self._bundle_path is not None:
            force = bool(self._call.flags["force"])
            self._bundle = existing_bundle(self._bundle_path, force=force) or self._bundle
        return self._store

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def finish(self, outcomes: Sequence[Outcome], server: str) -> None:
        """Write manifest and bundle for what there is, also of a run that was interrupted; raises UsageMistake."""
        if self._manifest is not None:
            write_document(self._manifest, encode_manifest(outcomes, server), limit=MAX_MANIFEST_OCTETS)
        if self._bundle_path is None:
            return
        for outcome in outcomes:
            if outcome.location is not None:
                entry = self._entry(outcome)
                self._bundle.entries[entry.name] = entry
        if self._verifiers.tokens is not None:
            self._add_helpers()
        write_document(self._bundle_path, self._bundle.encode(), limit=MAX_BUNDLE_OCTETS)
        if isinstance(self._store, BundleStore):
            self._store.remove_journal()

    def _entry(self, outcome: Outcome) -> Entry:
        item = outcome.item
        known = self._bundle.entries.get(item.name) if self._only_bundle else None
        try:
            data = known.token if known is not None else self._store.find(item)
        except OSError as error:
            raise UsageMistake(f"{outcome.location} cannot be read: {error.strerror}") from None
        assert data is not None and outcome.time is not None  # noqa: S101, PT018 - it was there, or was put there
        return Entry(
            name=item.name,
            digest=outcome.digest,
            token=data if is_record(data) else bare_token(data),
            timestamp=shown_time(outcome.time),
            size=outcome.size,
        )

    def _add_helpers(self) -> None:
        """Add the certificates of all paths, and the revocation data that was given or is fetched for them."""
        paths: dict[object, VerifiedTimestamp] = {}
        for entry in self._bundle.entries.values():
            try:
                found = self._verify(entry)
            except TsaError as error:
                console.tell(f"{PROGRAM}: warning: in the bundle, {entry.name} does not hold: {error}")
                continue
            paths.setdefault(found.path, found)
        certificates = [each.public_bytes(Encoding.DER) for found in paths.values() for each in found.path]
        self._bundle.certificates = _with(self._bundle.certificates, certificates)
        flags: dict[str, Any] = {**self._call.flags, "revocation": None, "max_crl_age": None}
        given = given_revocation({**flags, "fetch_crls": None, "fetch_ocsp": None})
        for found in paths.values():
            revocation = given
            if flags["fetch_crls"] or flags["fetch_ocsp"]:
                revocation = fetched_revocation(self._call, found, given)
            if revocation is not None:
                self._bundle.crls = _with(self._bundle.crls, [_der(crl) for crl in revocation.crls])
                responses = [_der(response) for response in revocation.ocsp_responses]
                self._bundle.ocsp_responses = _with(self._bundle.ocsp_responses, responses)

    def _verify(self, entry: Entry) -> VerifiedTimestamp:
        """Return the verdict on a file's timestamp, or on the last one of its record."""
        tokens, records = self._verifiers.tokens, self._verifiers.records
        assert tokens is not None and records is not None  # noqa: S101, PT018 - asked for by the caller
        name, _, digits = entry.digest.partition(":")
        if is_record(entry.token):
            return records.verify(entry.token, {name: bytes.fromhex(digits)}).layers[-1].timestamp
        return tokens.verify_token(entry.token, digest=bytes.fromhex(digits), digest_algorithm=name)


def _with(known: Sequence[bytes], more: Sequence[bytes]) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys((*known, *more)))


def _der(evidence: Any) -> bytes:
    """Return the DER of a CRL or OCSP response, as this package or as `cryptography` read it."""
    return bytes(evidence.der) if hasattr(evidence, "der") else bytes(evidence.public_bytes(Encoding.DER))


def _refuse_evidence(flags: Any, needed: str) -> None:
    for name in EVIDENCE:
        if flags[name]:
            raise UsageMistake(f"--{name.replace('_', '-')} needs {needed}")


def _check_documents(manifest: str | None, bundle: str | None) -> None:
    if STANDARD in {manifest, bundle}:
        raise UsageMistake("--manifest and --bundle are files, which the next run reads; - is none")
    if manifest is not None and bundle is not None and os.path.realpath(manifest) == os.path.realpath(bundle):
        raise UsageMistake("--manifest and --bundle name the same file")


def _refuse_other(name: str) -> None:
    """Raise UsageMistake when a file that is there is no manifest."""
    try:
        with open(name, "rb") as file:
            start = file.read(200)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageMistake(f"{name} cannot be read: {error.strerror}") from None
    if start and not is_manifest(start):
        raise UsageMistake(f"{name} is there already and is no manifest of timestamps; --force replaces it")
