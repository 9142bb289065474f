"""Machines become hosts: completely or not at all, and nothing is given twice, whoever else registers."""

from __future__ import annotations

import threading
from ipaddress import IPv4Network

import pytest

from avalanche.adapters import orderbook
from avalanche.adapters.database import Database, DatabaseUnavailable
from avalanche.adapters.engine import Where
from avalanche.adapters.registrar import Generations, Registrar, Terms
from avalanche.adapters.sightings import find_stranger, note_sightings
from avalanche.allotment import Wanted
from avalanche.cluster import Appliance, Cluster, Host, Interface, Setting
from avalanche.errors import ClusterError, DuplicateHost, Unsatisfiable
from avalanche.ethers import Known, NewHost, Sighting, Verdict
from avalanche.network import Network, parse_addresses

NOW = 1_795_000_000.0
GENERATION = "g-5d41402abc4b2a76"


def seen(number: int) -> Sighting:
    mac = f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}"
    return Sighting(NOW - 5, "observer", "DISCOVER", mac, interface="eth0", vendor="PXEClient", uuid="u")


@pytest.fixture
def inventory(database: Database) -> Database:
    with database.transaction() as transaction:
        transaction.add_network(Network("private", parse_addresses("10.1.0.0/16")))
    return database


def registrar(database: Database, generation_of: Generations | None = None, **wanted: object) -> Registrar:
    given: dict[str, object] = {"network": IPv4Network("10.1.0.0/16"), **wanted}
    return Registrar(
        database,
        Wanted("Compute", "compute", **given),  # type: ignore[arg-type]
        network="private",
        generation_of=generation_of or (lambda cluster, host: GENERATION),
        terms=Terms(3600.0, 3, "auto"),
        reserved=("10.1.255.253",),
    )


def cluster_of(database: Database) -> Cluster:
    with database.snapshot() as transaction:
        return transaction.cluster()


def test_a_machine_becomes_a_host_with_card_address_order_and_the_beginning_of_its_timeline(
    inventory: Database,
) -> None:
    with inventory.transaction() as transaction:
        note_sightings(transaction, [(seen(1), Verdict("paused", "registration is paused"))])
    found = registrar(inventory).register([seen(1), seen(2)], now=NOW)
    assert [host.name for host in found if isinstance(host, NewHost)] == ["compute-0-0", "compute-0-1"]
    cluster = cluster_of(inventory)
    host = cluster.hosts["compute-0-1"]
    assert host.interfaces == (Interface(seen(2).mac, "10.1.255.252", network="private"),)
    assert (host.rack, host.rank, host.membership) == (0, 1, "Compute")
    with inventory.snapshot() as transaction:
        order = orderbook.orders_of(transaction, "compute-0-0")[0]
        assert (order.state(NOW), order.generation, order.limit) == ("live", GENERATION, 3)
        events = orderbook.timeline(transaction, "compute-0-0")
        assert [(event.at, event.stage, event.status) for event in events] == [
            (NOW - 5, "dhcp", "ok"),
            (NOW, "register", "ok"),
        ]
        assert events[0].data["vendor"] == "PXEClient"
        assert find_stranger(transaction, str(seen(1).mac)) is None


def test_a_host_that_cannot_be_installed_is_registered_and_says_why(inventory: Database) -> None:
    def refuse(cluster: Cluster, host: Host) -> str:
        raise Unsatisfiable("nothing provides gcc", file="nodes/c.xml", line=3)

    register = registrar(inventory, refuse)
    (found,) = register.register([seen(1)], now=NOW)
    assert isinstance(found, NewHost)
    assert (found.order, found.why) == (None, "no order: nodes/c.xml:3: nothing provides gcc")
    with inventory.snapshot() as transaction:
        assert orderbook.timeline(transaction, found.name)[-1].status == "failed"
    with pytest.raises(Unsatisfiable):
        register.check()


