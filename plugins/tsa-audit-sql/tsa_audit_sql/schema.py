"""The tables as statements use them; `migrations` makes them, and alone says what is unique or may be missing.

`line` is the evidence: a line of the chain of its writer, as `tsa_core.api.trail` makes it, without its newline. All
other columns of a record repeat what the line says, for searching, and `audit verify` compares them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.types import TypeEngine

from tsa_core.api.trail import utc_text

REVISION: Final = "0001"
"""The revision of `migrations` that this code reads and writes."""
VERSION_TABLE: Final = "audit_version"
"""Where Alembic notes the revision."""
SEALS: Final = "seals"
"""The name of the chain of seals, in which no writer may write."""


class UtcTime(TypeDecorator[datetime]):
    """An aware time in UTC: `timestamp with time zone` in PostgreSQL, its text in SQLite, which has no such type."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the type."""
        return dialect.type_descriptor(String(27) if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Return what the database gets."""
        return utc_text(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - it is overridden
        """Return what the database has; for a text that is no time, the first moment of all."""
        if value is None:
            return None
        try:
            moment = datetime.fromisoformat(value) if isinstance(value, str) else value
            return moment.astimezone(UTC)
        except (ValueError, AttributeError, OverflowError):
            return datetime.min.replace(tzinfo=UTC)


metadata = MetaData()

records = Table(
    "audit_record",
    metadata,
    Column("writer", Integer, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("at", UtcTime),
    Column("type", Text),
    Column("kind", Text),
    Column("serial", LargeBinary),
    Column("digest", LargeBinary),
    Column("profile", Text),
    Column("client", Text),
    Column("tenant", Text),
    Column("identity", Text),
    Column("how", Text),
    Column("hash", LargeBinary),
    Column("line", Text),
)

writers = Table(
    "audit_writer",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text),
    Column("opened", UtcTime),
    Column("start_seq", BigInteger),
    Column("start_hash", LargeBinary),
    Column("head_seq", BigInteger),
    Column("head_hash", LargeBinary),
    Column("sealed_seq", BigInteger),
)
"""A process that writes. `start` is the line before its first row: BEGINNING, or the last one that was pruned."""

seals = Table(
    "audit_seal",
    metadata,
    Column("seq", BigInteger, primary_key=True),
    Column("at", UtcTime),
    Column("hash", LargeBinary),
    Column("line", Text),
)

anchors = Table(
    "audit_anchor",
    metadata,
    Column("number", BigInteger, primary_key=True),
    Column("stored", UtcTime),
    Column("anchor", LargeBinary),
)
"""What other authorities have stamped, as `Anchor.to_json` writes it."""
