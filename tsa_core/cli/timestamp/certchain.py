"""timestamp-cli certchain: the certificates of an authority, from its server or from a timestamp."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from tsa_core.cli import console
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.refuse_inputs import refuse_inputs
from tsa_core.cli.timestamp.authorities import servers_of
from tsa_core.cli.timestamp.files import STANDARD, read_timestamp, refuse_existing, write_timestamp
from tsa_core.cli.timestamp.flags import PROGRAM, TSA, Call, flag

if TYPE_CHECKING:
    from cryptography import x509

_PATH: Final = "/api/v1/timestamp"
_MAX_OCTETS: Final = 1 << 20
FLAGS: Final = (
    TSA,
    flag("--timestamp", name="reply", metavar="FILE", help="Take the certificates out of this timestamp instead."),
    flag("--ca", metavar="FILE", help="PEM certificates of the authorities to trust for TLS, not the system's."),
    flag("--out", default=STANDARD, metavar="FILE", help="Where to put the PEM chain (default: stdout)."),
    flag("--force", boolean=True, help="Replace a file that is there already."),
)


def certchain(call: Call) -> None:
    """Get the certificate chain of an authority.

    It comes from the server, as Sigstore's and ours give it, or from a timestamp.

    Nothing of it is verified, and it must not be trusted because it came: compare the SHA-256 of its root with what the
    authority publishes elsewhere.

    \b
    Examples:
      timestamp-cli certchain --timestamp_server https://tsa.example.org --out chain.pem
      timestamp-cli certchain --timestamp release.tsr --out chain.pem
    """  # noqa: D301 - the backslash is click's mark
    flags = call.flags
    if flags["out"] != STANDARD:
        inputs = [("--timestamp", flags["reply"]), ("--ca", flags["ca"]), ("--config", call.common("config"))]
        refuse_inputs("--out", flags["out"], inputs)
        if not flags["force"]:
            refuse_existing(flags["out"])
    if call.as_json and flags["out"] == STANDARD:
        raise UsageMistake("--format json and the chain both need standard output; give --out FILE")
    certificates = _from_timestamp(call) if flags["reply"] is not None else _from_server(call)
    ordered = in_order(certificates)
    from cryptography.hazmat.primitives.serialization import Encoding

    pem = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in ordered)
    write_timestamp(flags["out"], pem, force=bool(flags["force"]))
    _tell(call, ordered)


def _from_timestamp(call: Call) -> list[x509.Certificate]:
    if call.names_server or call.flags["tsa"] is not None:
        raise UsageMistake("--timestamp has the certificates already; no server is asked")
    if call.is_typed("ca"):
        raise UsageMistake("--ca has no effect with --timestamp: no server is asked")
    from tsa_core.protocol.reply import is_token
    from tsa_core.verify.statement import open_reply, open_token, readable

    data = read_timestamp(call.flags["reply"])
    token = open_token(data) if is_token(data) else open_reply(data)[1]
    found = [each.certificate for each in readable(token.certificates)]
    if not found:
        raise UsageMistake(f"{call.flags['reply']} holds no certificate: it was made without certReq")
    return found


def _from_server(call: Call) -> list[x509.Certificate]:
    from tsa_core.client import Deadline, fetch
    from tsa_core.client.tls import tls
    from tsa_core.verify.trust import read_certificates

    servers = servers_of(call)
    if len(servers) != 1:
        raise UsageMistake("certchain asks one --timestamp_server")
    url = chain_url(servers[0])
    with Deadline(call.common("timeout")) as deadline:
        data = fetch(url, deadline=deadline, max_octets=_MAX_OCTETS, tls=tls(ca=call.flags["ca"]))
    return list(read_certificates(data))


def chain_url(server: str) -> str:
    """Return where a server gives its chain; raises UsageMistake for one whose path is not Sigstore's or none."""
    try:
        parts = urlsplit(server)
    except ValueError:
        raise UsageMistake("--timestamp_server is not an http or https URL; write https://HOST") from None
    path = parts.path.rstrip("/")
    if path not in {"", _PATH}:
        raise UsageMistake(
            f"where a server with the path {parts.path} has its chain is not known; take it from a --timestamp"
        )
    return urlunsplit(parts._replace(path=f"{_PATH}/certchain", query="", fragment=""))


def in_order(certificates: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """Return certificates, each before the one that issued it, by their names; what does not fit comes last."""
    rest = list(dict.fromkeys(certificates))
    issuers = {each.issuer for each in rest if each.issuer != each.subject}
    ordered: list[x509.Certificate] = []
    place = next((each for each in rest if each.subject not in issuers and each.issuer != each.subject), None)
    while place is not None:
        ordered.append(place)
        rest.remove(place)
        issuer = place.issuer
        place = next((each for each in rest if each.subject == issuer), None)
    return ordered + rest


def _tell(call: Call, certificates: Sequence[x509.Certificate]) -> None:
    from cryptography.hazmat.primitives import hashes

    from tsa_core.cli.timestamp.shown import certificate_name, shown_time
    from tsa_core.paths.errors import printable

    documents = [
        {
            "Subject": printable(certificate_name(each)),
            "NotAfter": shown_time(each.not_valid_after_utc),
            "SHA256Fingerprint": each.fingerprint(hashes.SHA256()).hex(),
            "Root": each.subject == each.issuer,
        }
        for each in certificates
    ]
    if call.as_json:
        console.print_json({"Location": call.flags["out"], "Certificates": documents})
    for document in documents:
        role = "root " if document["Root"] else ""
        facts = f"{document['Subject']}, until {document['NotAfter']}, SHA-256 {document['SHA256Fingerprint']}"
        console.tell(f"{PROGRAM}: {role}{facts}")
    console.tell(
        f"{PROGRAM}: not verified: compare the SHA-256 of the root with what the authority publishes elsewhere"
    )
