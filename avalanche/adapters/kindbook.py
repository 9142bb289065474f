"""What hosts can be, in SQL: appliances, memberships, distributions, networks, rolls, boot actions."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import delete, func, select, update

from avalanche.adapters import schema
from avalanche.adapters.transaction import Verbs
from avalanche.bootaction import INSTALL, RUN, BootAction
from avalanche.cluster import Appliance, Cluster, Distribution, Membership, RollEntry
from avalanche.errors import ClusterError
from avalanche.names import check_label, check_line, unknown
from avalanche.network import Network, parse_addresses


class Kinds(Verbs):
    """The verbs of everything a host can be. A change bumps the inventory's revision and is in the audit."""

    # --- reading ---

    def appliances(self) -> dict[str, Appliance]:
        """Every appliance, in the order in which they were added."""
        rows = self.connection.execute(select(schema.appliances).order_by(schema.appliances.c.id))
        return {row.name: Appliance(row.name, row.root, row.graph, row.os) for row in rows}

    def distributions(self) -> dict[str, Distribution]:
        """Every distribution that the inventory knows."""
        rows = self.connection.execute(select(schema.distributions).order_by(schema.distributions.c.id))
        return {row.name: Distribution(row.name, row.os_release, row.lang) for row in rows}

    def memberships(self) -> dict[str, Membership]:
        """Every membership, in the order in which they were added."""
        query = (
            select(
                schema.memberships,
                schema.appliances.c.name.label("appliance"),
                schema.distributions.c.name.label("distribution"),
            )
            .select_from(schema.memberships.join(schema.appliances).outerjoin(schema.distributions))
            .order_by(schema.memberships.c.id)
        )
        return {
            row.name: Membership(row.name, row.appliance, row.distribution, bool(row.public), bool(row.compute))
            for row in self.connection.execute(query)
        }

    def networks(self) -> dict[str, Network]:
        """Every network."""
        rows = self.connection.execute(select(schema.networks).order_by(schema.networks.c.id))
        return {
            row.name: Network(row.name, parse_addresses(row.subnet, row.netmask), row.zone, row.mtu, bool(row.servedns))
            for row in rows
        }

    def rolls(self) -> tuple[RollEntry, ...]:
        """Every roll, in the order in which they were added: later ones override earlier ones."""
        rows = self.connection.execute(select(schema.rolls).order_by(schema.rolls.c.id))
        return tuple(RollEntry(row.name, row.version, row.arch, row.folder, row.os, bool(row.enabled)) for row in rows)

    def bootactions(self) -> dict[str, BootAction]:
        """Every boot action, in the order in which they were added."""
        rows = self.connection.execute(select(schema.bootactions).order_by(schema.bootactions.c.id))
        return {row.name: BootAction(row.name, row.kernel, row.ramdisk, row.args) for row in rows}

    # --- appliances ---

    def add_appliance(self, appliance: Appliance, *, membership: Membership | None = None) -> None:
        """Add a kind of host, with a membership of its own: ``Compute`` for ``compute`` unless one is given.

        Raises:
            ClusterError: a name is taken, or none.
        """
        for what, name in (("appliance", appliance.name), ("graph node", appliance.root), ("graph", appliance.graph)):
            check_label(what, name)
        check_label("os", appliance.os, 32)
        if self._id(schema.appliances, appliance.name) is not None:
            raise ClusterError(f"appliance {appliance.name} exists already")
        for table, what in ((schema.hosts, "host"), (schema.aliases, "alias")):
            if self._id(table, appliance.name) is not None:
                raise ClusterError(f"an appliance cannot be called {appliance.name}: a {what} is")
        self._insert(
            schema.appliances, name=appliance.name, root=appliance.root, graph=appliance.graph, os=appliance.os
        )
        self._changed("appliance add", appliance.name, root=appliance.root, graph=appliance.graph, os=appliance.os)
        name = appliance.name[:1].upper() + appliance.name[1:]
        self.add_membership(
            membership or Membership(name, appliance.name, public=True, compute=appliance.name == "compute")
        )

    def set_appliance(self, name: str, appliance: Appliance) -> None:
        """Change an appliance, its name too.

        Raises:
            ClusterError: there is none, or the new name is taken.
        """
        before = self.appliances()
        self._known("appliance", name, before)
        if appliance.name != name and appliance.name in before:
            raise ClusterError(f"appliance {appliance.name} exists already")
        for what, label in (("appliance", appliance.name), ("graph node", appliance.root), ("graph", appliance.graph)):
            check_label(what, label)
        check_label("os", appliance.os, 32)
        values = {"name": appliance.name, "root": appliance.root, "graph": appliance.graph, "os": appliance.os}
        self.connection.execute(update(schema.appliances).where(schema.appliances.c.name == name).values(values))
        self._move_attributes("appliance", name, appliance.name)
        self._changed("appliance set", name, **values)

    def remove_appliance(self, name: str) -> None:
        """Remove an appliance, its memberships and attributes.

        Raises:
            ClusterError: there is none, or hosts are of it.
        """
        self._known("appliance", name, self.appliances())
        key = self._id(schema.appliances, name)
        mine = schema.memberships.c.appliance_id == key
        query = select(func.count()).select_from(schema.hosts.join(schema.memberships)).where(mine)
        self._refuse_used("appliance", name, self.connection.execute(query).scalar_one(), "hosts are of it")
        self.connection.execute(delete(schema.memberships).where(mine))
        self.connection.execute(delete(schema.appliances).where(schema.appliances.c.id == key))
        self._drop_attributes("appliance", name)
        self._changed("appliance remove", name)

    # --- memberships ---

    def add_membership(self, membership: Membership) -> None:
        """Add a group of hosts.

        Raises:
            ClusterError: the name is taken, there is no such appliance or distribution.
        """
        if self._id(schema.memberships, membership.name) is not None:
            raise ClusterError(f"membership {membership.name} exists already")
        self._insert(schema.memberships, **self._membership_row(membership))
        self._changed("membership add", membership.name, appliance=membership.appliance)

    def set_membership(self, name: str, membership: Membership) -> None:
        """Change a membership, its name too.

        Raises:
            ClusterError: there is none, the new name is taken, there is no such appliance or distribution.
        """
        before = self.memberships()
        self._known("membership", name, before)
        if membership.name != name and membership.name in before:
            raise ClusterError(f"membership {membership.name} exists already")
        values = self._membership_row(membership)
        self.connection.execute(update(schema.memberships).where(schema.memberships.c.name == name).values(values))
        self._changed(
            "membership set", name, name=membership.name, appliance=membership.appliance,
            distribution=membership.distribution, public=membership.public, compute=membership.compute,
        )  # fmt: skip

    def remove_membership(self, name: str) -> None:
        """Remove a membership that no host has.

        Raises:
            ClusterError: there is none, or hosts have it.
        """
        self._known("membership", name, self.memberships())
        key = self._id(schema.memberships, name)
        used = self._count(schema.hosts, schema.hosts.c.membership_id == key)
        self._refuse_used("membership", name, used, "hosts have it")
        self.connection.execute(delete(schema.memberships).where(schema.memberships.c.id == key))
        self._changed("membership remove", name)

    # --- distributions ---

    def add_distribution(self, distribution: Distribution) -> None:
        """Tell the inventory of a distribution, so that memberships can name it.

        Raises:
            ClusterError: it knows it, or a field is out of range.
        """
        if self._id(schema.distributions, distribution.name) is not None:
            raise ClusterError(f"distribution {distribution.name} is known already")
        self._insert(schema.distributions, **self._distribution_row(distribution))
        self._changed("dist add", distribution.name)

    def set_distribution(self, distribution: Distribution) -> None:
        """Change what the inventory says about a distribution.

        Raises:
            ClusterError: there is none, or a field is out of range.
        """
        self._known("distribution", distribution.name, self.distributions())
        values = self._distribution_row(distribution)
        table = schema.distributions
        self.connection.execute(update(table).where(table.c.name == distribution.name).values(values))
        self._changed("dist set", distribution.name, os_release=distribution.os_release, lang=distribution.lang)

    def remove_distribution(self, name: str) -> None:
        """Forget a distribution that no membership names.

        Raises:
            ClusterError: there is none, or memberships name it.
        """
        self._known("distribution", name, self.distributions())
        key = self._id(schema.distributions, name)
        used = self._count(schema.memberships, schema.memberships.c.distribution_id == key)
        self._refuse_used("distribution", name, used, "memberships name it")
        self.connection.execute(delete(schema.distributions).where(schema.distributions.c.id == key))
        self._changed("dist forget", name)

    # --- networks ---

    def add_network(self, network: Network) -> None:
        """Add a network.

        Raises:
            ClusterError: its name, its zone or its addresses are taken.
        """
        before = self.networks()
        if network.name in before:
            raise ClusterError(f"network {network.name} exists already")
        self._check_network(network, before)
        self._insert(schema.networks, **_network_row(network))
        self._changed("network add", network.name, subnet=str(network.addresses), zone=network.zone)

    def set_network(self, name: str, network: Network) -> None:
        """Change a network, its name too.

        Raises:
            ClusterError: there is none, or a card's address would be outside; or as ``add_network``.
        """
        before = self.networks()
        self._known("network", name, before)
        if network.name != name and network.name in before:
            raise ClusterError(f"network {network.name} exists already")
        self._check_network(network, {other: found for other, found in before.items() if other != name})
        table = schema.interfaces
        key = self._id(schema.networks, name)
        query = select(table.c.ip).where(table.c.network_id == key, table.c.ip.is_not(None))
        for address in self.connection.execute(query).scalars():
            if address not in network:
                raise ClusterError(f"network {name}: {address} of a host would be outside {network.addresses}")
        change = update(schema.networks).where(schema.networks.c.id == key)
        self.connection.execute(change.values(_network_row(network)))
        self._changed("network set", name, **_network_row(network))

    def remove_network(self, name: str) -> None:
        """Remove a network that no card is in.

        Raises:
            ClusterError: there is none, or cards are in it.
        """
        self._known("network", name, self.networks())
        key = self._id(schema.networks, name)
        used = self._count(schema.interfaces, schema.interfaces.c.network_id == key)
        self._refuse_used("network", name, used, "interfaces are in it")
        self.connection.execute(delete(schema.networks).where(schema.networks.c.id == key))
        self._changed("network remove", name)

    # --- rolls ---

    def add_roll(self, roll: RollEntry) -> None:
        """Tell the inventory of a roll's folder.

        Raises:
            ClusterError: it knows a roll of this name, version and architecture; or a field is out of range.
        """
        for what, text, size in (("roll", roll.name, 64), ("version", roll.version, 32), ("arch", roll.arch, 32)):
            check_label(what, text, size)
        check_line("folder", roll.folder, 512)
        if any((one.name, one.version, one.arch) == (roll.name, roll.version, roll.arch) for one in self.rolls()):
            raise ClusterError(f"roll {roll.name} {roll.version} for {roll.arch} is known already")
        self._insert(
            schema.rolls, name=roll.name, version=roll.version, arch=roll.arch, os=roll.os, enabled=roll.enabled,
            folder=roll.folder,
        )  # fmt: skip
        self._changed("roll add", roll.name, version=roll.version, arch=roll.arch, folder=roll.folder)

    def enable_roll(self, name: str, version: str | None, *, enabled: bool) -> list[RollEntry]:
        """Switch a roll on or off, in all its versions or in one; returns what it is now.

        Raises:
            ClusterError: there is none.
        """
        where = self._roll(name, version)
        self.connection.execute(update(schema.rolls).where(where).values(enabled=enabled))
        self._changed("roll enable" if enabled else "roll disable", name, version=version)
        return [roll for roll in self.rolls() if roll.name == name and version in (None, roll.version)]

    def remove_roll(self, name: str, version: str | None) -> None:
        """Forget a roll, in all its versions or in one. Its folder stays as it is.

        Raises:
            ClusterError: there is none.
        """
        self.connection.execute(delete(schema.rolls).where(self._roll(name, version)))
        self._changed("roll remove", name, version=version)

    # --- boot actions ---

    def add_bootaction(self, action: BootAction) -> None:
        """Add a boot action.

        Raises:
            ClusterError: the name is taken.
        """
        if self._id(schema.bootactions, action.name) is not None:
            raise ClusterError(f"boot action {action.name} exists already")
        self._insert(schema.bootactions, **_bootaction_row(action))
        self._changed("bootaction add", action.name, **_bootaction_row(action))

    def set_bootaction(self, name: str, action: BootAction) -> None:
        """Change a boot action, its name too; hosts go with it.

        Raises:
            ClusterError: there is none, or the new name is taken.
        """
        before = self.bootactions()
        self._known("boot action", name, before, f"avalanche bootaction add '{name}' --kernel ADDRESS ...")
        if action.name != name and action.name in before:
            raise ClusterError(f"boot action {action.name} exists already")
        table = schema.bootactions
        self.connection.execute(update(table).where(table.c.name == name).values(_bootaction_row(action)))
        if action.name != name:
            for column in (schema.hosts.c.runaction, schema.hosts.c.installaction):
                self.connection.execute(update(schema.hosts).where(column == name).values({column: action.name}))
        self._changed("bootaction set", name, **_bootaction_row(action))

    def remove_bootaction(self, name: str) -> None:
        """Remove a boot action.

        Raises:
            ClusterError: there is none, or hosts name it; every host may name ``os`` and ``install`` without them.
        """
        before = self.bootactions()
        self._known("boot action", name, before, f"avalanche bootaction add '{name}' --kernel ADDRESS ...")
        if name not in (RUN, INSTALL):
            hosts = schema.hosts
            used = self._count(hosts, (hosts.c.runaction == name) | (hosts.c.installaction == name))
            self._refuse_used("boot action", name, used, "hosts name it")
        self.connection.execute(delete(schema.bootactions).where(schema.bootactions.c.name == name))
        self._changed("bootaction remove", name)

    # --- shared ---

    def _roll(self, name: str, version: str | None) -> sa.ColumnElement[bool]:
        known = self.rolls()
        self._known("roll", name, {roll.name: roll for roll in known}, "avalanche roll add FOLDER")
        if version is not None and not any(roll.name == name and roll.version == version for roll in known):
            raise ClusterError(f"roll {name} has no version {version!r}")
        mine = schema.rolls.c.name == name
        return mine if version is None else mine & (schema.rolls.c.version == version)

    def _known(self, what: str, name: str, known: object, remedy: str | None = None) -> None:
        assert isinstance(known, dict)
        if name not in known:
            raise ClusterError(unknown(what, name, known, remedy or f"avalanche {what} add '{name}' ..."))

    def _count(self, table: sa.Table, where: sa.ColumnElement[bool]) -> int:
        return int(self.connection.execute(select(func.count()).select_from(table).where(where)).scalar_one())

    def _refuse_used(self, what: str, name: str, used: int, why: str) -> None:
        if used:
            raise ClusterError(f"{what} {name} cannot be removed: {used} {why}")

    def _membership_row(self, membership: Membership) -> dict[str, object]:
        appliance = self._id(schema.appliances, membership.appliance)
        if appliance is None:
            Cluster(0, self.appliances(), {}, ()).appliance(membership.appliance)
        distribution = None
        if membership.distribution is not None:
            distribution = self._id(schema.distributions, membership.distribution)
            if distribution is None:
                Cluster(0, {}, {}, (), distributions=self.distributions()).distribution(membership.distribution)
        return {
            "name": membership.name,
            "appliance_id": appliance,
            "distribution_id": distribution,
            "public": membership.public,
            "compute": membership.compute,
        }

    def _distribution_row(self, distribution: Distribution) -> dict[str, object]:
        check_label("distribution", distribution.name)
        check_line("release", distribution.os_release, 32)
        check_line("language", distribution.lang, 32)
        return {"name": distribution.name, "os_release": distribution.os_release, "lang": distribution.lang}

    def _check_network(self, network: Network, others: dict[str, Network]) -> None:
        for other in others.values():
            if network.zone is not None and network.zone == other.zone:
                raise ClusterError(f"zone {network.zone} is that of network {other.name}")
            if network.addresses.overlaps(other.addresses):
                raise ClusterError(f"{network.addresses} overlaps {other.addresses} of network {other.name}")

    def _move_attributes(self, scope: str, owner: str, to: str) -> None:
        table = schema.attributes
        if owner != to:
            mine = (table.c.scope == scope) & (table.c.owner == owner)
            self.connection.execute(update(table).where(mine).values(owner=to))

    def _drop_attributes(self, scope: str, owner: str) -> None:
        table = schema.attributes
        self.connection.execute(delete(table).where(table.c.scope == scope, table.c.owner == owner))


def _bootaction_row(action: BootAction) -> dict[str, object]:
    return {"name": action.name, "kernel": action.kernel, "ramdisk": action.ramdisk, "args": action.args}


def _network_row(network: Network) -> dict[str, object]:
    return {
        "name": network.name,
        "zone": network.zone,
        "subnet": network.subnet,
        "netmask": network.netmask,
        "mtu": network.mtu,
        "servedns": network.servedns,
    }
