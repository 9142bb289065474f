"""Changes: what each revision of the inventory changed, so that a snapshot is renewed instead of read again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # MariaDB commits each table as it is made: an interrupted upgrade may have left an empty one.
    op.execute("DROP TABLE IF EXISTS av_changes")
    op.create_table(
        "av_changes",
        sa.Column("revision", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.PrimaryKeyConstraint("revision", "kind", "name", name="pk_av_changes"),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
