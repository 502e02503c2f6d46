"""timestamp-cli git stamp, verify and statement: timestamps of commits and tags."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from tsa_core.cli import console
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.connection import CONNECTION_FLAGS, connection_settings
from tsa_core.cli.timestamp.flags import PROGRAM, Call, flag
from tsa_core.cli.timestamp.revocation import REVOCATION_FLAGS, given_revocation
from tsa_core.cli.timestamp.trust import TRUST_FLAGS, trust_of

if TYPE_CHECKING:
    from tsa_core.git import Notes, Repository, Statements
    from tsa_core.verify import Verifier

_REPOSITORY: Final = flag(
    "--repository", metavar="DIR", help="A folder in the repository (default: where git finds one, as in a hook)."
)
_UNCHECKED: Final = (
    "the signatures of commits and tags, and the commits before each, which it names by Git's own hash alone"
)
STATEMENT_FLAGS: Final = (_REPOSITORY,)
STAMP_FLAGS: Final = (
    _REPOSITORY,
    flag("--again", boolean=True, help="Add a timestamp to what has one already."),
    flag("--hash", name="hash_name", metavar="NAME", help="Hash of the timestamp: sha256 (default), sha512, ..."),
    flag("--tsa-policy", metavar="OID", help="Ask for this policy."),
    *CONNECTION_FLAGS,
)
VERIFY_FLAGS: Final = (
    _REPOSITORY,
    flag(
        "--allow-unstamped",
        boolean=True,
        help="Commits without a timestamp are listed and are no failure, unless all are.",
    ),
    *TRUST_FLAGS,
    flag("--allow", multiple=True, metavar="NAME", help="As of verify: accept although a rule refuses it."),
    *(each for each in REVOCATION_FLAGS if not each.name.startswith("fetch_")),
)


def stamp(call: Call) -> None:
    """Timestamp commits and annotated tags, HEAD unless others are named, into refs/notes/timestamps.

    What is timestamped is the content: see `timestamp-cli git statement`. What has a timestamp of it is passed over.
    Share the notes with `git push origin refs/notes/timestamps`.

    \b
    Examples:
      timestamp-cli git stamp
      timestamp-cli git stamp v1.2.0 HEAD~1
      timestamp-cli git stamp v1.1.0..HEAD
    """  # noqa: D301 - the backslash is click's mark
    from tsa_core.client import TimestampClient
    from tsa_core.git import Notes, Statements
    from tsa_core.git.statement import is_about

    flags = call.flags
    repository = _repository(call)
    servers = call.common("timestamp_server")
    if len(servers) != 1:
        raise UsageMistake("git stamp asks one --timestamp_server; --again adds a timestamp of another one")
    done: list[dict[str, Any]] = []
    notes = Notes(repository)
    with TimestampClient(servers[0], **connection_settings(call)) as client, Statements(repository) as statements:
        for identifier in _named(repository, call):
            text = statements.of(identifier)
            # Git copies notes to commits that it rewrites, and anybody may push one: it may be over something else.
            if not flags["again"] and any(is_about(token, text) for token in notes.tokens_of(identifier)):
                done.append({"Object": identifier, "Timestamp": None})
                continue
            timestamp = client.stamp(
                artifact=text,
                hash_name=flags["hash_name"] or "sha256",
                policy=flags["tsa_policy"],
            )
            notes.add(identifier, timestamp.reply)
            done.append({"Object": identifier, "Timestamp": f"{timestamp.time:%Y-%m-%dT%H:%M:%SZ}"})
    if call.as_json:
        console.print_json({"Objects": done})
        return
    for each in done:
        console.echo(f"{each['Object']} {each['Timestamp'] or 'has a timestamp already'}")


def verify(call: Call) -> int:
    """Verify the timestamps of commits and tags, HEAD unless others or ranges (v1.0..HEAD) are named.

    Exit code 0: every one has a timestamp that holds. 1: one has none, or only such that do not hold.

    \b
    Examples:
      timestamp-cli git verify --certificate-chain chain.pem v1.0..HEAD v1.1
    """  # noqa: D301 - the backslash is click's mark
    from tsa_core.git import Notes, Statements

    repository = _repository(call)
    verifier = _verifier(call)
    if repository.is_shallow:
        console.tell(f"{PROGRAM}: warning: the clone is shallow; commits that are not here are not looked at")
    notes = Notes(repository)
    with Statements(repository) as statements:
        results = [_judged(notes, statements, identifier, verifier) for identifier in _named(repository, call)]
    bad = [each for each in results if each["Verdict"] == "refused"]
    bare = [each for each in results if each["Verdict"] == "no timestamp"]
    if call.as_json:
        console.print_json({"Objects": results, "NotChecked": _UNCHECKED})
    else:
        console.print_table(
            ("Object", "Verdict", "Time", ""),
            [(each["Object"], each["Verdict"], each["Timestamp"] or "-", each["Reason"]) for each in results],
        )
        console.tell(f"{PROGRAM}: not checked: {_UNCHECKED}")
    # A verdict over nothing is none: the notes may be missing as a whole.
    nothing = len(bare) == len(results)
    failed = bad if call.flags["allow_unstamped"] and not nothing else bad + bare
    if failed:
        hint = "; were the notes fetched? git fetch origin refs/notes/timestamps:refs/notes/timestamps"
        console.tell(
            f"{PROGRAM}: of {len(results)} objects {len(bare)} have no timestamp, {len(bad)} have none that holds"
            f"{hint if nothing else ''}"
        )
    return 1 if failed else 0


def statement(call: Call) -> None:
    """Print what a timestamp of a commit or a tag is over, HEAD unless another one is named.

    SHA-256 of the commit object, and of the list of its files with the SHA-256 of each: a timestamp does not rest on
    Git's SHA-1.
    """
    from tsa_core.git import Statements

    if len(call.paths) > 1:
        raise UsageMistake("give one revision")
    repository = _repository(call)
    with Statements(repository) as statements:
        text = statements.of(repository.identifier(call.paths[0] if call.paths else "HEAD"))
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


def _repository(call: Call) -> Repository:
    from tsa_core.git import Repository

    return Repository(call.flags["repository"])


def _named(repository: Repository, call: Call) -> list[str]:
    """Return the identifiers of all objects that the words name, each once."""
    found = (identifier for word in call.paths or ("HEAD",) for identifier in repository.commits(word))
    return list(dict.fromkeys(found))


def _verifier(call: Call) -> Verifier:
    from tsa_core.verify import Verifier
    from tsa_core.verify.tolerances import check_allowances

    flags = call.flags
    try:
        check_allowances(flags["allow"])
    except ValueError as error:
        raise UsageMistake(f"--allow: {error}") from None
    revocation = given_revocation({**flags, "artifact": None, "fetch_crls": False, "fetch_ocsp": False})
    return Verifier(trust_of(call), allow=flags["allow"], revocation=revocation)


def _judged(notes: Notes, statements: Statements, identifier: str, verifier: Verifier) -> dict[str, Any]:
    """Return the verdict on an object: that of its oldest timestamp that holds."""
    from tsa_core.git import GitError
    from tsa_core.paths.errors import printable
    from tsa_core.verify import VerificationError

    verdict: dict[str, Any] = {"Object": identifier, "Verdict": "no timestamp", "Timestamp": None, "Reason": ""}
    try:
        tokens = notes.tokens_of(identifier)
        text = statements.of(identifier) if tokens else b""
    except GitError as error:
        return {**verdict, "Verdict": "refused", "Reason": printable(str(error))}
    for token in tokens:
        try:
            result = verifier.verify_token(token, artifact=text)
        except VerificationError as error:
            if verdict["Verdict"] != "verified":
                verdict |= {"Verdict": "refused", "Reason": printable(str(error))}
            continue
        time = f"{result.gen_time:%Y-%m-%dT%H:%M:%SZ}"
        if verdict["Verdict"] != "verified" or time < verdict["Timestamp"]:
            verdict |= {"Verdict": "verified", "Timestamp": time, "Reason": ""}
    return verdict
