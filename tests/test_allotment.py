"""Names, ranks and addresses: Rocks' rules, and never the same one twice."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.allotment import Allotment, Census, Wanted, parse_ranges
from avalanche.errors import AvalancheError, ClusterError, DuplicateHost

NETWORK = IPv4Network("10.0.0.0/8")


def census(**taken: object) -> Census:
    given: dict[str, object] = {"names": {}, "addresses": {}, "macs": {}, "ranks": {}, **taken}
    return Census(**given)  # type: ignore[arg-type]


def wanted(**options: object) -> Wanted:
    given: dict[str, object] = {"membership": "Compute", "basename": "compute", "network": NETWORK, **options}
    return Wanted(**given)  # type: ignore[arg-type]


def take(book: Census, want: Wanted, count: int) -> list[Allotment]:
    found = []
    for _ in range(count):
        given = book.allot(want)
        book.add(want.membership, given)
        found.append(given)
    return found


def test_hosts_are_counted_in_their_rack_and_addresses_go_down_from_below_the_broadcast_address() -> None:
    found = take(census(), wanted(), 3)
    assert found == [
        Allotment("compute-0-0", 0, 0, "10.255.255.254"),
        Allotment("compute-0-1", 0, 1, "10.255.255.253"),
        Allotment("compute-0-2", 0, 2, "10.255.255.252"),
    ]


def test_the_rank_is_one_above_the_highest_of_the_membership_in_the_rack() -> None:
    book = census(ranks={("Compute", 1): 6, ("Compute", 0): 2, ("Login", 1): 40}, names={"compute-1-7": "a host"})
    # compute-1-7 is somebody else's name: the count goes on.
    assert book.allot(wanted(rack=1)).name == "compute-1-8"
    assert book.allot(wanted(rack=2)).name == "compute-2-0"
    assert book.allot(wanted(membership="Login", basename="login", rack=1)).name == "login-1-41"


def test_a_rack_that_is_full_is_followed_by_the_next() -> None:
    names = [given.name for given in take(census(), wanted(rack=3, per_rack=2), 5)]
    assert names == ["compute-3-0", "compute-3-1", "compute-4-0", "compute-4-1", "compute-5-0"]


def test_addresses_may_go_up_in_steps_from_a_base() -> None:
    want = wanted(base="10.1.0.10", increment=5)
    assert [found.address for found in take(census(), want, 3)] == ["10.1.0.10", "10.1.0.15", "10.1.0.20"]
    assert census().allot(wanted(increment=1)).address == "10.0.0.1"


def test_pools_of_other_servers_are_left_out() -> None:
    reserved = parse_ranges(["10.255.255.250-10.255.255.253", "10.255.255.248"])
    found = take(census(addresses={"10.255.255.249": "switch"}), wanted(reserved=reserved), 2)
    assert [given.address for given in found] == ["10.255.255.254", "10.255.255.247"]


def test_the_end_of_the_network_is_an_end() -> None:
    want = wanted(network=IPv4Network("192.168.7.0/30"))
    book = census(addresses={"192.168.7.1": "frontend"})
    assert [given.address for given in take(book, want, 1)] == ["192.168.7.2"]
    with pytest.raises(ClusterError, match=r"no address is free in 192.168.7.0/30 from 192.168.7.2 on in steps of -1"):
        book.allot(want)


@pytest.mark.parametrize(
    ("options", "taken", "why"),
    [
        ({"increment": 0}, {}, "--inc 0"),
        ({"per_rack": 0}, {}, "room for at least one host"),
        ({"base": "10.0.0.0"}, {}, "no host's address in 10.0.0.0/8"),
        ({"base": "11.0.0.1"}, {}, "no host's address in 10.0.0.0/8"),
        ({"address": "10.255.255.255"}, {}, "no host's address in 10.0.0.0/8"),
        ({"address": "x"}, {}, "--ipaddr 'x' is not an IPv4 address"),
        ({"address": "10.1.1.1"}, {"addresses": {"10.1.1.1": "compute-0-0"}}, "10.1.1.1 belongs to compute-0-0"),
        ({"hostname": "web"}, {"names": {"web": "an alias of nfs"}}, "web is taken: it is an alias of nfs"),
        ({"rank": 4}, {"names": {"compute-0-4": "a host"}}, "compute-0-4 is taken: it is a host"),
    ],
)
def test_what_cannot_be_is_one_line(options: dict[str, object], taken: dict[str, object], why: str) -> None:
    with pytest.raises(ClusterError, match=why):
        census(**taken).allot(wanted(**options))


@pytest.mark.parametrize("text", ["", "x", "10.0.0.2-10.0.0.1", "10.0.0.1-2", "10.0.0.1-10.0.0.2-10.0.0.3"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ClusterError):
        parse_ranges([text])


ADDRESSES = st.integers(int(IPv4Address("10.9.0.0")), int(IPv4Address("10.9.0.63"))).map(IPv4Address)
RANGES = st.lists(st.tuples(ADDRESSES, ADDRESSES).map(lambda pair: (min(pair), max(pair))), max_size=3)


@given(
    taken=st.sets(ADDRESSES, max_size=40),
    reserved=RANGES,
    prefix=st.integers(26, 32),
    base=st.none() | ADDRESSES,
    step=st.sampled_from([-7, -2, -1, 1, 3]),
    per_rack=st.none() | st.integers(1, 5),
)
def test_no_name_and_no_address_is_given_twice_or_outside_or_out_of_a_pool(
    taken: set[IPv4Address],
    reserved: list[tuple[IPv4Address, IPv4Address]],
    prefix: int,
    base: IPv4Address | None,
    step: int,
    per_rack: int | None,
) -> None:
    network = IPv4Network(("10.9.0.0", prefix))
    book = census(addresses={str(address): "other" for address in taken}, names={"compute-0-1": "an alias of x"})
    names, addresses = {"compute-0-1"}, set(taken)
    try:
        want = wanted(
            network=network, base=str(base) if base else None, increment=step, reserved=tuple(reserved),
            per_rack=per_rack,
        )  # fmt: skip
        while True:
            given = book.allot(want)
            book.add("Compute", given)
            address = IPv4Address(str(given.address))
            assert given.name not in names
            assert address in network
            assert address not in addresses
            assert prefix >= 31 or address not in (network.network_address, network.broadcast_address)
            assert not any(first <= address <= last for first, last in reserved)
            assert per_rack is None or given.rank < per_rack
            names.add(given.name)
            addresses.add(address)
    except DuplicateHost:
        raise
    except AvalancheError:
        pass
    if base is None and step in (-1, 1) and prefix < 31:
        free = {host for host in network.hosts() if not any(first <= host <= last for first, last in reserved)}
        assert free <= addresses, "an address was left over"
