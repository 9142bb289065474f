"""The tables, as SQLAlchemy Core describes them. Nothing is special to SQLite: texts have lengths, constraints names.

Times are seconds since 1970 by the frontend's clock, except ``av_events.host_at``, which is the host's.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# One row. Whoever changes the inventory or an order bumps its counter in the same transaction, so that every process
# sees a change in its next request.
revision = Table(
    "av_revision",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("inventory", Integer, nullable=False),
    Column("orders", Integer, nullable=False),
)

appliances = Table(
    "av_appliances",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("root", String(64), nullable=False),
)

hosts = Table(
    "av_hosts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(253), nullable=False, unique=True),
    Column("appliance_id", ForeignKey("av_appliances.id", ondelete="RESTRICT"), nullable=False),
    Column("rack", Integer, nullable=False),
    Column("rank", Integer, nullable=False),
)

interfaces = Table(
    "av_interfaces",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("host_id", ForeignKey("av_hosts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("mac", String(17), unique=True),
    Column("ip", String(45), unique=True),
    CheckConstraint("mac IS NOT NULL OR ip IS NOT NULL", name="not_empty"),
)

attributes = Table(
    "av_attributes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("scope", String(16), nullable=False),
    Column("owner", String(253), nullable=False),
    Column("name", String(128), nullable=False),
    Column("value", Text, nullable=False),
    Column("secret", Boolean, nullable=False),
    UniqueConstraint("scope", "owner", "name"),
)

orders = Table(
    "av_orders",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("host_id", ForeignKey("av_hosts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("generation", String(64), nullable=False),
    Column("plane", String(8), nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("closed", String(16)),
    Column("closed_at", Double),
)

attempts = Table(
    "av_attempts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("order_id", ForeignKey("av_orders.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("token", String(16), nullable=False),
    Column("started", Double, nullable=False),
    Column("ended", Double),
    Column("done", Text),
    UniqueConstraint("order_id", "number"),
    UniqueConstraint("order_id", "token"),
)

# What a host said has order, attempt and seq; what the frontend saw has no seq.
events = Table(
    "av_events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("host_id", ForeignKey("av_hosts.id", ondelete="CASCADE"), nullable=False),
    Column("order_id", ForeignKey("av_orders.id", ondelete="CASCADE")),
    Column("attempt", String(16)),
    Column("seq", Integer),
    Column("at", Double, nullable=False),
    Column("host_at", Double),
    Column("stage", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("text", Text, nullable=False),
    Column("data", Text, nullable=False),
    UniqueConstraint("order_id", "attempt", "seq"),
    Index(None, "host_id", "id"),
)
