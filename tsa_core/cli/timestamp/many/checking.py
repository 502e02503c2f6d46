"""One file's verdict: finds its timestamp, and verifies it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tsa_core.cli.timestamp.flags import Call
from tsa_core.cli.timestamp.many.finders import Finder
from tsa_core.cli.timestamp.many.item import Item
from tsa_core.cli.timestamp.many.reading import Unreadable, opened
from tsa_core.cli.timestamp.many.records import FileDigests, is_record
from tsa_core.cli.timestamp.many.result import Result, Verdict, refusal_of, result_of, result_of_record
from tsa_core.cli.timestamp.revocation import fetched_revocation, with_fetched_issuers
from tsa_core.cli.timestamp.tokens import verify_with
from tsa_core.protocol.errors import TsaError
from tsa_core.protocol.reply import is_token
from tsa_core.verify import ImprintMismatch, VerificationError, VerifiedTimestamp, Verifier

if TYPE_CHECKING:
    from tsa_core.evidence import EvidenceVerifier, VerifiedRecord
    from tsa_core.protocol.tstinfo_reader import TSTInfo
    from tsa_core.verify import Revocation, TrustStore
    from tsa_core.verify.expectations import Acceptance


class Checker:
    """Verifies the timestamps and evidence records of many files against one trust.

    What was fetched for one path serves all others. `acceptance` returns what else is expected, with given revocation
    data.
    """

    def __init__(
        self,
        call: Call,
        trust: TrustStore,
        revocation: Revocation | None,
        acceptance: Callable[[Revocation | None], Acceptance],
        *,
        finder: Finder,
        fetches: bool,
    ) -> None:
        self._finder = finder
        self._call = call
        self._trust = trust
        self._revocation = revocation
        self._acceptance = acceptance
        self._fetches = fetches
        self._first = Verifier(trust, **acceptance(None if fetches else revocation))
        self._by_path: dict[object, Verifier] = {}
        self._records_by_path: dict[object, EvidenceVerifier] = {}
        self._by_certificates: dict[object, tuple[TrustStore, Verifier]] = {}

    def check(self, item: Item) -> Result:
        """Return the verdict on a file."""
        location = None
        try:
            if item.problem is not None:
                raise Unreadable(item.problem)
            found = self._finder.find(item)
            location = found.location
            if is_record(found.data):
                digests = FileDigests(item)
                record = self._verify_record(digests, found.data)
                _check_digest(digests, found.digest)
                return result_of_record(item.name, location, record)
            verdict = self._verify(item, found.data)
            check_listed(verdict.tst_info, found.digest)
            return result_of(item.name, location, verdict)
        except LookupError as error:
            return Result(name=item.name, verdict=Verdict.MISSING, reason=str(error))
        except VerificationError as error:
            return refusal_of(item.name, location, error)
        except (Unreadable, TsaError) as error:
            return Result(name=item.name, verdict=Verdict.UNKNOWN, location=location, reason=str(error))
        except (OSError, ValueError) as error:
            reason = f"{getattr(error, 'filename', None) or 'it'} cannot be read: {getattr(error, 'strerror', error)}"
            return Result(name=item.name, verdict=Verdict.UNKNOWN, location=location, reason=reason)

    def _verify(self, item: Item, data: bytes) -> VerifiedTimestamp:
        trust, verifier = self._with_issuers(data)
        found = self._once(verifier, item, data)
        if not self._fetches:
            return found
        # The path is trusted by now, and so are the places that its certificates name.
        if (checked := self._by_path.get(found.path)) is None:
            revocation = fetched_revocation(self._call, found, self._revocation)
            checked = self._by_path[found.path] = Verifier(trust, **self._acceptance(revocation))
        info = found.tst_info
        return verify_with(checked, data, digest=info.hashed_message, time=self._call.flags["time"])

    def _once(self, verifier: Verifier, item: Item, data: bytes) -> VerifiedTimestamp:
        time = self._call.flags["time"]
        if item.digest is not None and item.algorithm is not None:
            return verify_with(verifier, data, digest=item.digest, digest_algorithm=item.algorithm.name, time=time)
        with opened(item) as file:
            return verify_with(verifier, data, artifact=file, time=time)

    def _verify_record(self, digests: FileDigests, data: bytes) -> VerifiedRecord:
        time = self._call.flags["time"]
        found = self._record_verifier(None).verify(data, digests, time=time)
        if not self._fetches:
            return found
        return self._record_verifier(found.layers[-1].timestamp).verify(data, digests, time=time)

    def _record_verifier(self, verdict: VerifiedTimestamp | None) -> EvidenceVerifier:
        """Return what verifies records, with the revocation data of a path, or with the given one."""
        from tsa_core.evidence import EvidenceVerifier

        key = None if verdict is None else verdict.path
        if (known := self._records_by_path.get(key)) is None:
            revocation = None if self._fetches else self._revocation
            if verdict is not None:
                revocation = fetched_revocation(self._call, verdict, self._revocation)
            acceptance = self._acceptance(revocation)
            if self._call.flags["algorithms"] == "strict":
                del acceptance["algorithm_periods"]  # renewals are there to prove what was strong in its time
            known = self._records_by_path[key] = EvidenceVerifier(self._trust, **acceptance)
        return known

    def _with_issuers(self, data: bytes) -> tuple[TrustStore, Verifier]:
        if not self._call.flags["fetch_issuers"]:
            return self._trust, self._first
        from tsa_core.verify.statement import open_reply, open_token

        key: Any = (open_token(data) if is_token(data) else open_reply(data)[1]).certificates
        if (known := self._by_certificates.get(key)) is None:
            trust = with_fetched_issuers(self._call, data, self._trust)
            verifier = Verifier(trust, **self._acceptance(None if self._fetches else self._revocation))
            known = self._by_certificates[key] = trust, verifier
        return known


def check_listed(info: TSTInfo, listed: str) -> None:
    """Raise ImprintMismatch when a manifest or bundle lists another digest, `NAME:HEX`, than the token's."""
    name, algorithm = listed.partition(":")[0], info.hash_algorithm
    if listed and (algorithm is None or listed != f"{algorithm.name}:{info.hashed_message.hex()}"):
        raise ImprintMismatch(f"the digest that is listed, a {name} one, is not the one in the token")


def _check_digest(digests: FileDigests, listed: str) -> None:
    """Raise ImprintMismatch when a manifest or bundle lists another digest, `NAME:HEX`, than the file's."""
    name, _, digits = listed.partition(":")
    found = digests.get(name)
    if listed and (found is None or found.hex() != digits):
        raise ImprintMismatch(f"the digest that is listed, a {name} one, is not the file's")
