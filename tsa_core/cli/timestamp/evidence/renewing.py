"""timestamp-cli evidence renew: new timestamps over old ones, and new hash trees."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from tsa_core.cli import console
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.connection import CONNECTION_FLAGS
from tsa_core.cli.timestamp.evidence.directory_flags import (
    STATE_FLAG,
    WORKERS_FLAG,
    all_batches,
    chosen_batches,
    mistakes,
    open_state,
    own_revocation,
    progress,
    stamping,
)
from tsa_core.cli.timestamp.evidence.due import WITHIN_FLAG
from tsa_core.cli.timestamp.flags import PROGRAM, Call, flag
from tsa_core.cli.timestamp.revocation import REVOCATION_FLAGS, fetched_revocation
from tsa_core.cli.timestamp.trust import TRUST_FLAGS, trust_of

if TYPE_CHECKING:
    from tsa_core.evidence.state import Batch
    from tsa_core.evidence.state.renewing import Prepare, RenewedBatch
    from tsa_core.verify import TrustStore

FLAGS: Final = (
    STATE_FLAG,
    WITHIN_FLAG,
    flag("--all", boolean=True, help="Renew every batch, due or not."),
    flag("--batch", multiple=True, metavar="NAME", help="Renew this batch, due or not; repeat it for more."),
    flag(
        "--hash",
        name="hash_name",
        metavar="NAME",
        help="Renew hash trees with this hash, sha3-256 for example; the files are read again.",
    ),
    flag("--base", metavar="DIR", help="Where the files are now, if not where they were (hash tree renewal)."),
    flag("--drop-missing", boolean=True, help="Leave out files that are gone or have changed (hash tree renewal)."),
    flag("--tsa-policy", metavar="OID", help="Ask for this policy."),
    WORKERS_FLAG,
    *TRUST_FLAGS,
    *(each for each in REVOCATION_FLAGS if each.name != "fetch_issuers"),
    *CONNECTION_FLAGS,
)
_SHOWN: Final = 5


def renew(call: Call) -> None:
    """Renew what is due: new timestamps over the last ones, or new hash trees.

    Each last timestamp is verified first, with the trust flags. Its certificates, and the CRLs and OCSP responses that
    are given or fetched, go into it, and the new timestamp covers them. One request serves all batches. With --hash,
    the files are read again, compared with what was stamped, and covered by a new hash tree.

    \b
    Examples:
      timestamp-cli evidence renew --state proof --root-certificates roots.pem --fetch-ocsp
      timestamp-cli evidence renew --state proof --root-certificates roots.pem --all --hash sha3-256
    """  # noqa: D301 - the backslash is click's mark
    from tsa_core.evidence.state import renew_batches

    flags = call.flags
    if flags["hash_name"] is None:
        for name in ("base", "drop_missing", "workers"):
            if flags[name]:
                raise UsageMistake(f"--{name.replace('_', '-')} goes with --hash: without it, no file is read")
    if flags["all"] and flags["batch"]:
        raise UsageMistake("--all and --batch do not go together")
    trust = trust_of(call)
    state = open_state(call)
    batches = _to_renew(call, all_batches(state))
    if not batches:
        _report(call, ())
        return
    total = sum(batch.objects for batch in batches)
    with mistakes(), stamping(call, trust) as stamp, progress("reading", total) as show:
        done = renew_batches(
            state,
            batches,
            stamp,
            prepare=_prepare(call, trust),
            hash_name=flags["hash_name"],
            base=flags["base"],
            drop_missing=bool(flags["drop_missing"]),
            workers=flags["workers"],
            progress=show,
        )
    _report(call, done)


def _to_renew(call: Call, batches: list[Batch]) -> list[Batch]:
    from tsa_core.evidence.state import due_batches

    if call.flags["batch"] or call.flags["all"]:
        return chosen_batches(call, batches)
    limit = datetime.now(UTC) + timedelta(days=call.flags["within"])
    return [due.batch for due in due_batches(batches) if due.before <= limit]


def _prepare(call: Call, trust: TrustStore) -> Prepare:
    """Return what verifies a token and puts its certificates and the evidence about them inside."""
    from tsa_core.evidence import filled, verify_own

    def prepare(token: bytes) -> bytes:
        revocation = own_revocation(call)
        if call.flags["fetch_crls"] or call.flags["fetch_ocsp"]:
            revocation = fetched_revocation(call, verify_own(token, trust), revocation)
        verdict = verify_own(token, trust, revocation)
        if not verdict.revocation_checked:
            console.tell(
                f"{PROGRAM}: warning: whether the certificate of the timestamp before was revoked is not in the "
                "record; add --fetch-ocsp or --fetch-crls, or give --crl or --ocsp"
            )
        return filled(token, verdict, revocation)

    return prepare


def _report(call: Call, done: tuple[RenewedBatch, ...]) -> None:
    for each in done:
        for name, reason in each.missing[:_SHOWN]:
            console.tell(f"{PROGRAM}: warning: {name} was left out: {reason}")
    if call.as_json:
        console.print_json(
            [
                {
                    "Batch": each.batch.name,
                    "Renewal": each.renewal,
                    "Hash": each.batch.chains[-1].hash_name,
                    "Time": f"{each.batch.last_chain()[-1].info.gen_time:%Y-%m-%dT%H:%M:%SZ}",
                    "LeftOut": [{"Name": name, "Reason": reason} for name, reason in each.missing],
                }
                for each in done
            ]
        )
        return
    for each in done:
        time = each.batch.last_chain()[-1].info.gen_time
        left = f", {len(each.missing):,} files left out" if each.missing else ""
        console.echo(f"Renewed batch {each.batch.name}: {each.renewal}, {time:%Y-%m-%d %H:%M:%S} UTC{left}")
    if not done:
        console.echo("Nothing is due.")
