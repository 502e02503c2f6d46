"""The call that judges an authority.

from tsa_core.probe import probe
report = probe("https://timestamp.example.org/tsa", trust="chain.pem")
print(report.grade.letter, report.grade.reasons)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Unpack
from urllib.parse import urlsplit

from tsa_core.client.deadline import Deadline
from tsa_core.client.settings import ServerSettings, check_bearer_token, header_source
from tsa_core.client.tls import tls
from tsa_core.client.transport import timestamp_url, without_credentials
from tsa_core.paths.certificate import PathCertificate
from tsa_core.paths.errors import printable
from tsa_core.probe.check import Check, Severity
from tsa_core.probe.checks import CHECKS, UNSEEN_RULES
from tsa_core.probe.clients import receptions
from tsa_core.probe.evidence import Evidence, Stamp
from tsa_core.probe.facts import facts
from tsa_core.probe.gathering import Gatherer, Progress
from tsa_core.probe.grade import grade
from tsa_core.probe.online import OnlineFacts, look
from tsa_core.probe.pacing import DEFAULT_RATE, MAX_RATE, MAX_REQUESTS, Pacer
from tsa_core.probe.report import Report
from tsa_core.probe.standards import judge, known_standards
from tsa_core.sources import Source
from tsa_core.verify import TrustStore, VerificationError, Verifier


def probe(
    url: str,
    *,
    trust: TrustStore | Source | None = None,
    checks: Iterable[str] | None = None,
    max_requests: int = MAX_REQUESTS,
    rate: float = DEFAULT_RATE,
    timeout: float = 15.0,
    deadline: float = 120.0,
    clock_bound: float | None = None,
    online: bool = False,
    conformance: Iterable[str] = (),
    progress: Progress | None = None,
    **settings: Unpack[ServerSettings],
) -> Report:
    """Ask an authority what a good one grants and refuses, and return what its answers show.

    `url` is used as it is when it has a path; without one, `/api/v1/timestamp` is added. At most `max_requests`
    requests are sent, never more than 100, `rate` of them each second; a busy server is waited for (Retry-After).
    `timeout` is in seconds and for each request, `deadline` for everything. No redirect is followed.

    `trust` is a TrustStore, or what `TrustStore.read` takes; without it no path is judged. `checks` are names of
    checks: only they are made, with the requests that they need. `clock_bound` is how far this machine's clock may be
    off, in seconds; without it genTime is not compared with the accuracy that is stated. `online` also asks the CRLs
    and OCSP responders that the certificates name. `conformance` names standards of STANDARDS: their demands that show
    from outside are judged besides, without effect on the grade. `progress` is called before each request with its
    number, how many there are, and its title.

    `settings` say how the server is reached, as for TimestampClient. Credentials go to no other server.

    Raises TransportError when the first request brings no answer, ClientSettingError for settings that cannot be used,
    ValueError for numbers out of range and unknown checks. What a hostile server sends raises nothing.
    """
    chosen = _chosen(checks)
    standards = known_standards(conformance)
    if not 1 <= max_requests <= MAX_REQUESTS:
        raise ValueError(f"max_requests is a number from 1 to {MAX_REQUESTS}")
    if not 0 < rate <= MAX_RATE:
        raise ValueError(f"rate is a number of requests each second, above 0 and up to {MAX_RATE:g}")
    if clock_bound is not None and not 0 <= clock_bound <= 86400:
        raise ValueError("clock_bound is a number of seconds, from 0 to 86400")
    target = timestamp_url(url)
    store = trust if trust is None or isinstance(trust, TrustStore) else TrustStore.read(trust)
    headers, token_file = settings.get("headers"), settings.get("token_file")
    check_bearer_token(target, headers, token_file, over_http=settings.get("token_over_http", False))
    started = datetime.now(UTC)
    with Deadline(deadline) as limit:
        pacer = Pacer(rate=rate, most=max_requests, deadline=limit)
        gatherer = Gatherer(
            url=target,
            tls=tls(
                ca=settings.get("ca"),
                certificate=settings.get("client_certificate"),
                key=settings.get("client_key"),
            ),
            headers=header_source(headers, token_file, authorized=urlsplit(target).username is not None),
            timeout=timeout,
            deadline=limit,
            pacer=pacer,
            progress=progress,
        )
        exchanges, seen_tls, stopped = gatherer.gather(chosen)
        evidence = Evidence(
            url=without_credentials(target),
            started=started,
            exchanges=exchanges,
            clock_bound=clock_bound,
            tls=seen_tls,
            path_problem=None,
        )
        evidence = _with_trust(evidence, store, online=online, limit=limit)
    # The critical ones always: what is known of clients is of tokens that pass them.
    made = {each: each.run(evidence) for each in CHECKS if each in chosen or each.severity is Severity.CRITICAL}
    results = tuple(made[each] for each in chosen)
    return Report(
        url=printable(evidence.url),
        started=started,
        finished=datetime.now(UTC),
        requests=pacer.sent,
        stopped=printable(stopped),
        grade=grade(results, complete=not stopped),
        results=results,
        facts=facts(evidence),
        clients=receptions(evidence, [each for each in made.values() if each.check.severity is Severity.CRITICAL]),
        standards=judge(standards, evidence),
        unseen_rules=UNSEEN_RULES,
        evidence=evidence,
    )


def _chosen(names: Iterable[str] | None) -> tuple[Check, ...]:
    if names is None:
        return CHECKS
    wanted = set(names)
    if unknown := wanted - {each.id for each in CHECKS}:
        raise ValueError(f"there is no check {min(unknown)!r}")
    return tuple(each for each in CHECKS if each.id in wanted)


def _with_trust(evidence: Evidence, trust: TrustStore | None, *, online: bool, limit: Deadline) -> Evidence:
    """Return the evidence with what the caller's roots, and the certificates' places, say of the first token."""
    stamp = next((each for each in evidence.stamps if each.exchange.case.name == "plain"), None)
    if stamp is None or (trust is None and not online):
        return evidence
    path, trusted = stamp.reply.path, False
    problem: str | None = None
    request = stamp.exchange.body or b""
    if trust is not None:
        verifier = Verifier(trust)
        try:
            path = tuple(map(PathCertificate, verifier.verify_response(stamp.reply.body, request=request).path))
            problem, trusted = _of_other_signers(evidence, stamp, verifier), True
        except VerificationError as error:
            problem = _told(error)
    facts_online: OnlineFacts | None = None
    if online and limit.remaining > 0:
        # What does not lead to a root is asked all the same: whether a place answers shows without trust.
        facts_online = look(path, stamp.reply.body, request, trust, limit.remaining)
    return replace(evidence, path_problem=problem, path=path if trusted else (), online=facts_online)


def _of_other_signers(evidence: Evidence, first: Stamp, verifier: Verifier) -> str:
    """Return why a token of another unit than the first one's is not trusted, empty when all are."""
    seen = {first.reply.certificate.der} if first.reply.certificate is not None else set()
    for stamp in evidence.stamps:
        certificate = stamp.reply.certificate
        if certificate is None or certificate.der in seen or not stamp.exchange.case.granted or stamp.request is None:
            continue
        seen.add(certificate.der)
        try:
            verifier.verify_response(stamp.reply.body, request=stamp.exchange.body or b"")
        except VerificationError as error:
            return printable(f"{certificate.name}: {_told(error)}")
    return ""


def _told(error: VerificationError) -> str:
    return printable(f"{error} (rule {error.rule})")
