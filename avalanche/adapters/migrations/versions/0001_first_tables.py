"""First tables: kinds of hosts, hosts, attributes with their history, orders, attempts, events, audit."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None

# As adapters/schema.py has them today; written out, because a migration stays what it was.
_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    _kinds()
    _hosts()
    _attributes()
    _orders()
    _records()
    # Last: a row of revisions says that everything is there (adapters/database.py).
    op.bulk_insert(
        sa.table(
            "av_revision",
            sa.column("id", sa.Integer),
            sa.column("inventory", sa.BigInteger),
            sa.column("orders", sa.BigInteger),
        ),
        [{"id": 1, "inventory": 1, "orders": 1}],
    )


def _kinds() -> None:
    op.create_table(
        "av_appliances",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("root", sa.String(64), nullable=False),
        sa.Column("graph", sa.String(64), nullable=False),
        sa.Column("os", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_av_appliances"),
        sa.UniqueConstraint("name", name="uq_av_appliances_name"),
        **_OPTIONS,
    )
    op.create_table(
        "av_distributions",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("os_release", sa.String(32), nullable=False),
        sa.Column("lang", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_av_distributions"),
        sa.UniqueConstraint("name", name="uq_av_distributions_name"),
        **_OPTIONS,
    )
    op.create_table(
        "av_memberships",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("appliance_id", sa.Integer, nullable=False),
        sa.Column("distribution_id", sa.Integer),
        sa.Column("public", sa.Boolean, nullable=False),
        sa.Column("compute", sa.Boolean, nullable=False),
        sa.ForeignKeyConstraint(
            ["appliance_id"], ["av_appliances.id"], name="fk_av_memberships_appliance_id", ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["distribution_id"], ["av_distributions.id"], name="fk_av_memberships_distribution_id", ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_av_memberships"),
        sa.UniqueConstraint("name", name="uq_av_memberships_name"),
        **_OPTIONS,
    )
    op.create_index("ix_av_memberships_appliance_id", "av_memberships", ["appliance_id"])
    op.create_index("ix_av_memberships_distribution_id", "av_memberships", ["distribution_id"])
    op.create_table(
        "av_rolls",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("arch", sa.String(32), nullable=False),
        sa.Column("os", sa.String(32), nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("folder", sa.String(512), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_av_rolls"),
        sa.UniqueConstraint("name", "version", "arch", name="uq_av_rolls_name_version_arch"),
        **_OPTIONS,
    )
    op.create_table(
        "av_networks",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("zone", sa.String(253)),
        sa.Column("subnet", sa.String(45), nullable=False),
        sa.Column("netmask", sa.String(45), nullable=False),
        sa.Column("mtu", sa.Integer, nullable=False),
        sa.Column("servedns", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_av_networks"),
        sa.UniqueConstraint("name", name="uq_av_networks_name"),
        sa.UniqueConstraint("zone", name="uq_av_networks_zone"),
        **_OPTIONS,
    )
    op.create_table(
        "av_bootactions",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("kernel", sa.String(255), nullable=False),
        sa.Column("ramdisk", sa.String(255), nullable=False),
        sa.Column("args", sa.String(1024), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_av_bootactions"),
        sa.UniqueConstraint("name", name="uq_av_bootactions_name"),
        **_OPTIONS,
    )


def _hosts() -> None:
    op.create_table(
        "av_hosts",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("membership_id", sa.Integer, nullable=False),
        sa.Column("rack", sa.Integer, nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("cpus", sa.Integer, nullable=False),
        sa.Column("arch", sa.String(32), nullable=False),
        sa.Column("os", sa.String(32), nullable=False),
        sa.Column("runaction", sa.String(64), nullable=False),
        sa.Column("installaction", sa.String(64), nullable=False),
        sa.Column("comment", sa.String(255), nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("locked_at", sa.Double),
        sa.Column("locked_by", sa.String(64)),
        sa.Column("locked_why", sa.String(255)),
        sa.ForeignKeyConstraint(
            ["membership_id"], ["av_memberships.id"], name="fk_av_hosts_membership_id", ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_av_hosts"),
        sa.UniqueConstraint("name", name="uq_av_hosts_name"),
        **_OPTIONS,
    )
    op.create_index("ix_av_hosts_membership_id", "av_hosts", ["membership_id"])
    op.create_table(
        "av_interfaces",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("host_id", sa.Integer, nullable=False),
        sa.Column("mac", sa.String(59)),
        sa.Column("ip", sa.String(45)),
        sa.Column("device", sa.String(32)),
        sa.Column("network_id", sa.Integer),
        sa.Column("name", sa.String(63)),
        sa.Column("module", sa.String(64)),
        sa.Column("vlan", sa.Integer),
        sa.Column("options", sa.String(255)),
        sa.Column("channel", sa.String(128)),
        sa.CheckConstraint(
            "mac IS NOT NULL OR ip IS NOT NULL OR device IS NOT NULL", name="ck_av_interfaces_not_empty"
        ),
        sa.ForeignKeyConstraint(["host_id"], ["av_hosts.id"], name="fk_av_interfaces_host_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["network_id"], ["av_networks.id"], name="fk_av_interfaces_network_id", ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_av_interfaces"),
        sa.UniqueConstraint("host_id", "device", name="uq_av_interfaces_host_id_device"),
        sa.UniqueConstraint("ip", name="uq_av_interfaces_ip"),
        sa.UniqueConstraint("mac", name="uq_av_interfaces_mac"),
        **_OPTIONS,
    )
    op.create_index("ix_av_interfaces_host_id", "av_interfaces", ["host_id"])
    op.create_index("ix_av_interfaces_network_id", "av_interfaces", ["network_id"])
    op.create_table(
        "av_aliases",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("host_id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["av_hosts.id"], name="fk_av_aliases_host_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_av_aliases"),
        sa.UniqueConstraint("name", name="uq_av_aliases_name"),
        **_OPTIONS,
    )
    op.create_index("ix_av_aliases_host_id", "av_aliases", ["host_id"])


def _attributes() -> None:
    op.create_table(
        "av_attributes",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("value", _TEXT, nullable=False),
        sa.Column("secret", sa.Boolean, nullable=False),
        sa.Column("author", sa.String(64), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_av_attributes"),
        sa.UniqueConstraint("scope", "owner", "name", name="uq_av_attributes_scope_owner_name"),
        **_OPTIONS,
    )
    op.create_table(
        "av_attribute_history",
        sa.Column("id", _ID, nullable=False),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("value", _TEXT),
        sa.Column("secret", sa.Boolean, nullable=False),
        sa.Column("removed", sa.Boolean, nullable=False),
        sa.Column("author", sa.String(64), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_av_attribute_history"),
        **_OPTIONS,
    )
    op.create_index("ix_av_attribute_history_name_scope_owner", "av_attribute_history", ["name", "scope", "owner"])


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
        **_OPTIONS,
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
        sa.Column("done", _TEXT),
        sa.ForeignKeyConstraint(["order_id"], ["av_orders.id"], name="fk_av_attempts_order_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_av_attempts"),
        sa.UniqueConstraint("order_id", "number", name="uq_av_attempts_order_id_number"),
        sa.UniqueConstraint("order_id", "token", name="uq_av_attempts_order_id_token"),
        **_OPTIONS,
    )
    op.create_table(
        "av_events",
        sa.Column("id", _ID, nullable=False),
        sa.Column("host_id", sa.Integer, nullable=False),
        sa.Column("order_id", sa.String(16)),
        sa.Column("attempt", sa.String(16)),
        sa.Column("seq", sa.BigInteger),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("host_at", sa.Double),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("text", _TEXT, nullable=False),
        sa.Column("data", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["av_hosts.id"], name="fk_av_events_host_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["order_id"], ["av_orders.id"], name="fk_av_events_order_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_av_events"),
        sa.UniqueConstraint("order_id", "attempt", "seq", name="uq_av_events_order_id_attempt_seq"),
        **_OPTIONS,
    )
    op.create_index("ix_av_events_host_id_id", "av_events", ["host_id", "id"])


def _records() -> None:
    op.create_table(
        "av_revision",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("inventory", sa.BigInteger, nullable=False),
        sa.Column("orders", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_av_revision"),
        **_OPTIONS,
    )
    op.create_table(
        "av_audit",
        sa.Column("id", _ID, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("author", sa.String(64), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("detail", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_av_audit"),
        **_OPTIONS,
    )
    op.create_index("ix_av_audit_subject_id", "av_audit", ["subject", "id"])
