"""timestamp-cli probe: judges an authority from outside and gives it a grade."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.refuse_inputs import refuse_inputs
from tsa_core.cli.timestamp.authorities import authority_of, servers_of
from tsa_core.cli.timestamp.connection import SERVER_FLAGS, server_settings
from tsa_core.cli.timestamp.files import STANDARD
from tsa_core.cli.timestamp.flags import TSA, Call, flag, seconds
from tsa_core.cli.timestamp.trust import TRUST_FLAGS, trust_in, trust_of

if TYPE_CHECKING:
    from tsa_core.probe import Report
    from tsa_core.verify import TrustStore

_GRADES: Final = ("A+", "A", "B", "C", "D", "E", "F")
"""As `tsa_core.probe.GRADES`, which a test compares: help and completion import no more than this."""
_STANDARDS: Final = ("etsi", "csbr", "sigstore")
"""As `tsa_core.probe.STANDARDS`, likewise."""
EXIT_BELOW: Final = 1


def _rate(value: float | str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number <= 50:
        raise ValueError(f"{value!r} is not a number of requests each second, above 0 and up to 50")
    return number


def _bound(value: float | str) -> float:
    return 0.0 if value in {"0", "0s", 0} else seconds(value)


FLAGS: Final = (
    TSA,
    flag(
        "--max-requests",
        least=1,
        most=100,
        default=100,
        shown_default="100",
        help="Send no more requests than this; the most telling ones come first.",
    ),
    flag("--rate", convert=_rate, default=2.0, shown_default="2", metavar="NUMBER", help="Requests each second."),
    flag(
        "--deadline",
        convert=seconds,
        default=120.0,
        shown_default="2m",
        metavar="DURATION",
        help="How long everything may take; --timeout is for each request.",
    ),
    flag(
        "--clock-bound",
        convert=_bound,
        metavar="DURATION",
        help="How far this machine's clock may be off; without it the stated accuracy is not judged.",
    ),
    flag("--online", boolean=True, help="Ask the CRLs and OCSP responders that the certificates name, too."),
    flag(
        "--fail-under",
        choices=_GRADES,
        default="C",
        shown_default="C",
        help="End with 1 when the grade is worse than this.",
    ),
    flag("--check", multiple=True, metavar="NAME", help="Make only this check; repeat it for several."),
    flag(
        "--conformance",
        multiple=True,
        choices=_STANDARDS,
        help="Also say which demands of this standard are met, as far as shows from outside; the grade is the same.",
    ),
    flag("--html", metavar="FILE", help="Write the report as a page that needs no other file."),
    flag("--json", boolean=True, help="Print the report as JSON, as --format json does."),
    *SERVER_FLAGS,
    *TRUST_FLAGS,
)


def probe_authority(call: Call) -> int:
    """Judge an authority from outside: what it grants, refuses and signs, and who can use it.

    The authority is a URL, --timestamp_server or --tsa. It gets at most 100 requests, two each second, and no
    credentials but those that flags give. The report says what fails, by which rule, and what that means.

    \b
    Ends with 0, or with
      1  the grade is worse than --fail-under, or the authority cannot be reached
      2  the command line is wrong

    \b
    Examples:
      timestamp-cli probe https://tsa.example.org/tsa
      timestamp-cli probe --tsa digicert --html report.html
      timestamp-cli probe http://localhost:3000 --certificate-chain chain.pem --fail-under A --format json
    """  # noqa: D301 - the backslash is click's mark
    from tsa_core.cli.timestamp.probe_view import show, watching
    from tsa_core.probe import probe

    flags = call.flags
    server, trust = _server(call), _trust(call)
    page = flags["html"]
    if page == STANDARD:
        raise UsageMistake("--html needs a file: the report is on standard output")
    if page is not None:
        _check_page(call, page)
    settings = server_settings(call, [server])
    with watching() as progress:
        try:
            report = probe(
                server,
                trust=trust,
                checks=flags["check"] or None,
                max_requests=flags["max_requests"],
                rate=flags["rate"],
                timeout=call.common("timeout"),
                deadline=flags["deadline"],
                clock_bound=flags["clock_bound"],
                online=bool(flags["online"]),
                conformance=flags["conformance"],
                progress=progress,
                **settings,
            )
        except ValueError as error:
            raise UsageMistake(str(error)) from None
    if page is not None:
        _write_page(page, report)
    show(report, as_json=call.as_json or bool(flags["json"]))
    return EXIT_BELOW if report.grade.is_below(flags["fail_under"]) else 0


def _server(call: Call) -> str:
    """Return the one authority that was named; there is no default one, which would be somebody else's."""
    if len(call.paths) > 1:
        raise UsageMistake("probe judges one authority at a time")
    if call.paths:
        if call.flags["tsa"] is not None or (call.names_server and "timestamp_server" not in call.standing):
            raise UsageMistake("the URL, --tsa and --timestamp_server all say whom to probe; give one of them")
        return call.paths[0]
    if not call.names_server and call.flags["tsa"] is None:
        raise UsageMistake("whom to probe: timestamp-cli probe URL, or --tsa NAME")
    servers = servers_of(call)
    if len(servers) != 1:
        raise UsageMistake("probe judges one authority at a time")
    return servers[0]


def _trust(call: Call) -> TrustStore | None:
    """Return whom the flags trust, or else what is known of the authority of --tsa; None when that is nothing."""
    given = [each for each in TRUST_FLAGS if call.flags.get(each.name) is not None]
    if given:
        return trust_of(call.without("tsa"))  # --tsa says whom to ask, and these whom to trust
    authority = authority_of(call)
    return trust_in(authority, call) if authority is not None else None


def _check_page(call: Call, page: str) -> None:
    inputs = [(each.spellings[0], call.flags[each.name]) for each in (*TRUST_FLAGS, *SERVER_FLAGS) if not each.boolean]
    files = [(name, value) for name, value in inputs if isinstance(value, str)]
    refuse_inputs("--html", page, [*files, ("--config", call.common("config"))])
    if Path(page).is_dir() or not Path(page).resolve().parent.is_dir():
        raise UsageMistake(f"--html {page} is no file that can be written")


def _write_page(page: str, report: Report) -> None:
    from tsa_core.cli.timestamp.whole_file import write_whole
    from tsa_core.probe import html_page

    try:
        write_whole(str(Path(page).resolve()), html_page(report).encode(), replace=True)
    except OSError as error:
        raise UsageMistake(f"{page} cannot be written: {error.strerror}") from None
