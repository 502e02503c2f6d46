"""Has the ends of a trail's chains stamped by other authorities, and stores what they gave beside the trail."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from tsa_core.api import AuditEvent, ConfigError, TsaError, UnavailableError, one_line, read_file

if TYPE_CHECKING:
    from tsa_core.api.trail import Anchor, Trail
    from tsa_core.config.sections import AuditSettings
    from tsa_core.verify import Verifier

log = logging.getLogger(__name__)

_MAX_ROOTS_OCTETS: Final = 4 * 1_048_576
_CLOCKS_APART: Final = timedelta(minutes=5)


class Stamped(NamedTuple):
    """An anchor that was made, the genTime of its latest token, and a line for each authority that gave none."""

    anchor: Anchor
    time: datetime
    failures: tuple[str, ...]


class AnchorStamps:
    """Makes anchors with the authorities of `[audit] anchor_urls`; raises ConfigError for roots that cannot be read.

    Every reply is verified against the roots before it is kept.
    """

    def __init__(self, settings: AuditSettings) -> None:
        from tsa_core.verify import PathError, TrustStore, Verifier

        self._settings = settings
        path = settings.anchor_roots
        assert path is not None  # noqa: S101 - the settings demand it
        try:
            roots = read_file(path, "roots of other authorities", limit=_MAX_ROOTS_OCTETS)
            self.verifier: Verifier = Verifier(TrustStore.from_files(roots))
        except PathError as error:
            raise ConfigError(str(error), path=f"audit.anchor_roots: {path}") from None

    def time_of(self, anchor: Anchor) -> datetime | None:
        """Return the latest genTime of an anchor's tokens that verify, None when none does."""
        from tsa_core.verify import VerificationError

        times = []
        for reply in anchor.tokens.values():
            try:
                times.append(self.verifier.verify_response(reply, artifact=anchor.document).tst_info.gen_time)
            except VerificationError:
                continue
        return max(times, default=None)

    def stamp(self, trail: Trail, record: Callable[[AuditEvent], None]) -> Stamped | None:
        """Have the trail's heads stamped and store the anchor; `record` then puts an event into the trail.

        None for a trail without a line. The caller holds `trail.anchoring()`. Raises UnavailableError when fewer
        authorities than demanded gave a timestamp in time, and what the trail raises.
        """
        from tsa_core.api.trail import ANCHORED, NOTHING, Anchor, AnchorDocument
        from tsa_core.client import NotAwaited, ThresholdNotMet, stamp_all
        from tsa_core.service.anchor_check import count_authorities, too_few

        settings = self._settings
        last = trail.last_anchor()
        heads = trail.heads()
        if not heads:
            return None
        document = AnchorDocument(
            number=1 if last is None else last.number + 1,
            heads=heads,
            previous=NOTHING if last is None else last.fingerprint,
        )
        octets = document.encode()
        try:
            given = stamp_all(
                settings.anchor_urls,
                threshold=settings.anchor_threshold,
                artifact=octets,
                timeout=settings.anchor_deadline.total_seconds(),
                verifier=self.verifier,
            )
        except ThresholdNotMet as error:
            reasons = "; ".join(one_line(failure) for failure in error.failures)
            raise UnavailableError(
                f"{len(error.timestamps)} of the {settings.anchor_threshold} timestamps that are needed came: {reasons}"
            ) from None
        count = count_authorities(each.verified for each in given.timestamps if each.verified is not None)
        if count < settings.anchor_threshold:
            raise UnavailableError(too_few(count, len(given.timestamps), settings.anchor_threshold))
        anchor = Anchor(
            number=document.number, document=octets, tokens={each.url: each.reply for each in given.timestamps}
        )
        trail.store_anchor(anchor)
        time = max(each.time for each in given.timestamps)
        details = {
            "sink": trail.name,
            "number": str(anchor.number),
            "document": anchor.fingerprint,
            "authorities": ",".join(anchor.tokens),
        }
        # Behind the storing: an anchor without its event is good, and an event without its anchor is missed.
        record(AuditEvent(kind=ANCHORED, time=datetime.now(UTC), details=details))
        failures = tuple(one_line(each) for each in given.failures if not isinstance(each, NotAwaited))
        return Stamped(anchor, time, failures)


def is_due(last: datetime | None, interval: timedelta, now: datetime) -> bool:
    """Say whether the last anchor is so old that another one is wanted; one from the future is no reason to wait."""
    return last is None or not -_CLOCKS_APART <= now - last < interval


def anchor_line(trail: Trail, stamped: Stamped) -> str:
    """Return what the log says of an anchor."""
    authorities = ", ".join(stamped.anchor.tokens)
    return f"audit trail {trail.name}: anchor {stamped.anchor.number} stamped by {authorities}"


def log_failure(trail: Trail, error: TsaError) -> None:
    """Say in the log that no anchor could be made."""
    log.error("audit trail %s: no anchor: %s", trail.name, one_line(error))
