"""Where a machine stands, at every step of its way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from avalanche.cluster import Host, Interface, Lock
from avalanche.ethers import REASONS
from avalanche.orders import Attempt, Order
from avalanche.why import SILENT_SECONDS, Moment, why_host, why_stranger

NOW = 1_795_000_000.0
HOST = Host("compute-0-0", "compute", 0, 0, (Interface("52:54:00:00:00:01", "10.1.255.254"),))
ORDER = Order("0f1e2d3c4b5a6978", "compute-0-0", "g-5d41402abc4b2a76", "auto", NOW - 60, NOW + 3600, 3)
SEEN = Moment(NOW - 61, "dhcp", "ok", "DISCOVER of 52:54:00:00:00:01")
REGISTERED = Moment(NOW - 60, "register", "ok", "registered, 10.1.255.254")
DONE = replace(ORDER, closed="done", closed_at=NOW)
FAILED = '{"version":1,"attempt":"0123456789abcdef","status":"failed","text":"disk","summary":{}}'


def then(stage: str, status: str, text: str = "", *, ago: float = 1.0) -> tuple[Moment, ...]:
    return (SEEN, REGISTERED, Moment(NOW - ago, stage, status, text))


@pytest.mark.parametrize(
    ("host", "orders", "moments", "state", "where", "todo"),
    [
        (replace(HOST, lock=Lock("mjk", NOW, "burns in")), [ORDER], (), "locked", "locked by mjk: burns in", "unlock"),
        (
            replace(HOST, interfaces=()),
            [ORDER],
            (),
            "unknown card",
            "no card of it",
            "add compute-0-0 --mac MAC",
        ),
        (HOST, [], (), "no order", "may not be installed", "avalanche order create compute-0-0"),
        (
            HOST,
            [],
            (SEEN, Moment(NOW, "register", "failed", "no order: nodes/c.xml:3: nothing provides gcc")),
            "no order",
            "nodes/c.xml:3: nothing provides gcc",
            "mend that, then: avalanche order create",
        ),
        (HOST, [ORDER], (SEEN, REGISTERED), "waiting", "last packet: DISCOVER", "boot it from the network"),
        (HOST, [ORDER], then("stub", "failed", "refused"), "failed", "stub failed: refused", "3 attempts are left"),
        (HOST, [ORDER], then("stub", "ok"), "installing", "agent has not asked", "look at its console"),
        (HOST, [ORDER], then("packages", "progress", "40 %"), "installing", "fetches its packages: 40 %", "wait"),
        (
            HOST,
            [replace(ORDER, created=NOW - 2000)],
            then("packages", "progress", ago=SILENT_SECONDS + 1),
            "installing",
            "fetches",
            "silent",
        ),
        (HOST, [ORDER, DONE], then("done", "ok"), "installed", "it is installed", "avalanche order create"),
        (HOST, [replace(ORDER, closed="cancelled")], (), "cancelled", "was cancelled", "avalanche order create"),
        (HOST, [replace(ORDER, expires=NOW - 1)], then("pre", "failed", "x"), "expired", "last: pre: x", "mend"),
        (
            HOST,
            [replace(ORDER, limit=1, attempts=(Attempt("0123456789abcdef", NOW - 9, NOW, FAILED),))],
            then("done", "failed", "disk"),
            "exhausted",
            "1 attempts failed; last: done: disk",
            "avalanche order create",
        ),
    ],
)
def test_every_step_has_its_line_and_what_to_do(
    host: Host, orders: list[Order], moments: tuple[Moment, ...], state: str, where: str, todo: str
) -> None:
    found = why_host(host, orders, moments, now=NOW)
    assert found.state == state
    assert where in found.where
    assert todo in found.todo


def test_a_stranger_hears_what_its_last_packet_led_to() -> None:
    found = why_stranger("paused", "registration is paused", kind="DISCOVER", last_at=NOW)
    assert (found.where, found.since) == ("DISCOVER: registration is paused", NOW)
    assert "press p" in found.todo
    assert "its cable, its VLAN" in why_stranger(None, "").todo
    for code in REASONS:
        assert why_stranger(code, "x").todo
