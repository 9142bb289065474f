"""What the options of insert-ethers mean, with the inventory: which membership, which network, how shown."""

from __future__ import annotations

import argparse
import ipaddress
import os
import sys
from collections.abc import Sequence

from avalanche.adapters.observer import Observer
from avalanche.allotment import Wanted, parse_ranges
from avalanche.cluster import Cluster, Membership
from avalanche.config import Config
from avalanche.errors import ConfigError
from avalanche.ethers import Policy
from avalanche.network import Network

PRIVATE = "private"
"""Rocks' name of the network that hosts install in."""


def has_screen(arguments: argparse.Namespace) -> bool:
    if arguments.batch or arguments.json or "list:-" in arguments.source:
        return False
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def membership_of(arguments: argparse.Namespace, cluster: Cluster) -> Membership:
    if arguments.membership is not None:
        return cluster.membership(arguments.membership)
    if arguments.replace:
        return cluster.membership(cluster.host(arguments.replace).membership)
    offered = sorted((one for one in cluster.memberships.values() if one.public), key=lambda one: one.name)
    if len(offered) == 1:
        return offered[0]
    names = [one.name for one in offered]
    if not has_screen(arguments) or not offered:
        raise ConfigError(f"say what the new hosts are: --membership NAME, one of: {', '.join(names) or 'none yet'}")
    return offered[_choose("What are the new hosts?", names)]


def _choose(question: str, choices: Sequence[str]) -> int:
    print(question)
    for number, choice in enumerate(choices, 1):
        print(f"  {number}  {choice}")
    while True:
        try:
            answer = input("number: ").strip()
        except EOFError:
            raise ConfigError("nothing was chosen") from None
        if answer.isdecimal() and 1 <= int(answer) <= len(choices):
            return int(answer) - 1


def network_of(arguments: argparse.Namespace, cluster: Cluster) -> Network | None:
    if arguments.network is not None:
        found = cluster.network(arguments.network)
    elif PRIVATE in cluster.networks:
        found = cluster.networks[PRIVATE]
    elif len(cluster.networks) == 1:
        found = next(iter(cluster.networks.values()))
    elif arguments.record_only or arguments.replace:
        return None
    elif not cluster.networks:
        raise ConfigError(
            f"there is no network to give addresses from: avalanche network add {PRIVATE} --subnet 10.1.0.0/16"
        )
    else:
        raise ConfigError(f"say where addresses come from: --network, one of: {', '.join(cluster.networks)}")
    if not isinstance(found.addresses, ipaddress.IPv4Network):
        raise ConfigError(f"network {found.name} is {found.addresses}; DHCP gives IPv4: name another --network")
    return found


def wanted_of(arguments: argparse.Namespace, config: Config, membership: Membership, network: Network | None) -> Wanted:
    addresses = network.addresses if network is not None else None
    assert addresses is None or isinstance(addresses, ipaddress.IPv4Network)
    return Wanted(
        membership=membership.name,
        basename=arguments.basename or membership.appliance,
        rack=arguments.rack,
        rank=arguments.rank,
        per_rack=arguments.per_rack,
        hostname=arguments.hostname,
        address=arguments.ipaddr,
        network=addresses,
        base=arguments.baseip,
        increment=arguments.inc,
        reserved=parse_ranges([*arguments.pool, *config.dhcp.pools]),
    )


def policy_of(arguments: argparse.Namespace, observers: Sequence[Observer], wanted: Wanted) -> Policy:
    names = [*arguments.interface, *(observer.interface for observer in observers)]
    return Policy(
        mode="record" if arguments.record_only else "ordered" if arguments.ordered else "parallel",
        interfaces=frozenset(names),
        network=wanted.network,
        installers=arguments.installers,
        count=arguments.count,
    )
