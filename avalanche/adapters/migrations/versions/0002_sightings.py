"""Sightings: machines that asked for something and are no hosts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"

_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    # MariaDB commits each table as it is made: an interrupted upgrade may have left an empty one.
    op.execute("DROP TABLE IF EXISTS av_sightings")
    op.create_table(
        "av_sightings",
        sa.Column("mac", sa.String(17), nullable=False),
        sa.Column("serial", sa.BigInteger, nullable=False),
        sa.Column("first_at", sa.Double, nullable=False),
        sa.Column("last_at", sa.Double, nullable=False),
        sa.Column("packets", sa.BigInteger, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("interface", sa.String(32), nullable=False),
        sa.Column("address", sa.String(45)),
        sa.Column("relay", sa.String(45)),
        sa.Column("vendor", sa.String(255), nullable=False),
        sa.Column("hostname", sa.String(255), nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("firmware", sa.String(64), nullable=False),
        sa.Column("circuit", sa.String(255), nullable=False),
        sa.Column("code", sa.String(16), nullable=False),
        sa.Column("text", _TEXT, nullable=False),
        sa.Column("status", sa.Integer),
        sa.PrimaryKeyConstraint("mac", name="pk_av_sightings"),
        sa.UniqueConstraint("serial", name="uq_av_sightings_serial"),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
