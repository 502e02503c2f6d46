"""The extensions of one token that its profile's template does not have."""

from __future__ import annotations

from tsa_core.api import RequestRejected, TokenDraft, TsaError
from tsa_core.authority.pending_request import PendingRequest
from tsa_core.authority.processors import Processors
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.request import read_extensions


def token_extensions(
    pending: PendingRequest, draft: TokenDraft | None, processors: Processors, claimed: frozenset[str]
) -> bytes:
    """Return the encoded extensions: the request's, where the profile copies them, then those of the processors.

    `claimed` are those that processors handle. Raises TsaError when what processors added is wrong.
    """
    request, profile = pending.request, pending.profile
    copied = profile.settings.allow_custom_extensions and request.extensions
    parts = [e.der for e in request.extensions if e.oid not in claimed] if copied else []
    added = processors.extend(draft, pending.batch.guard) if draft is not None else []
    extensions = b"".join([*parts, *(part for _, part in added)])
    if extensions:
        try:
            read_extensions(profile.template.extensions + extensions)
        except (EncodingError, RequestRejected) as error:
            adding = list(dict.fromkeys(name for name, _ in added))
            whose = f", to which {' and '.join(adding)} added," if adding else ""
            wrong = TsaError(f"the extensions of the token{whose} are wrong: {error}")
            wrong.plugin = adding[0] if len(adding) == 1 else None
            raise wrong from None
    return extensions
