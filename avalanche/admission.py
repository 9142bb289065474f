"""May this host enter the inventory, as it is written? Names, MACs and addresses are unique; what it names exists.

The database asks before it stores, an import before it promises; both get the same line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from avalanche.bootaction import INSTALL, BootAction, find_action
from avalanche.cluster import Appliance, Cluster, Host, Interface, Membership, check_host
from avalanche.errors import ClusterError, DuplicateHost
from avalanche.names import check_address, check_name_is_no_group, parse_ip
from avalanche.network import Network


class Admission:
    """What is taken, and by whom. Hosts are admitted one after the other, so a batch is checked against itself too.

    Args:
        names: host names and aliases that are in use, and the host that has each; macs, ips: likewise. They need not
            be complete, as long as they say who has what the candidates want.
    """

    def __init__(
        self,
        *,
        appliances: Mapping[str, Appliance],
        memberships: Mapping[str, Membership],
        networks: Mapping[str, Network],
        names: Mapping[str, str],
        macs: Mapping[str, str],
        ips: Mapping[str, str],
        bootactions: Mapping[str, BootAction],
    ) -> None:
        self._cluster = Cluster(0, appliances, {}, (), memberships, networks)
        self._bootactions = bootactions
        self._names, self._macs, self._ips = dict(names), dict(macs), dict(ips)

    @classmethod
    def of(cls, cluster: Cluster) -> Admission:
        """What a whole inventory has taken."""
        found = cls(
            appliances=cluster.appliances, memberships=cluster.memberships, networks=cluster.networks,
            names={}, macs={}, ips={}, bootactions=cluster.bootactions,
        )  # fmt: skip
        for host in cluster.hosts.values():
            found._take(host)
        return found

    def release(self, host: Host) -> None:
        """Free what a host has: it is removed, or about to change."""
        for name in (host.name, *host.aliases):
            self._names.pop(name, None)
        for card in host.interfaces:
            self._macs.pop(card.mac or "", None)
            self._ips.pop(card.ip or "", None)

    def admit(self, host: Host) -> Host:
        """Take what a host wants; returns it with its membership.

        Raises:
            ClusterError: a field is out of range, or names what does not exist.
            DuplicateHost: its name, an alias, a MAC or an address is taken; says by whom.
        """
        check_host(host)
        for action in (host.runaction, host.installaction):
            if action != INSTALL:  # every host has the word from birth
                find_action(action, self._bootactions)
        membership = self._membership(host)
        found = replace(host, membership=membership.name, appliance=membership.appliance)
        for name in (host.name, *host.aliases):
            owner = self._names.get(name)
            if owner is not None or (host.name, *host.aliases).count(name) > 1:
                raise DuplicateHost(_taken(name, owner or host.name))
            check_name_is_no_group(name, self._cluster.appliances)
        self._check_cards(host)
        self._take(found)
        return found

    def _membership(self, host: Host) -> Membership:
        if host.membership:
            found = self._cluster.membership(host.membership)
            if host.appliance and host.appliance != found.appliance:
                raise ClusterError(
                    f"{host.name}: membership {found.name} is of appliance {found.appliance}, not {host.appliance}"
                )
            return found
        appliance = self._cluster.appliance(host.appliance)
        for membership in self._cluster.memberships.values():
            if membership.appliance == appliance.name:
                return membership
        remedy = f"avalanche membership add NAME --appliance {appliance.name}"
        raise ClusterError(f"appliance {appliance.name} has no membership; add one: {remedy}")

    def _check_cards(self, host: Host) -> None:
        devices = [card.device for card in host.interfaces if card.device is not None]
        for device in devices:
            if devices.count(device) > 1:
                raise ClusterError(f"{host.name} has two interfaces {device}")
        for card in host.interfaces:
            self._check_card(host, card)

    def _check_card(self, host: Host, card: Interface) -> None:
        if card.ip is not None and parse_ip(card.ip) != card.ip:
            raise ClusterError(f"{host.name}: {card.ip!r} is not in its canonical form, {parse_ip(card.ip)}")
        for what, value, taken in (("MAC", card.mac, self._macs), ("IP", card.ip, self._ips)):
            if value is None:
                continue
            if value in taken:
                raise DuplicateHost(f"{what} {value} belongs to {taken[value]}")
            if [one.mac for one in host.interfaces].count(value) + [one.ip for one in host.interfaces].count(value) > 1:
                raise DuplicateHost(f"{host.name} has {what} {value} twice")
        if card.ip is not None:
            check_address(card.ip)
        if card.network is None:
            return
        network = self._cluster.network(card.network)
        if card.ip is None:
            return
        if card.ip not in network:
            raise ClusterError(f"{host.name}: {card.ip} is not in network {network.name}, {network.addresses}")
        if not network.has_place_for(card.ip):
            raise ClusterError(f"{host.name}: {card.ip} is no host's: it means all of network {network.name}")

    def _take(self, host: Host) -> None:
        for name in (host.name, *host.aliases):
            self._names[name] = host.name
        for card in host.interfaces:
            if card.mac is not None:
                self._macs[card.mac] = host.name
            if card.ip is not None:
                self._ips[card.ip] = host.name


def _taken(name: str, owner: str) -> str:
    what = "exists already" if owner == name else f"is an alias of {owner}"
    return f"host {name} {what} (avalanche host show {owner})"
