"""What trackers are told, and who is admitted to peers."""

from __future__ import annotations

import asyncio

import pytest

from avalanche.adapters import orderbook
from avalanche.adapters.database import Transaction
from avalanche.cli.tracker import TrackerRegistrar
from avalanche.frontend import choices
from avalanche.orders import Order
from avalanche.profile import Installation, parse_installation
from tests.frontend.rig import Rig


async def test_a_restarted_frontend_answers_for_what_live_orders_pin(rig: Rig) -> None:
    registrar = rig.services.swarm._registrar
    assert isinstance(registrar, TrackerRegistrar)
    rig.add_host()
    rig.order()
    (order,) = rig.orders()
    await rig.services.swarm.refresh(rig.services.clock())
    assert registrar.registry.find(order.generation) is not None
    rig.cli("order", "cancel", order.id)
    await rig.services.swarm.refresh(rig.services.clock())
    assert registrar.registry.find(order.generation) is None


async def profile_of(rig: Rig, host: str, order: str) -> Installation:
    status, text = await rig.get(rig.https + "/install/profile", headers=rig.headers(order))
    assert status == 200, text
    return parse_installation(text.encode())


async def test_auto_says_in_one_line_what_it_chose_and_why(rig: Rig) -> None:
    rig.add_host()
    order = rig.order()
    assert "not decided yet" in rig.cli("order", "show", order)
    assert (await profile_of(rig, "compute-0-0", order)).plane == "relay"
    told = [event.text for event in await rig.timeline() if event.text.startswith("plane ")]
    assert told == ["plane relay: no other host installs now; one that comes later may fetch from this one"]
    assert told[0] in rig.cli("order", "show", order)
    # The same attempt asks again: nothing is decided or told again.
    await profile_of(rig, "compute-0-0", order)
    assert len([event for event in await rig.timeline() if event.text.startswith("plane ")]) == 1


async def test_hosts_that_begin_together_are_counted_once_and_for_a_later_one_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = {f"compute-0-{number}": order for number, order in enumerate(rig.order_hosts(4))}
    later = "compute-0-3"
    counts = 0

    def counted(transaction: Transaction) -> list[Order]:
        nonlocal counts
        counts += 1
        return real(transaction)

    real = orderbook.all_orders
    monkeypatch.setattr(orderbook, "all_orders", counted)
    # What is together is said here: a loaded machine may take longer than the second for three answers.
    monkeypatch.setattr(choices, "COUNT_SECONDS", 3600.0)
    await asyncio.gather(*(profile_of(rig, name, order) for name, order in orders.items() if name != later))
    assert counts == 1
    monkeypatch.setattr(choices, "COUNT_SECONDS", 0.0)
    await profile_of(rig, later, orders[later])
    assert counts == 2
    for name in orders:
        assert "4 hosts install" in " ".join(event.text for event in await rig.timeline(name))


async def test_auto_becomes_a_swarm_when_several_hosts_were_slow(rig: Rig) -> None:
    order = rig.order_hosts(4)[0]
    rig.services.trackers.slow |= {"compute-0-1", "compute-0-2", "elsewhere-0-0"}
    installation = await profile_of(rig, "compute-0-0", order)
    assert installation.plane == "swarm" and installation.membership is not None
    (told,) = [event.text for event in await rig.timeline() if event.text.startswith("plane ")]
    assert told == "plane swarm: 2 of 4 hosts were slow lately, and would hold up a chain"
    async with rig.session.get(rig.https + "/install/torrent", headers=rig.headers(order)) as answer:
        assert answer.status == 200


async def test_a_swarm_is_told_to_go_on_by_relay_when_somebody_in_it_lies(rig: Rig) -> None:
    """And hosts that begin then do not join it."""
    orders = rig.order_hosts(4)
    trackers, swarm = rig.services.trackers, rig.services.swarm
    trackers.slow |= {"compute-0-1", "compute-0-2"}
    assert (await profile_of(rig, "compute-0-0", orders[0])).plane == "swarm"
    trackers.lying.add("elsewhere-0-0")
    assert swarm.choices.advise(orders[0]) is None
    trackers.lying.add("compute-0-3")
    assert swarm.choices.advise(orders[0]) == "1 of 4 hosts sent wrong bytes lately, and a chain shuts them out"
    assert swarm.choices.advise(orders[1]) is None  # it has not begun
    choice = await swarm.choices.choose(rig.orders("compute-0-1")[-1], rig.services.clock())
    assert choice is not None and choice.plane == "relay"


async def test_the_last_one_that_installs_leaves_the_swarm(rig: Rig) -> None:
    await test_auto_becomes_a_swarm_when_several_hosts_were_slow(rig)
    (order,) = rig.orders()
    for number in range(1, 4):
        assert rig.services.swarm.choices.advise(order.id) is None
        rig.cli("order", "cancel", rig.orders(f"compute-0-{number}")[-1].id)
        await rig.services.swarm.refresh(rig.services.clock())
    assert rig.services.swarm.choices.advise(order.id) == "no other host installs any more"
