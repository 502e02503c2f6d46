"""What is done beside the requests: seals, and partitions for the months to come."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from tsa_audit_sql.database import Database
from tsa_audit_sql.partitions import month_of, next_month
from tsa_audit_sql.sealing import Sealer, SealRefusedError

log = logging.getLogger(__name__)

_MONTHS_AHEAD: Final = 2


class Upkeep:
    """Seals every `interval`, and makes partitions ahead. A thread does it; `keep_running` starts it."""

    def __init__(self, database: Database, key: bytes | None, interval: timedelta) -> None:
        self._database = database
        self._sealer = Sealer(database, key)
        self._interval = interval
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._said = ""

    def keep_running(self) -> None:
        """Start the thread unless it runs."""
        if self._stopping.is_set() or (self._thread is not None and self._thread.is_alive()):
            return
        thread = threading.Thread(target=self._run, name="audit-sql-upkeep", daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            log.error("the thread that seals the audit trail cannot be started: %s", error)  # noqa: TRY400 - no traceback
            return
        self._thread = thread

    def close(self, seconds: float) -> None:
        """End the thread, and wait for that."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def make_months(self) -> None:
        """Make the partitions of this month and of the next ones."""
        if self._database.partitions is None:
            return
        months = [month_of(datetime.now(UTC))]
        for _ in range(_MONTHS_AHEAD):
            months.append(next_month(months[-1]))
        self._database.partitions.make(months)

    def seal(self) -> None:
        """Seal what no seal covers, now."""
        self._try(self._sealer.seal)

    def _run(self) -> None:
        while not self._stopping.wait(self._interval.total_seconds()):
            self._try(self.make_months)
            # With several processes, whoever is first after an interval seals for all.
            since = datetime.now(UTC) - self._interval * 0.9
            self._try(partial(self._sealer.seal, unless_since=since))

    def _try(self, do: Callable[[], object]) -> None:
        """Do something; a failure is logged once, until it works again."""
        try:
            do()
        except SealRefusedError as error:
            self._say(f"the audit trail {self._database.where} is not what was written: {error}", logging.CRITICAL)
        except SQLAlchemyError as error:
            self._say(f"the audit trail {self._database.where} cannot be sealed: {self._database.reason(error)}")
        except Exception:
            log.exception("the audit trail %s cannot be sealed", self._database.where)
        else:
            self._said = ""

    def _say(self, text: str, level: int = logging.ERROR) -> None:
        if text != self._said:
            log.log(level, "%s", text)
        self._said = text
