"""Networks: every way to write one means the same, and what is nearly one says what was meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.errors import ClusterError
from avalanche.network import Network, parse_addresses


@given(st.ip_addresses(), st.integers(0, 32))
def test_a_network_is_read_back_as_a_table_holds_it(address: object, prefix: int) -> None:
    try:
        found = parse_addresses(f"{address}/{prefix}")
    except ClusterError as refused:
        assert "do you mean" in str(refused)
        found = parse_addresses(str(refused).rpartition("do you mean ")[2].removesuffix("?"))
    network = Network("x", found)
    assert parse_addresses(network.subnet, network.netmask) == found
    assert str(found.network_address) in network


@pytest.mark.parametrize(
    "text", ["", "10.1.0.0", "10.1.0.0/33", "10.1.0.0/255.0.255.0", "x/8", "fd00::/129", "10.1/16"]
)
def test_what_is_no_network_is_one_line(text: str) -> None:
    with pytest.raises(ClusterError, match=r"is not a network|has no netmask"):
        parse_addresses(text)


@pytest.mark.parametrize(
    "fields", [{"name": "a b"}, {"name": "x" * 33}, {"zone": "a..b"}, {"zone": "x;y"}, {"mtu": 100}, {"mtu": 70_000}]
)
def test_a_field_out_of_range_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ClusterError):
        Network(**{"name": "x", "addresses": parse_addresses("10.0.0.0/8"), **fields})  # type: ignore[arg-type]


def test_a_host_has_neither_a_network_s_own_address_nor_that_of_all() -> None:
    network = Network("x", parse_addresses("10.1.0.0/30"))
    assert [network.has_place_for(f"10.1.0.{last}") for last in range(5)] == [False, True, True, False, False]
    assert Network("x", parse_addresses("10.1.0.0/31")).has_place_for("10.1.0.0")
    assert Network("x", parse_addresses("fd00::/64")).has_place_for("fd00::")