def test_a_switch_is_registered_and_never_ordered(inventory: Database) -> None:
    with inventory.transaction() as transaction:
        transaction.add_appliance(Appliance("network", "network"))
        transaction.set_attribute(Setting("appliance", "network", "kickstartable", "no"))
    register = registrar(inventory)
    register.wanted = Wanted("Network", "network", network=IPv4Network("10.1.0.0/16"))
    (found,) = register.register([seen(1)], now=NOW)
    assert isinstance(found, NewHost)
    assert (found.name, found.order, found.why) == ("network-0-0", None, "")


def test_what_is_wrong_with_one_machine_touches_no_other(inventory: Database) -> None:
    register = registrar(inventory, network=IPv4Network("10.1.255.252/30"))
    first = register.register([seen(1), seen(1), seen(2), seen(3)], now=NOW)
    # The network has two addresses for hosts, and one of them is the frontend's.
    assert [type(found) for found in first] == [NewHost, DuplicateHost, ClusterError, ClusterError]
    assert str(first[1]) == f"MAC {seen(1).mac} belongs to compute-0-0"
    assert "no address is free in 10.1.255.252/30" in str(first[2])
    assert list(cluster_of(inventory).hosts) == ["compute-0-0"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"hostname": "a.b"}, "has a dot"),
        ({"hostname": "rack7"}, "means a rack"),
        ({"hostname": "compute"}, "compute is taken: it is an appliance"),
        ({"hostname": "x; DROP TABLE av_hosts"}, "is not a host name"),
        ({"hostname": "web"}, "web is taken: it is an alias of compute-0-0"),
        ({"basename": "Ω"}, "is not a host name"),
        ({"rack": -1}, "is not a host name|rack is from 0"),
        ({"address": "10.1.255.254"}, "address 10.1.255.254 belongs to compute-0-0"),
        ({"address": "10.1.255.253"}, "address 10.1.255.253 belongs to this frontend"),
    ],
)
def test_a_name_or_address_that_cannot_be_is_one_line(
    inventory: Database, options: dict[str, object], why: str
) -> None:
    with inventory.transaction() as transaction:
        card = Interface("52:54:00:ff:00:01", "10.1.255.254", network="private")
        transaction.add_host(Host("compute-0-0", "compute", 0, 0, (card,), aliases=("web",)))
    register = registrar(inventory)
    given: dict[str, object] = {"basename": "compute", "network": IPv4Network("10.1.0.0/16"), **options}
    register.wanted = Wanted("Compute", **given)  # type: ignore[arg-type]
    (found,) = register.register([seen(1)], now=NOW)
    assert isinstance(found, ClusterError)
    with pytest.raises(ClusterError, match=why) as refused:
        register.check()
    assert str(refused.value) == str(found)
    assert "\n" not in str(found)


def test_a_replaced_machine_keeps_everything_but_its_card(inventory: Database) -> None:
    register = registrar(inventory)
    register.register([seen(1), seen(2)], now=NOW)
    with inventory.transaction() as transaction:
        transaction.set_attribute(Setting("host", "compute-0-0", "color", "green"))
    before = cluster_of(inventory)
    found = register.replace("compute-0-0", seen(9), now=NOW + 60)
    assert (found.name, found.mac, found.address) == ("compute-0-0", seen(9).mac, "10.1.255.254")
    after = cluster_of(inventory)
    assert after.settings == before.settings
    assert (after.hosts["compute-0-0"].rank, after.hosts["compute-0-0"].mac) == (0, seen(9).mac)
    with inventory.snapshot() as transaction:
        states = [order.state(NOW + 61) for order in orderbook.orders_of(transaction, "compute-0-0")]
    assert states == ["cancelled", "live"]
    with pytest.raises(ClusterError, match="belongs to compute-0-1"):
        register.replace("compute-0-0", seen(2), now=NOW)
    with pytest.raises(ClusterError, match="no host is called 'compute-7-7'"):
        register.replace("compute-7-7", seen(3), now=NOW)


