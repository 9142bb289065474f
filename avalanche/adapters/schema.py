"""The tables, as SQLAlchemy Core describes them, the same on SQLite and on MariaDB.

Times are seconds since 1970 by the frontend's clock, except ``av_events.host_at``, which is the host's. Texts compare
byte by byte on both engines (``utf8mb4_bin``): what is equal there is equal here. Rocks' names are views on these
tables, see adapters/views.py.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
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
from sqlalchemy.dialects import mysql
from sqlalchemy.schema import SchemaItem

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# MariaDB's TEXT ends at 64 KiB of bytes; an attribute may have 64 Ki characters.
LongText = Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
# Only INTEGER counts by itself on SQLite, where it has 64 bits anyway.
BigId = BigInteger().with_variant(Integer(), "sqlite")
OPTIONS = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def _table(name: str, *items: SchemaItem) -> Table:
    options: dict[str, Any] = OPTIONS
    return Table(name, metadata, *items, **options)


# One row. Whoever changes the inventory or an order bumps its counter in the same transaction, so that every process
# sees a change in its next request. On MariaDB its lock is also what makes writers wait for each other.
revision = _table(
    "av_revision",
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("inventory", BigInteger, nullable=False),
    Column("orders", BigInteger, nullable=False),
)

# What each revision of the inventory changed, so that a process reads again what is new to it and nothing else: kind
# "host" names a host, "attributes" a scope and who it is there, "kinds" stands for all that is neither, "all" for
# everything. A revision without a row changed everything, too. Old rows are removed; it is not in backups.
changes = _table(
    "av_changes",
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(16), primary_key=True),
    Column("name", String(128), primary_key=True),
)

# --- what hosts are ---

appliances = _table(
    "av_appliances",
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("root", String(64), nullable=False),
    Column("graph", String(64), nullable=False),
    Column("os", String(32), nullable=False),
)

# The packages of a distribution are in its generations, on disk; this is what the inventory says about it.
distributions = _table(
    "av_distributions",
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("os_release", String(32), nullable=False),
    Column("lang", String(32), nullable=False),
)

# distribution_id is NULL where the frontend's own choice holds (frontend.distribution).
memberships = _table(
    "av_memberships",
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("appliance_id", ForeignKey("av_appliances.id", ondelete="RESTRICT"), nullable=False, index=True),
    Column("distribution_id", ForeignKey("av_distributions.id", ondelete="RESTRICT"), index=True),
    Column("public", Boolean, nullable=False),
    Column("compute", Boolean, nullable=False),
)

rolls = _table(
    "av_rolls",
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False),
    Column("version", String(32), nullable=False),
    Column("arch", String(32), nullable=False),
    Column("os", String(32), nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("folder", String(512), nullable=False),
    UniqueConstraint("name", "version", "arch"),
)

# Rocks' subnets. A zone is a DNS domain; addresses are texts in canonical form.
networks = _table(
    "av_networks",
    Column("id", Integer, primary_key=True),
    Column("name", String(32), nullable=False, unique=True),
    Column("zone", String(253), unique=True),
    Column("subnet", String(45), nullable=False),
    Column("netmask", String(45), nullable=False),
    Column("mtu", Integer, nullable=False),
    Column("servedns", Boolean, nullable=False),
)

# --- hosts ---

# locked_at is NULL while the host may be changed and installed.
hosts = _table(
    "av_hosts",
    Column("id", Integer, primary_key=True),
    Column("name", String(63), nullable=False, unique=True),
    Column("membership_id", ForeignKey("av_memberships.id", ondelete="RESTRICT"), nullable=False, index=True),
    Column("rack", Integer, nullable=False),
    Column("rank", Integer, nullable=False),
    Column("cpus", Integer, nullable=False),
    Column("arch", String(32), nullable=False),
    Column("os", String(32), nullable=False),
    Column("runaction", String(64), nullable=False),
    Column("installaction", String(64), nullable=False),
    Column("comment", String(255), nullable=False),
    Column("created", Double, nullable=False),
    Column("locked_at", Double),
    Column("locked_by", String(64)),
    Column("locked_why", String(255)),
)

interfaces = _table(
    "av_interfaces",
    Column("id", Integer, primary_key=True),
    Column("host_id", ForeignKey("av_hosts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("mac", String(59), unique=True),
    Column("ip", String(45), unique=True),
    Column("device", String(32)),
    Column("network_id", ForeignKey("av_networks.id", ondelete="RESTRICT"), index=True),
    Column("name", String(63)),
    Column("module", String(64)),
    Column("vlan", Integer),
    Column("options", String(255)),
    Column("channel", String(128)),
    UniqueConstraint("host_id", "device"),
    CheckConstraint("mac IS NOT NULL OR ip IS NOT NULL OR device IS NOT NULL", name="not_empty"),
)

aliases = _table(
    "av_aliases",
    Column("id", Integer, primary_key=True),
    Column("host_id", ForeignKey("av_hosts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", String(63), nullable=False, unique=True),
)

bootactions = _table(
    "av_bootactions",
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("kernel", String(255), nullable=False),
    Column("ramdisk", String(255), nullable=False),
    Column("args", String(1024), nullable=False),
)

# --- attributes ---

attributes = _table(
    "av_attributes",
    Column("id", Integer, primary_key=True),
    Column("scope", String(16), nullable=False),
    Column("owner", String(64), nullable=False),
    Column("name", String(128), nullable=False),
    Column("value", LongText, nullable=False),
    Column("secret", Boolean, nullable=False),
    Column("author", String(64), nullable=False),
    Column("at", Double, nullable=False),
    UniqueConstraint("scope", "owner", "name"),
)

# What was set and removed, by whom. value is NULL for a removal, and for a secret: an old secret is kept nowhere.
attribute_history = _table(
    "av_attribute_history",
    Column("id", BigId, primary_key=True),
    Column("scope", String(16), nullable=False),
    Column("owner", String(64), nullable=False),
    Column("name", String(128), nullable=False),
    Column("value", LongText),
    Column("secret", Boolean, nullable=False),
    Column("removed", Boolean, nullable=False),
    Column("author", String(64), nullable=False),
    Column("at", Double, nullable=False),
    Index(None, "name", "scope", "owner"),
)

# --- orders and what happened ---

orders = _table(
    "av_orders",
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

attempts = _table(
    "av_attempts",
    Column("id", Integer, primary_key=True),
    Column("order_id", ForeignKey("av_orders.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("token", String(16), nullable=False),
    Column("started", Double, nullable=False),
    Column("ended", Double),
    Column("done", LongText),
    UniqueConstraint("order_id", "number"),
    UniqueConstraint("order_id", "token"),
)

# What a host said has order, attempt and seq; what the frontend saw has no seq.
events = _table(
    "av_events",
    Column("id", BigId, primary_key=True),
    Column("host_id", ForeignKey("av_hosts.id", ondelete="CASCADE"), nullable=False),
    Column("order_id", ForeignKey("av_orders.id", ondelete="CASCADE")),
    Column("attempt", String(16)),
    Column("seq", BigInteger),
    Column("at", Double, nullable=False),
    Column("host_at", Double),
    Column("stage", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("text", LongText, nullable=False),
    Column("data", LongText, nullable=False),
    UniqueConstraint("order_id", "attempt", "seq"),
    Index(None, "host_id", "id"),
)

# Who changed what. It outlives what it tells of, so it names things instead of pointing at them.
audit = _table(
    "av_audit",
    Column("id", BigId, primary_key=True),
    Column("at", Double, nullable=False),
    Column("author", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("detail", LongText, nullable=False),
    Index(None, "subject", "id"),
)

# Machines that asked for something and are no hosts: what they said about themselves, and why nothing came of it.
# serial grows with every change, so that a reader finds what is new to it.
sightings = _table(
    "av_sightings",
    Column("mac", String(17), primary_key=True),
    Column("serial", BigInteger, nullable=False, unique=True),
    Column("first_at", Double, nullable=False),
    Column("last_at", Double, nullable=False),
    Column("packets", BigInteger, nullable=False),
    Column("source", String(16), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("interface", String(32), nullable=False),
    Column("address", String(45)),
    Column("relay", String(45)),
    Column("vendor", String(255), nullable=False),
    Column("hostname", String(255), nullable=False),
    Column("uuid", String(36), nullable=False),
    Column("firmware", String(64), nullable=False),
    Column("circuit", String(255), nullable=False),
    Column("code", String(16), nullable=False),
    Column("text", LongText, nullable=False),
    Column("status", Integer),
)
