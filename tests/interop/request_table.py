"""Our server's answers to the raw requests, in both of its ways, beside the reference's: the documentation's table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from fnmatch import fnmatchcase
from typing import Final

from tests.interop.builds import HERE
from tests.interop.raw_answers import Answer, ask_all
from tests.interop.raw_request_bodies import all_groups, all_requests
from tests.interop.raw_requests import BODY_LIMIT, SERVERS
from tests.interop.request_differences import REASONS, RESTORED, RFC3161, SIGSTORE, Reason
from tests.serving import Server, served_by_waitress
from tsa_core.cli.reference_settings import load
from tsa_core.cli.serve import serve
from tsa_core.service import Service

PAGE: Final = HERE.parents[1] / "docs" / "operate" / "sigstore-requests.md"
BEGIN: Final = "<!-- made by python -m tests.interop.reference_requests --write -->\n"
END: Final = "<!-- end -->\n"
RESTORING: Final = ("--include-chain-in-response=false", f"--max-request-body-size={BODY_LIMIT}")
"""Flags that give the reference's defaults back beside --rejections=sigstore; the first is in both columns."""
Serving = AbstractContextManager[Server]
SAME: Final = "the same"
_SHORT: Final = 110


def own_answers(rejections: str, served: Callable[[Service], Serving] = served_by_waitress) -> dict[str, Answer]:
    """Ask our server, started with the reference's flags and `--rejections`."""
    answers: dict[str, Answer] = {}
    for name, flags in SERVERS.items():
        given = {flag.partition("=")[0] for flag in flags}
        restoring = RESTORING if rejections == SIGSTORE else RESTORING[:1]
        arguments = [*flags, *(flag for flag in restoring if flag.partition("=")[0] not in given)]
        arguments += ["--host", "127.0.0.1", "--port", "0", f"--rejections={rejections}"]
        # Ours takes this flag only beside https, which has no part in the comparison.
        ping_only = "--http-ping-only" in arguments
        settings = load(serve.make_context("serve", [each for each in arguments if each != "--http-ping-only"]).params)
        server = settings.settings.server.model_copy(update={"http_ping_only": ping_only})
        with (
            Service(settings.settings.model_copy(update={"server": server})) as service,
            served(service) as running,
        ):
            answers |= ask_all(running.address, (each for each in all_requests() if each.flags == name))
    return answers


def differences(reference: Answer, own: Answer) -> set[str]:
    """Return what differs: status, body, or names of header fields."""
    found = {name for name in ("status", "body") if getattr(reference, name) != getattr(own, name)}
    names = reference.headers.keys() | own.headers.keys()
    return found | {name for name in names if reference.headers.get(name) != own.headers.get(name)}


def reasons_of(name: str, rejections: str, what: str) -> list[Reason]:
    """Return the reasons why that differs in the answer to the request of that name."""
    return [
        each
        for each in REASONS
        if rejections in each.rejections
        and what in each.what
        and any(fnmatchcase(name, pattern) for pattern in each.requests)
    ]


def unexplained(reference: Mapping[str, Answer], own: Mapping[str, Answer], rejections: str) -> list[str]:
    """Return the differences that have no reason, in words."""
    return [
        f"{name}: {what} differs: {_part(reference[name], what)!r} and {_part(answer, what)!r}"
        for name, answer in own.items()
        for what in sorted(differences(reference[name], answer))
        if not reasons_of(name, rejections, what)
    ]


def _part(answer: Answer, what: str) -> object:
    return getattr(answer, what) if what in {"status", "body"} else answer.headers.get(what)


def with_table(
    page: str, reference: Mapping[str, Answer], sigstore: Mapping[str, Answer], plain: Mapping[str, Answer]
) -> str:
    """Return the page with the table that these answers make."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return before + BEGIN + "\n".join(_lines(reference, sigstore, plain)) + "\n" + END + after


def _lines(
    reference: Mapping[str, Answer], sigstore: Mapping[str, Answer], plain: Mapping[str, Answer]
) -> Iterator[str]:
    numbers = {each: n for n, each in enumerate((each for each in REASONS if not each.is_general), 1)}
    yield "In all answers:"
    yield ""
    yield from (f"- {_scope(each)}{each.text}" for each in REASONS if each.is_general)
    yield ""
    yield "Reasons, to which the last column of the tables refers:"
    yield ""
    yield from (f"{number}. {_scope(each)}{each.text}" for each, number in numbers.items())
    for title, requests in all_groups().items():
        yield ""
        yield f"## {title}"
        yield ""
        yield "| request | reference | `--rejections=sigstore` | without | why |"
        yield "|---|---|---|---|---|"
        for name in (request.name for request in requests):
            found = {
                numbers[each]
                for rejections, own in ((SIGSTORE, sigstore[name]), (RFC3161, plain[name]))
                for what in differences(reference[name], own)
                for each in reasons_of(name, rejections, what)
                if not each.is_general
            }
            cells = (_cell(reference[name]), *(_beside(reference[name], own[name]) for own in (sigstore, plain)))
            yield f"| {_escaped(name)} | {' | '.join(cells)} | {' '.join(map(str, sorted(found)))} |"


def _scope(reason: Reason) -> str:
    return "Without `--rejections=sigstore`: " if reason.rejections == RESTORED else ""


def _beside(reference: Answer, own: Answer) -> str:
    """Return the cell of one of our answers: what it is, or only which header fields differ."""
    general = {what for each in REASONS if each.is_general for what in each.what}
    found = differences(reference, own)
    if found & {"status", "body"}:
        return _cell(own)
    return ", ".join((SAME, *(f"{name} differs" for name in sorted(found - general))))


def _cell(answer: Answer) -> str:
    """Return an answer in a few words."""
    body = answer.body
    if answer.is_token:
        text = (
            f"a token with {re.findall('[0-9]+ certificates', body)[0]}, nonce {re.findall('nonce ([^,]*)', body)[0]}"
        )
        text += ", parameters absent" if "parameters absent" in body else ""
    elif body.startswith("{"):
        text = str(json.loads(body).get("message", body))
    else:
        text = body
    return f"{answer.status} {_escaped(text[:_SHORT] + '...' if len(text) > _SHORT else text)}".strip()


def _escaped(text: str) -> str:
    """Return a text as code, as Markdown's tables can hold it."""
    if not text:
        return ""
    mark = "``" if "`" in text else "`"
    return mark + re.sub(r"[\x00-\x1f]", "?", text).replace("|", "\\|") + mark
