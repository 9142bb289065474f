"""Hosts in SQL: added, changed, removed and locked by the batch, each batch whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Row, bindparam, delete, select, update

from avalanche.adapters import schema
from avalanche.adapters.kindbook import Kinds
from avalanche.adapters.transaction import chunks
from avalanche.admission import Admission
from avalanche.cluster import Cluster, Host, Interface, Lock, locked
from avalanche.errors import ClusterError
from avalanche.names import check_line

_CARD = ("mac", "ip", "device", "name", "module", "vlan", "options", "channel")
_FIELDS = ("name", "rack", "rank", "cpus", "arch", "os", "runaction", "installaction", "comment")


class Hosts(Kinds):
    """The verbs of hosts. A change bumps the inventory's revision and is in the audit."""

    # --- reading ---

    def hosts(self, names: Sequence[str] | None = None) -> dict[str, Host]:
        """Hosts with their interfaces and aliases, by rack, rank and name; all of them when no names are given."""
        if names is None:
            return self._hosts(None)
        found: dict[str, Host] = {}
        for some in chunks(list(dict.fromkeys(names))):
            found |= self._hosts(some)
        return found

    def host_id(self, name: str) -> int:
        """The key of a host's row.

        Raises:
            UnknownHost: there is none; names the closest ones.
        """
        found = self._id(schema.hosts, name)
        if found is None:
            raise self._unknown_host(name)
        return found

    def check_unlocked(self, names: Iterable[str]) -> None:
        """See that hosts may be changed and installed.

        Raises:
            ClusterError: one is locked; says by whom and what for.
        """
        table = schema.hosts
        query = select(table.c.name, table.c.locked_by, table.c.locked_why).where(table.c.locked_at.is_not(None))
        for some in chunks(sorted(names)):
            for row in self.connection.execute(query.where(table.c.name.in_(some)).order_by(table.c.name)):
                raise ClusterError(locked(row.name, row.locked_by, row.locked_why or ""))

    # --- changing ---

    def add_host(self, host: Host) -> None:
        """Add one host. Raises as ``add_hosts``."""
        self.add_hosts([host])

    def add_hosts(self, hosts: Sequence[Host]) -> list[Host]:
        """Add hosts with their interfaces and aliases; returns them with their memberships.

        Raises:
            ClusterError: a field is out of range, or names what does not exist.
            DuplicateHost: a name, a MAC or an address is taken; says by whom.
        """
        if not hosts:
            return []
        admission = self._admission(hosts)
        admitted = [admission.admit(host) for host in hosts]
        memberships = self._ids(schema.memberships)
        self._insert_all(schema.hosts, [self._host_row(host, memberships) for host in admitted])
        self._write_belongings(admitted)
        self._changed("host add", *(host.name for host in admitted))
        return admitted

    def change_hosts(self, changes: Sequence[tuple[Host, Host]], *, action: str = "host set") -> list[Host]:
        """Make of each first host the second one, its name, interfaces and aliases included.

        Raises:
            ClusterError, DuplicateHost: as ``add_hosts``; or a host is locked.
        """
        changes = [(before, after) for before, after in changes if before != after]
        if not changes:
            return []
        self.check_unlocked(before.name for before, _ in changes)
        admission = self._admission([after for _, after in changes])
        for before, _ in changes:
            admission.release(before)
        admitted = [admission.admit(after) for _, after in changes]
        self._rewrite([(before, after) for (before, _), after in zip(changes, admitted, strict=True)])
        told = [
            (after.name, json.dumps(_difference(before, after), default=str))
            for (before, _), after in zip(changes, admitted, strict=True)
        ]
        self._record_all(action, told)
        self._bump("host", [host.name for change in changes for host in change])
        self.bump_orders()  # an order shows its host's name
        return admitted

    def remove_host(self, name: str) -> None:
        """Remove one host. Raises as ``remove_hosts``."""
        self.remove_hosts([name])

    def remove_hosts(self, names: Sequence[str]) -> None:
        """Remove hosts with their interfaces, attributes, orders and events.

        Raises:
            UnknownHost: there is no such host.
            ClusterError: one is locked.
        """
        known = self._ids(schema.hosts, names)
        for name in names:
            if name not in known:
                raise self._unknown_host(name)
        self.check_unlocked(names)
        table = schema.attributes
        for some in chunks(sorted(known)):
            self.connection.execute(delete(schema.hosts).where(schema.hosts.c.name.in_(some)))
            self.connection.execute(delete(table).where(table.c.scope == "host", table.c.owner.in_(some)))
        self._changed("host remove", *known)
        self.bump_orders()

    def lock_hosts(self, names: Sequence[str], why: str) -> None:
        """Refuse orders for hosts and changes of them, until they are unlocked.

        Raises:
            UnknownHost: there is no such host.
            ClusterError: one is locked already, or the reason is not one line.
        """
        check_line("reason", why, 255)
        self._check_known(names)
        self.check_unlocked(names)
        self._set_lock(names, {"locked_at": self.now, "locked_by": self.author, "locked_why": why})
        self._changed("host lock", *names, why=why)

    def unlock_hosts(self, names: Sequence[str]) -> None:
        """Undo ``lock_hosts``; an unlocked host stays as it is.

        Raises:
            UnknownHost: there is no such host.
        """
        self._check_known(names)
        self._set_lock(names, {"locked_at": None, "locked_by": None, "locked_why": None})
        self._changed("host unlock", *names)

    # --- shared ---

    def _hosts(self, names: Sequence[str] | None) -> dict[str, Host]:
        # On MariaDB the default collation would find the same rows in another order; ids and numbers decide.
        hosts, cards, aliases = schema.hosts, schema.interfaces, schema.aliases
        query = (
            select(hosts, schema.memberships.c.name.label("membership"), schema.appliances.c.name.label("appliance"))
            .select_from(hosts.join(schema.memberships).join(schema.appliances))
            .order_by(hosts.c.rack, hosts.c.rank, hosts.c.name)
        )
        card_query = (
            select(cards, schema.networks.c.name.label("network"))
            .select_from(cards.outerjoin(schema.networks))
            .order_by(cards.c.id)
        )
        alias_query = select(aliases.c.host_id, aliases.c.name).order_by(aliases.c.id)
        if names is not None:
            mine = select(hosts.c.id).where(hosts.c.name.in_(names))
            query = query.where(hosts.c.name.in_(names))
            card_query = card_query.where(cards.c.host_id.in_(mine))
            alias_query = alias_query.where(aliases.c.host_id.in_(mine))
        run = self.connection.execute
        own_cards: dict[int, list[Interface]] = {}
        for row in run(card_query):
            values = {field: getattr(row, field) for field in _CARD}
            own_cards.setdefault(row.host_id, []).append(Interface(**values, network=row.network))
        own_aliases: dict[int, list[str]] = {}
        for row in run(alias_query):
            own_aliases.setdefault(row.host_id, []).append(row.name)
        return {
            row.name: _host(row, tuple(own_cards.get(row.id, ())), tuple(own_aliases.get(row.id, ())))
            for row in run(query)
        }

    def _admission(self, hosts: Sequence[Host]) -> Admission:
        """What is taken of all that these hosts want."""
        names = sorted({name for host in hosts for name in (host.name, *host.aliases)})
        macs = sorted({card.mac for host in hosts for card in host.interfaces if card.mac})
        ips = sorted({card.ip for host in hosts for card in host.interfaces if card.ip})
        table = schema.hosts
        plain = select(table.c.name.label("owner"), table.c.name.label("thing"))
        return Admission(
            appliances=self.appliances(),
            memberships=self.memberships(),
            networks=self.networks(),
            names=self._owners(table.c.name, names, plain) | self._owners(schema.aliases.c.name, names),
            macs=self._owners(schema.interfaces.c.mac, macs),
            ips=self._owners(schema.interfaces.c.ip, ips),
            bootactions=self.bootactions(),
        )

    def _owners(
        self, column: sa.Column[Any], wanted: Sequence[str], query: sa.Select[Any] | None = None
    ) -> dict[str, str]:
        """Who has which of these values."""
        if query is None:
            query = select(schema.hosts.c.name.label("owner"), column.label("thing")).select_from(
                schema.hosts.join(column.table)
            )
        found: dict[str, str] = {}
        for some in chunks(wanted):
            rows = self.connection.execute(query.where(column.in_(some)))
            found |= {row.thing: row.owner for row in rows}
        return found

    def _host_row(self, host: Host, memberships: dict[str, int]) -> dict[str, Any]:
        row = {field: getattr(host, field) for field in _FIELDS}
        return row | {"membership_id": memberships[host.membership], "created": self.now}

    def _write_belongings(self, hosts: Sequence[Host]) -> None:
        ids = self._ids(schema.hosts, [host.name for host in hosts])
        networks = self._ids(schema.networks)
        cards = [
            {field: getattr(card, field) for field in _CARD}
            | {"host_id": ids[host.name], "network_id": networks[card.network] if card.network else None}
            for host in hosts
            for card in host.interfaces
        ]
        self._insert_all(schema.interfaces, cards)
        aliases = [{"host_id": ids[host.name], "name": alias} for host in hosts for alias in host.aliases]
        self._insert_all(schema.aliases, aliases)

    def _rewrite(self, changes: Sequence[tuple[Host, Host]]) -> None:
        ids = self._ids(schema.hosts, [before.name for before, _ in changes])
        renamed = [(before, after) for before, after in changes if before.name != after.name]
        by_id = schema.hosts.c.id == bindparam("key")
        if renamed:
            # Through names that nobody can have, so that hosts may exchange theirs.
            rows = [{"key": ids[before.name], "name": f"~{ids[before.name]}"} for before, _ in renamed]
            self.connection.execute(update(schema.hosts).where(by_id), rows)
            table = schema.attributes
            moves = [
                {"key": table_id, "owner": after.name}
                for before, after in renamed
                for table_id in self._attribute_ids(before.name)
            ]
            if moves:
                parked = [{"key": move["key"], "owner": f"~{move['key']}"} for move in moves]
                for rows in (parked, moves):
                    self.connection.execute(update(table).where(table.c.id == bindparam("key")), rows)
        self._update_rows(changes, ids)
        moved = [(b, a) for b, a in changes if (b.interfaces, b.aliases) != (a.interfaces, a.aliases)]
        for some in chunks([ids[before.name] for before, _ in moved]):
            for table in (schema.interfaces, schema.aliases):
                self.connection.execute(delete(table).where(table.c.host_id.in_(some)))
        self._write_belongings([after for _, after in moved])

    def _update_rows(self, changes: Sequence[tuple[Host, Host]], ids: dict[str, int]) -> None:
        """Write what differs in the rows of hosts: those that become alike in it share a statement."""
        memberships = self._ids(schema.memberships)
        alike: dict[tuple[tuple[str, Any], ...], list[int]] = {}
        for before, after in changes:
            new: dict[str, Any] = {
                field: getattr(after, field) for field in _FIELDS if getattr(before, field) != getattr(after, field)
            }
            if before.membership != after.membership:
                new["membership_id"] = memberships[after.membership]
            if new:
                alike.setdefault(tuple(new.items()), []).append(ids[before.name])
        single: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for values, keys in alike.items():
            if len(keys) == 1:
                fields = tuple(field for field, _ in values)
                row = {f"new_{field}": value for field, value in values} | {"key": keys[0]}
                single.setdefault(fields, []).append(row)
                continue
            for some in chunks(keys):
                change = update(schema.hosts).where(schema.hosts.c.id.in_(some))
                self.connection.execute(change.values(dict(values)))
        for fields, rows in single.items():
            change = update(schema.hosts).where(schema.hosts.c.id == bindparam("key"))
            self.connection.execute(change.values({field: bindparam(f"new_{field}") for field in fields}), rows)

    def _attribute_ids(self, host: str) -> list[int]:
        table = schema.attributes
        query = select(table.c.id).where(table.c.scope == "host", table.c.owner == host)
        return list(self.connection.execute(query).scalars())

    def _set_lock(self, names: Sequence[str], values: dict[str, Any]) -> None:
        for some in chunks(names):
            self.connection.execute(update(schema.hosts).where(schema.hosts.c.name.in_(some)).values(values))

    def _check_known(self, names: Sequence[str]) -> None:
        known = self._ids(schema.hosts, names)
        for name in names:
            if name not in known:
                raise self._unknown_host(name)

    def _unknown_host(self, name: str) -> ClusterError:
        known = self._ids(schema.hosts)
        try:
            Cluster(0, {}, {other: Host(other, "", 0, 0) for other in known}, ()).host(name)
        except ClusterError as error:
            return error
        raise AssertionError("the caller looked in the same transaction")


def _host(row: Row[Any], cards: tuple[Interface, ...], aliases: tuple[str, ...]) -> Host:
    lock = None if row.locked_at is None else Lock(row.locked_by or "", row.locked_at, row.locked_why or "")
    values = {field: getattr(row, field) for field in _FIELDS}
    return Host(
        **values, appliance=row.appliance, membership=row.membership, interfaces=cards, aliases=aliases, lock=lock
    )


def _difference(before: Host, after: Host) -> dict[str, Any]:
    """What changed, for the audit: per field what it was and what it is."""
    fields = (*_FIELDS, "membership", "interfaces", "aliases")
    return {
        field: [getattr(before, field), getattr(after, field)]
        for field in fields
        if getattr(before, field) != getattr(after, field)
    }