def test_a_locked_host_is_not_replaced(inventory: Database) -> None:
    register = registrar(inventory)
    register.register([seen(1)], now=NOW)
    with inventory.transaction() as transaction:
        transaction.lock_hosts(["compute-0-0"], "burns in")
    with pytest.raises(ClusterError, match=r"compute-0-0 is locked by .*burns in"):
        register.replace("compute-0-0", seen(9), now=NOW)
    assert register.known()[str(seen(1).mac)] == Known("compute-0-0", f"{inventory.author}: burns in")


def test_what_another_program_changed_counts_at_once(inventory: Database) -> None:
    register = registrar(inventory)
    register.register([seen(1)], now=NOW)
    with inventory.transaction() as transaction:
        card = Interface("52:54:00:ff:00:01", "10.1.255.252", network="private")
        transaction.add_host(Host("compute-0-1", "compute", 0, 1, (card,)))
    (found,) = register.register([seen(2)], now=NOW)
    assert isinstance(found, NewHost)
    assert (found.name, found.address) == ("compute-0-2", "10.1.255.251")
    with inventory.transaction() as transaction:
        transaction.remove_host("compute-0-1")
    (found,) = register.register([seen(3)], now=NOW)
    assert isinstance(found, NewHost)
    # Rocks' rule: ranks only grow; an address that is free again is used again.
    assert (found.name, found.address) == ("compute-0-3", "10.1.255.252")


def test_the_next_rack_begins_at_rank_0(inventory: Database) -> None:
    register = registrar(inventory)
    register.register([seen(1)], now=NOW)
    assert register.next_rack() == 1
    (found,) = register.register([seen(2)], now=NOW)
    assert isinstance(found, NewHost)
    assert (found.name, register.check()) == ("compute-1-0", "compute-1-1")


def test_several_programs_that_register_at_once_give_nothing_twice_and_leave_no_gap(
    where: Where, inventory: Database
) -> None:
    """The same machines are seen by all: each becomes one host, and names and addresses have no hole."""
    outcomes: list[object] = []

    def work(first: int) -> None:
        database = Database.open(where)
        register = registrar(database)
        for number in range(first, first + 30, 3):
            todo = [seen(one % 40) for one in (number, number + 1, number + 2)]
            while True:
                try:
                    outcomes.extend(register.register(todo, now=NOW))
                except DatabaseUnavailable:
                    continue  # many writers: insert-ethers tries again, too
                break
        database.close()

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 10, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hosts = cluster_of(inventory).hosts.values()
    assert len(outcomes) == 90
    assert sum(isinstance(found, NewHost) for found in outcomes) == len(hosts) == 40
    assert sorted(host.rank for host in hosts) == list(range(40))
    top = [254, *range(252, 213, -1)]
    assert sorted((str(host.address) for host in hosts), reverse=True) == sorted(
        (f"10.1.255.{last}" for last in top), reverse=True
    )
    with inventory.snapshot() as transaction:
        assert len(orderbook.all_orders(transaction)) == 40


def test_nothing_is_kept_of_a_registration_that_was_undone(inventory: Database) -> None:
    """A transaction that fails at its end leaves neither a host nor a wrong count."""
    calls = []

    def fail_once(cluster: Cluster, host: Host) -> str:
        calls.append(host.name)
        if len(calls) == 2:
            raise DatabaseUnavailable("the server went away")
        return GENERATION

    register = registrar(inventory, fail_once)
    with pytest.raises(DatabaseUnavailable):
        register.register([seen(1), seen(2)], now=NOW)
    assert not cluster_of(inventory).hosts
    assert register.check() == "compute-0-0"
    found = register.register([seen(1), seen(2)], now=NOW)
    assert [host.name for host in found if isinstance(host, NewHost)] == ["compute-0-0", "compute-0-1"]
