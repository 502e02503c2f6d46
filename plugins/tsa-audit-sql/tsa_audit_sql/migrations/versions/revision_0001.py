"""The first tables.

PostgreSQL keeps records in a partition for each month, whose indexes are made with it (`tsa_audit_sql.partitions`). A
serial number is unique within a partition, and a record, whose time never changes, belongs to one partition: so no
record is there twice. SQLite has no partitions; there serial numbers are unique.

There is no downgrade: it would remove the trail.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tsa_audit_sql.schema import UtcTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    time = UtcTime()
    op.create_table(
        "audit_writer",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("opened", time, nullable=False),
        sa.Column("start_seq", sa.BigInteger, nullable=False),
        sa.Column("start_hash", sa.LargeBinary, nullable=False),
        sa.Column("head_seq", sa.BigInteger, nullable=False),
        sa.Column("head_hash", sa.LargeBinary, nullable=False),
        sa.Column("sealed_seq", sa.BigInteger, nullable=False),
        # Updated at every commit: room for the next version of the row on the same page.
        postgresql_with={"fillfactor": "50"},
    )
    key = ("writer", "seq", "at") if postgresql else ("writer", "seq")
    op.create_table(
        "audit_record",
        sa.Column("writer", sa.Integer, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("at", time, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("kind", sa.Text),
        sa.Column("serial", sa.LargeBinary),
        sa.Column("digest", sa.LargeBinary),
        sa.Column("profile", sa.Text),
        sa.Column("client", sa.Text),
        sa.Column("tenant", sa.Text),
        sa.Column("identity", sa.Text),
        sa.Column("how", sa.Text),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("line", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint(*key),
        postgresql_partition_by="RANGE (at)",
        sqlite_with_rowid=False,
    )
    op.create_index("audit_record_at", "audit_record", ["at"])
    for name, columns, condition, unique in (
        ("audit_record_serial", ["serial"], "serial IS NOT NULL", True),
        ("audit_record_digest", ["digest"], "digest IS NOT NULL", False),
        ("audit_record_tenant", ["tenant", "at"], "tenant IS NOT NULL", False),
        ("audit_record_kind", ["kind"], "kind IS NOT NULL", False),
    ):
        if name == "audit_record_serial" and postgresql:
            continue
        where = sa.text(condition)
        op.create_index(name, "audit_record", columns, unique=unique, sqlite_where=where, postgresql_where=where)
    op.create_table(
        "audit_seal",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", time, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("line", sa.Text, nullable=False),
    )
    op.create_table(
        "audit_anchor",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("stored", time, nullable=False),
        sa.Column("anchor", sa.LargeBinary, nullable=False),
    )
