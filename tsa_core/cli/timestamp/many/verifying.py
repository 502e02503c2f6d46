"""timestamp-cli verify FILE...: the verdicts on many files."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Final

from tsa_core.cli import console
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.files import STANDARD, read_file
from tsa_core.cli.timestamp.flags import PROGRAM, Call
from tsa_core.cli.timestamp.many.bundle import MAX_BUNDLE_OCTETS, Bundle, read_bundle
from tsa_core.cli.timestamp.many.checking import Checker
from tsa_core.cli.timestamp.many.finders import BundleFinder, FileFinder, Finder, ManifestFinder
from tsa_core.cli.timestamp.many.item import Item
from tsa_core.cli.timestamp.many.manifest import read_manifest
from tsa_core.cli.timestamp.many.progress import progress_bar
from tsa_core.cli.timestamp.many.report import reporter_of
from tsa_core.cli.timestamp.many.result import Result, Verdict, count_words
from tsa_core.cli.timestamp.many.sources import find_items
from tsa_core.cli.timestamp.many_flags import names_files
from tsa_core.protocol.errors import TsaError
from tsa_core.verify import Revocation, RevocationScope, TrustStore
from tsa_core.verify.trust import read_certificates

_SINGLE: Final = (
    *("reply", "artifact", "digest", "request", "nonce", "proof"),
    *("log_proof", "log_key", "log_policy", "log_delay", "witness", "witness_threshold"),
)
_WORTH_PROCESSES: Final = 500
"""From so many files on, several processes verify; below, starting them takes longer than they save."""
_CHUNK: Final = 50


def check_flags(call: Call) -> None:
    """Raise UsageMistake for flags that have no effect on many files."""
    for name in _SINGLE:
        if call.is_typed(name):
            flag = "timestamp" if name == "reply" else name.replace("_", "-")
            raise UsageMistake(f"--{flag} is for one timestamp; it does not go with many")
    if call.as_json and call.is_typed("report"):
        raise UsageMistake("--format json and --report both say how verdicts are printed")


def find_timestamps(call: Call) -> tuple[Finder, Bundle | None]:
    """Return what finds the timestamps, and the bundle if they are in one; raises UsageMistake."""
    flags = call.flags
    places = [name for name in ("out_dir", "manifest", "bundle") if flags[name] is not None]
    typed = [name for name in places if call.is_typed(name)]
    given = typed or places
    if len(given) > 1:
        flag_names = " and ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageMistake(f"{flag_names} both say where the timestamps are; give one of them")
    if given == ["manifest"]:
        name = flags["manifest"]
        return ManifestFinder(name, read_manifest(name)), None
    if given == ["bundle"]:
        name = flags["bundle"]
        bundle = read_bundle(name, read_file(name, MAX_BUNDLE_OCTETS))
        if bundle.log_proofs:
            console.tell(f"{PROGRAM}: not checked: the log proofs in {name}, of which this version knows none")
        return BundleFinder(name, bundle), bundle
    return FileFinder(flags["out_dir"] if given else None), None


def with_helpers(
    flags: Mapping[str, Any], bundle: Bundle, trust: TrustStore, given: Revocation | None
) -> tuple[TrustStore, Revocation | None]:
    """Return the trust with a bundle's certificates, which carry none, and the revocation data with the bundle's."""
    known = {*trust.certificates, *trust.roots}
    more = [certificate for data in bundle.certificates for certificate in read_certificates(data)]
    trust = trust.replace(certificates=(*trust.certificates, *(each for each in more if each not in known)))
    if not (bundle.crls or bundle.ocsp_responses):
        return trust, given
    own = Revocation.from_files(
        crls=[(f"in {flags['bundle']}", data) for data in bundle.crls],
        ocsp_responses=[(f"in {flags['bundle']}", data) for data in bundle.ocsp_responses],
        scope=RevocationScope.AT_HAND if given is None else given.scope,
    )
    if given is None:
        return trust, own
    crls, responses = (*given.crls, *own.crls), (*given.ocsp_responses, *own.ocsp_responses)
    return trust, replace(given, crls=crls, ocsp_responses=responses)


def find_files(call: Call, finder: Finder) -> list[Item]:
    """Return the files to verify: those that were named, or else all that a manifest or bundle lists, at least one."""
    items = find_items(call) if names_files(call) else finder.items()
    if not items:
        name = call.flags["manifest"] or call.flags["bundle"]
        raise UsageMistake(f"{name} lists no file: there is nothing to verify")
    return items


def verify_many(call: Call, items: Sequence[Item], checker: Checker, *, alone: bool) -> int:
    """Verify all files and return the exit code: 0 when each has a timestamp that holds, else 1.

    `alone` keeps the work in this process, which then fetches things once.
    """
    reporter = reporter_of("json" if call.as_json else call.flags["report"] or "table", quiet=call.flags["quiet"])
    jobs = 1 if alone else call.flags["jobs"] or os.cpu_count() or 1
    results: list[Result] = []
    with progress_bar("verified", len(items)) as advance, closing(_results(items, checker, jobs)) as arriving:
        for result in arriving:
            results.append(result)
            reporter.add(result)
            advance("")
            if call.flags["fail_fast"] and not result.holds:
                break
    untried = [Result(name=item.name, verdict=Verdict.UNTRIED) for item in items[len(results) :]]
    reporter.end()
    _tell(call, [*results, *untried])
    return 0 if all(result.holds for result in (*results, *untried)) else console.EXIT_FAILURE


def _results(items: Sequence[Item], checker: Checker, jobs: int) -> Generator[Result, None, None]:
    """Yield the results in the order of the files."""
    if jobs == 1 or len(items) < _WORTH_PROCESSES or any(item.name == STANDARD for item in items):
        yield from map(checker.check, items)
        return
    from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor

    global _checker  # noqa: PLW0603 - what forked processes find in their memory
    _checker = checker
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(jobs, mp_context=fork, initializer=_leave_interrupts) as pool:
        try:
            # Not `pool.map`: it cancels what is left, and the thread of a broken pool then fails with a traceback.
            parts = deque(pool.submit(_check, items[at : at + _CHUNK]) for at in range(0, len(items), _CHUNK))
            while parts:
                yield from parts.popleft().result()
        except BrokenProcessPool:
            raise TsaError(
                "a process that verifies was killed, for want of memory perhaps; --jobs 1 does with one"
            ) from None
        except BaseException:  # an interruption, or nobody wants more: large files are not read to their end first
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


_checker: Checker | None = None


def _check(items: Sequence[Item]) -> list[Result]:
    assert _checker is not None  # noqa: S101 - set before the fork
    return [_checker.check(item) for item in items]


def _leave_interrupts() -> None:
    """Leave Ctrl-C to the process that forked this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _tell(call: Call, results: Sequence[Result]) -> None:
    """Print on standard error how many hold, and what was checked of none (rule V19)."""
    sums = len(call.flags["sums"])
    if sums:
        console.tell(f"{PROGRAM}: the files of --sums were not read: their digests are those of the list")
    unchecked: dict[str, tuple[int, str]] = {}
    for result in results:
        for code, text in result.unchecked:
            unchecked[code] = (unchecked.get(code, (0, ""))[0] + 1, text)
    if not call.flags["quiet"]:
        for count, text in unchecked.values():
            console.tell(f"{PROGRAM}: not checked, of {count:,}: {text}")
    if not call.flags["quiet"] or not all(result.holds for result in results):
        console.tell(f"{PROGRAM}: {count_words(results)}")
