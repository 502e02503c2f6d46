"""The extensions of one token that its profile's template does not have, and the draft that they are made from."""

from __future__ import annotations

from collections.abc import Sequence

from tsa_core.api import PKIFailureInfo, RequestRejected, TokenDraft, TsaError
from tsa_core.authority.pending_request import PendingRequest
from tsa_core.authority.processors import Processors
from tsa_core.conformance.profiles import Conformance
from tsa_core.protocol import oids
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.qc_statements import read_qc_statements
from tsa_core.protocol.request import RequestExtension, read_extensions


def new_draft(pending: PendingRequest) -> TokenDraft:
    """Return what processors are told of a token, and note it."""
    profile = pending.profile
    pending.draft = TokenDraft(
        profile=profile.name,
        policy=profile.policies_by_der[pending.policy_der],
        serial_number=int.from_bytes(pending.serial_der[2:], "big"),
        gen_time=pending.stamp.time,
        request=pending.request,
        context=pending.context,
    )
    return pending.draft


def token_extensions(
    pending: PendingRequest, draft: TokenDraft | None, processors: Processors, claimed: frozenset[str]
) -> bytes:
    """Return the encoded extensions: the request's, where the profile copies them, then those of the processors.

    `claimed` are those that processors handle. Raises TsaError when what processors added is wrong, or is forbidden
    by the profile's conformance; RequestRejected for what was copied and is forbidden.
    """
    request, profile = pending.request, pending.profile
    copied = profile.settings.allow_custom_extensions and request.extensions
    parts = [e.der for e in request.extensions if e.oid not in claimed] if copied else []
    added = processors.extend(draft, pending.batch.guard) if draft is not None else []
    extensions = b"".join([*parts, *(part for _, part in added)])
    if extensions:
        try:
            every = read_extensions(profile.template.extensions + extensions)
        except (EncodingError, RequestRejected) as error:
            adding = list(dict.fromkeys(name for name, _ in added))
            whose = f", to which {' and '.join(adding)} added," if adding else ""
            wrong = TsaError(f"the extensions of the token{whose} are wrong: {error}")
            wrong.plugin = adding[0] if len(adding) == 1 else None
            raise wrong from None
        if profile.conformance is not None:
            _refuse_unless_conforming(profile.conformance, pending, every, [name for name, _ in added])
    return extensions


def _refuse_unless_conforming(
    conformance: Conformance, pending: PendingRequest, extensions: Sequence[RequestExtension], adding: Sequence[str]
) -> None:
    """Raise for extensions that no token of the profile's conformance may have."""
    critical = [extension.oid for extension in extensions if extension.critical]
    statements = [
        identifier
        for extension in extensions
        if extension.oid == oids.ID_PE_QC_STATEMENTS
        for identifier in read_qc_statements(extension.value).identifiers or ("unreadable",)
    ]
    complaint = conformance.complaint_about(critical_extensions=critical, qc_statements=statements)
    if not complaint:
        return
    if any(extension.critical for extension in pending.request.extensions):
        raise RequestRejected(
            PKIFailureInfo.UNACCEPTED_EXTENSION,
            "a critical extension is not accepted, because tokens here may have none; leave it out",
        )
    wrong = TsaError(f"profile {pending.profile.name}: {complaint}")
    wrong.plugin = adding[0] if len(set(adding)) == 1 else None
    raise wrong
