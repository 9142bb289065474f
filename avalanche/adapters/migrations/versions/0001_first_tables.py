"""First tables: hosts, interfaces, appliances, attributes, orders, attempts, events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _inventory()
    _orders()
    op.bulk_insert(
        sa.table(
            "av_revision",
            sa.column("id", sa.Integer),
            sa.column("inventory", sa.Integer),
            sa.column("orders", sa.Integer),
        ),
        [{"id": 1, "inventory": 1, "orders": 1}],
    )


def _inventory() -> None:
    op.create_table(
        "av_revision",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("inventory", sa.Integer, nullable=False),
        sa.Column("orders", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_av_revision"),
    )
    op.create_table(
        "av_appliances",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("root", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_av_appliances"),
        sa.UniqueConstraint("name", name="uq_av_appliances_name"),
    )
    op.create_table(
        "av_hosts",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(253), nullable=False),
        sa.Column("appliance_id", sa.Integer, nullable=False),
        sa.Column("rack", sa.Integer, nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(
            ["appliance_id"], ["av_appliances.id"], name="fk_av_hosts_appliance_id", ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_av_hosts"),
        sa.UniqueConstraint("name", name="uq_av_hosts_name"),
    )
    op.create_table(
        "av_interfaces",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("host_id", sa.Integer, nullable=False),
        sa.Column("mac", sa.String(17)),
        sa.Column("ip", sa.String(45)),
        sa.CheckConstraint("mac IS NOT NULL OR ip IS NOT NULL", name="ck_av_interfaces_not_empty"),
        sa.ForeignKeyConstraint(["host_id"], ["av_hosts.id"], name="fk_av_interfaces_host_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_av_interfaces"),
        sa.UniqueConstraint("mac", name="uq_av_interfaces_mac"),
        sa.UniqueConstraint("ip", name="uq_av_interfaces_ip"),
    )
    op.create_index("ix_av_interfaces_host_id", "av_interfaces", ["host_id"])
    op.create_table(
        "av_attributes",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("owner", sa.String(253), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("secret", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_av_attributes"),
        sa.UniqueConstraint("scope", "owner", "name", name="uq_av_attributes_scope_owner_name"),
    )


def _orders() -> None:
    op.create_table(
        "av_orders",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("host_id", sa.Integer, nullable=False),
        sa.Column("generation", sa.String(64), nullable=False),
        sa.Column("plane", sa.String(8), nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("closed", sa.String(16)),
        sa.Column("closed_at", sa.Double),
        sa.ForeignKeyConstraint(["host_id"], ["av_hosts.id"], name="fk_av_orders_host_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_av_orders"),
    )
    op.create_index("ix_av_orders_host_id", "av_orders", ["host_id"])
    op.create_table(
        "av_attempts",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("order_id", sa.String(16), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("token", sa.String(16), nullable=False),
        sa.Column("started", sa.Double, nullable=False),
        sa.Column("ended", sa.Double),
        sa.Column("done", sa.Text),
        sa.ForeignKeyConstraint(["order_id"], ["av_orders.id"], name="fk_av_attempts_order_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_av_attempts"),
        sa.UniqueConstraint("order_id", "number", name="uq_av_attempts_order_id_number"),
        sa.UniqueConstraint("order_id", "token", name="uq_av_attempts_order_id_token"),
    )
    op.create_table(
        "av_events",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("host_id", sa.Integer, nullable=False),
        sa.Column("order_id", sa.String(16)),
        sa.Column("attempt", sa.String(16)),
        sa.Column("seq", sa.Integer),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("host_at", sa.Double),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["av_hosts.id"], name="fk_av_events_host_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["order_id"], ["av_orders.id"], name="fk_av_events_order_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_av_events"),
        sa.UniqueConstraint("order_id", "attempt", "seq", name="uq_av_events_order_id_attempt_seq"),
    )
    op.create_index("ix_av_events_host_id_id", "av_events", ["host_id", "id"])
