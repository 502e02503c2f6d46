"""One file's verdict: finds its timestamp, and verifies it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tsa_core.cli.timestamp.files import MAX_FILE_OCTETS
from tsa_core.cli.timestamp.flags import Call
from tsa_core.cli.timestamp.many.item import Item
from tsa_core.cli.timestamp.many.places import base_of
from tsa_core.cli.timestamp.many.reading import Unreadable, opened
from tsa_core.cli.timestamp.many.result import Result, Verdict, refusal_of, result_of
from tsa_core.cli.timestamp.many.sources import SUFFIXES
from tsa_core.cli.timestamp.revocation import fetched_revocation, with_fetched_issuers
from tsa_core.cli.timestamp.tokens import without_armor
from tsa_core.protocol.reply import is_token
from tsa_core.verify import VerificationError, VerifiedTimestamp, Verifier

if TYPE_CHECKING:
    from tsa_core.verify import Revocation, TrustStore


class Checker:
    """Verifies the timestamps of many files against one trust; what was fetched for one path serves all others."""

    def __init__(
        self,
        call: Call,
        trust: TrustStore,
        revocation: Revocation | None,
        make: Callable[[TrustStore, Revocation | None], Verifier],
        *,
        fetches: bool,
    ) -> None:
        self._call = call
        self._trust = trust
        self._revocation = revocation
        self._make = make
        self._fetches = fetches
        self._first = make(trust, None if fetches else revocation)
        self._by_path: dict[object, Verifier] = {}
        self._by_certificates: dict[object, tuple[TrustStore, Verifier]] = {}

    def check(self, item: Item) -> Result:
        """Return the verdict on a file."""
        if item.problem is not None:
            return Result(name=item.name, verdict=Verdict.UNKNOWN, reason=item.problem)
        base = base_of(item.name, self._call.flags["out_dir"])
        tried = [base + suffix for suffix in SUFFIXES]
        for location in tried:
            try:
                with open(location, "rb") as file:
                    data = file.read(MAX_FILE_OCTETS)
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                reason = f"{location} cannot be read: {getattr(error, 'strerror', None) or error}"
                return Result(name=item.name, verdict=Verdict.UNKNOWN, location=location, reason=reason)
            return self.check_data(item, without_armor(data), location)
        return Result(name=item.name, verdict=Verdict.MISSING, reason=f"none of {', '.join(tried)} is there")

    def check_data(self, item: Item, data: bytes, location: str | None) -> Result:
        """Return the verdict on a file whose timestamp is `data`."""
        try:
            return result_of(item.name, location, self._verify(item, data))
        except VerificationError as error:
            return refusal_of(item.name, location, error)
        except Unreadable as error:
            return Result(name=item.name, verdict=Verdict.UNKNOWN, location=location, reason=str(error))

    def _verify(self, item: Item, data: bytes) -> VerifiedTimestamp:
        trust, verifier = self._with_issuers(data)
        found = self._once(verifier, item, data)
        if not self._fetches:
            return found
        # The path is trusted by now, and so are the places that its certificates name.
        if (checked := self._by_path.get(found.path)) is None:
            revocation = fetched_revocation(self._call, found, self._revocation)
            checked = self._by_path[found.path] = self._make(trust, revocation)
        info = found.tst_info
        call = checked.verify_token if is_token(data) else checked.verify_response
        return call(data, digest=info.hashed_message, time=self._call.flags["time"])

    def _once(self, verifier: Verifier, item: Item, data: bytes) -> VerifiedTimestamp:
        call = verifier.verify_token if is_token(data) else verifier.verify_response
        time = self._call.flags["time"]
        if item.digest is not None and item.algorithm is not None:
            return call(data, digest=item.digest, digest_algorithm=item.algorithm.name, time=time)
        with opened(item) as file:
            return call(data, artifact=file, time=time)

    def _with_issuers(self, data: bytes) -> tuple[TrustStore, Verifier]:
        if not self._call.flags["fetch_issuers"]:
            return self._trust, self._first
        from tsa_core.verify.statement import open_reply, open_token

        key: Any = (open_token(data) if is_token(data) else open_reply(data)[1]).certificates
        if (known := self._by_certificates.get(key)) is None:
            trust = with_fetched_issuers(self._call, data, self._trust)
            known = self._by_certificates[key] = trust, self._make(trust, None if self._fetches else self._revocation)
        return known
