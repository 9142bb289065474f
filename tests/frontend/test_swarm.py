"""What trackers are told, and who is admitted to peers."""

from __future__ import annotations

from avalanche.cli.tracker import TrackerRegistrar
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
