"""The response processors: they add extensions before the signature, and work on the reply after it."""

from __future__ import annotations

from collections.abc import Sequence

from tsa_core.api import PluginCrash, RequestRejected, ResponseProcessor, TokenDraft, TsaError
from tsa_core.authority.causes import Cause, CauseKind, Causes
from tsa_core.protocol.response import signed_parts

PROCESSOR_FAILED = "the response processor withheld a reply; the log says why"
"""The cause after a failure, until a reply passes or the processor's `health` says that it works."""


class Processors:
    """Runs processors in order, given with the names that the configuration has for them."""

    def __init__(self, processors: Sequence[tuple[str, ResponseProcessor]], causes: Causes) -> None:
        self._all = tuple((name, processor, causes.add(CauseKind.RESPONSE, name)) for name, processor in processors)
        self.failed = tuple(failed for _, _, failed in self._all)
        """The cause of each processor: active when the last reply could not pass it."""
        self.request_extensions = frozenset[str]().union(*(each.request_extensions for _, each in processors))
        """The OIDs of all request extensions that a processor understands."""

    def __bool__(self) -> bool:
        return bool(self._all)

    def extend(self, draft: TokenDraft) -> list[bytes]:
        """Return the extensions that the processors add to a token; raises TsaError alone."""
        parts: list[bytes] = []
        for name, processor, failed in self._all:
            try:
                parts.extend(processor.extend(draft))
            except Exception as error:
                raise self._failure(name, failed, error) from error
        return parts

    def process(self, response: bytes, draft: TokenDraft) -> bytes:
        """Return the reply as the processors have made it; raises TsaError alone.

        That is also what happens when one of them changed bytes under the signature.
        """
        before = signed_parts(response)
        outputs: list[bytes] = []
        for name, processor, failed in self._all:
            try:
                response = processor.process(response, draft)
            except Exception as error:
                raise self._failure(name, failed, error) from error
            outputs.append(response)
        if _signed_parts(response) != before:
            name, failed = self._who_changed(before, outputs)
            failed.set(PROCESSOR_FAILED)
            raise TsaError(f"the response processor {name!r} changed bytes under the signature; the reply is withheld")
        for failed in self.failed:
            if failed.reason:
                failed.clear()
        return response

    @staticmethod
    def _failure(name: str, failed: Cause, error: Exception) -> TsaError:
        """Return what is raised for an error of a processor; one that refuses a request has not failed."""
        if isinstance(error, RequestRejected):
            return error
        failed.set(PROCESSOR_FAILED)
        return (
            error
            if isinstance(error, TsaError)
            else PluginCrash(f"the response processor {name!r} crashed", plugin=name)
        )

    def _who_changed(self, before: object, outputs: Sequence[bytes]) -> tuple[str, Cause]:
        """Return name and cause of the first processor whose output has other bytes under the signature."""
        changed = (_signed_parts(output) != before for output in outputs)
        return next((name, failed) for (name, _, failed), wrong in zip(self._all, changed, strict=True) if wrong)


def _signed_parts(response: object) -> object:
    """Return the bytes under the signature; None for what is no reply."""
    try:
        return signed_parts(response) if isinstance(response, bytes) else None
    except TsaError:
        return None
