"""The agent bundle, when more hosts ask for it than the frontend wants to serve."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from avalanche.frontend import boot
from avalanche.news import Holder
from avalanche.tokens import peer_key, verify_ticket
from tests.frontend.rig import Rig

PARENT = "aa1e2d3c4b5a6978"
GENERATION = "g-" + "5d" * 8


class Registrar:
    """Knows one host that has the bundle."""

    def holders(self) -> Sequence[Holder]:
        return [Holder(PARENT, GENERATION, "10.1.255.253", 40001)]


async def ask(rig: Rig) -> tuple[int, str]:
    url = f"{rig.http}/install/bundle/{rig.services.bundle.sha256}"
    async with rig.session.get(url, allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Location", "")


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The frontend serves as many as it wants to."""
    monkeypatch.setattr(boot, "BUNDLE_STREAMS", 0)


async def test_a_busy_frontend_sends_a_host_to_one_that_has_the_bundle(rig: Rig, busy: None) -> None:
    rig.add_host()
    order = rig.order()
    rig.services.swarm._registrar = Registrar()  # type: ignore[assignment]
    status, where = await ask(rig)
    address, _, text = where.partition("?ticket=")
    assert (status, address) == (307, f"http://10.1.255.253:40001/object/{rig.services.bundle.sha256}")
    key = peer_key(rig.state.swarm_key(), PARENT)
    now = rig.services.clock()
    assert verify_ticket(key, text, address="127.0.0.1", generation=GENERATION, now=now).order == order
    # It comes back: it was not served there.
    assert await ask(rig) == (200, "")


async def test_a_busy_frontend_serves_those_whom_nobody_else_can(rig: Rig, busy: None) -> None:
    assert await ask(rig) == (200, "")  # a host nobody knows
    rig.add_host()
    rig.order()
    assert await ask(rig) == (200, "")  # nobody has the bundle yet


async def test_a_frontend_that_is_not_busy_serves_the_bundle(rig: Rig) -> None:
    rig.add_host()
    rig.order()
    rig.services.swarm._registrar = Registrar()  # type: ignore[assignment]
    assert await ask(rig) == (200, "")
