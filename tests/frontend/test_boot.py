"""The stub and the bundle: what a booting installer fetches over plain HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import subprocess
import sys

import pytest

from avalanche.frontend.boot import provisioning_macs
from avalanche.messages import StubDocument
from tests.frontend.rig import TOKEN, Rig, running


def document(stub: str) -> StubDocument:
    """Find the document in a stub."""
    found = re.search(r"^DOCUMENT = (.*)$", stub, re.MULTILINE)
    assert found is not None
    return StubDocument.parse(eval(found[1]))


@pytest.mark.parametrize("path", ["/install/stub", "/install/sbin/kickstart.cgi?arch=x86_64&np=4"])
async def test_a_host_with_a_live_order_gets_its_stub(rig: Rig, path: str) -> None:
    rig.add_host()
    order = rig.order()
    status, stub = await rig.get(rig.http + path)
    found = document(stub)
    assert (status, found.host, found.order) == (200, "compute-0-0", order)
    assert (found.http, found.https) == ((rig.http,), (rig.https,))
    assert rig.headers(order)["Authorization"].endswith(found.secret)


async def test_the_stub_names_the_mirrors_behind_the_frontend(rig: Rig) -> None:
    rig.add_host()
    rig.order()
    async with running(rig.state, mirrors=("http://10.1.1.2:8080",)) as site:
        found = document((await site.get(site.http + "/install/stub"))[1])
    assert found.http == (site.http, "http://10.1.1.2:8080")


async def test_the_bundle_is_what_the_stub_pins(rig: Rig) -> None:
    rig.add_host()
    rig.order()
    pinned = document((await rig.get(rig.http + "/install/stub"))[1]).bundle
    async with rig.session.get(f"{rig.http}/install/bundle/{pinned}") as answer:
        assert hashlib.sha256(await answer.read()).hexdigest() == pinned
    status, text = await rig.get(f"{rig.http}/install/bundle/{'0' * 64}")
    assert status == 404
    assert "fetch the stub again" in text


async def test_an_unknown_host_is_told_how_to_register(rig: Rig) -> None:
    headers = {"X-RHN-Provisioning-MAC-0": "eth0 52:54:00:99:99:99"}
    status, text = await rig.get(rig.http + "/install/stub", headers=headers)
    assert status == 404
    assert "avalanche host add NAME --mac 52:54:00:99:99:99 --ip 127.0.0.1" in text


async def test_a_host_is_known_by_its_mac_wherever_it_speaks_from(rig: Rig) -> None:
    rig.add_host("compute-0-1", "--mac", "52:54:00:00:00:02")
    rig.order("compute-0-1")
    headers = {"X-RHN-Provisioning-MAC-0": "eth0 52:54:00:00:00:02 e1000 ks"}
    _, stub = await rig.get(rig.http + "/install/stub", headers=headers)
    assert document(stub).host == "compute-0-1"


async def test_a_mac_and_an_address_of_two_hosts_are_a_conflict(rig: Rig) -> None:
    rig.add_host()
    rig.add_host("compute-0-1", "--mac", "52:54:00:00:00:02")
    headers = {"X-RHN-Provisioning-MAC-0": "eth0 52:54:00:00:00:02"}
    status, text = await rig.get(rig.http + "/install/stub", headers=headers)
    assert status == 409
    assert "MAC 52:54:00:00:00:02 is compute-0-1, address 127.0.0.1 is compute-0-0" in text


async def test_a_host_without_an_order_is_refused_and_that_is_noted(rig: Rig) -> None:
    rig.add_host()
    status, text = await rig.get(rig.http + "/install/stub")
    assert status == 403
    assert "compute-0-0 has no install order; a new one: avalanche order create compute-0-0" in text
    assert "refused to 127.0.0.1" in (await rig.timeline())[-1].text


async def test_an_order_made_or_cancelled_by_a_command_counts_in_the_next_request(rig: Rig) -> None:
    rig.add_host()
    order = rig.order()
    assert (await rig.get(rig.http + "/install/stub"))[0] == 200
    rig.cli("order", "cancel", order)
    status, text = await rig.get(rig.http + "/install/stub")
    assert status == 403
    assert f"order {order} of compute-0-0 was cancelled" in text


async def test_a_boot_beyond_the_attempts_is_refused(rig: Rig) -> None:
    rig.add_host()
    order = rig.order("compute-0-0", "--attempts", 1)
    assert (await rig.get(rig.https + "/install/profile", headers=rig.headers(order, TOKEN)))[0] == 200
    status, text = await rig.get(rig.http + "/install/stub")
    assert status == 403
    assert "has used up its 1 attempts" in text


async def test_a_served_stub_is_in_the_timeline(rig: Rig) -> None:
    rig.add_host()
    rig.order()
    await rig.get(rig.http + "/install/stub")
    event = (await rig.timeline())[-1]
    assert (event.stage, event.status, event.text) == ("stub", "ok", "stub served to 127.0.0.1")


def test_what_is_no_mac_is_passed_over() -> None:
    headers = [
        ("x-rhn-provisioning-mac-0", "eth0 52-54-00-AA-BB-CC ks"),
        ("X-RHN-Provisioning-MAC-1", "ib0 80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:00:0f:91"),
        ("X-RHN-Provisioning-MAC-2", "nonsense"),
        ("Accept", "eth0 52:54:00:00:00:09"),
    ]
    infiniband = "80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:00:0f:91"
    assert provisioning_macs(headers) == ("52:54:00:aa:bb:cc", infiniband)


async def test_the_front_page_says_who_is_here(rig: Rig) -> None:
    assert (await rig.get(rig.http + "/"))[1].startswith("avalanche frontend")


async def test_an_unknown_address_is_one_line(rig: Rig) -> None:
    status, text = await rig.get(rig.http + "/nix")
    assert (status, text.count("\n")) == (404, 1)


async def test_an_unknown_machines_request_is_remembered_once_in_a_while(rig: Rig) -> None:
    headers = {"X-RHN-Provisioning-MAC-0": "eth0 52:54:00:99:99:99", "X-RHN-Provisioning-MAC-1": "ib0 nonsense"}
    for _ in range(3):
        assert (await rig.get(rig.http + "/install/stub", headers=headers))[0] == 404
    told = rig.cli("host", "why", "52:54:00:99:99:99", "--json")
    facts = json.loads(told)
    assert (facts["packets"], facts["asks_for"], facts["todo"]) == (
        1,
        "127.0.0.1",
        "run insert-ethers, and boot it again",
    )
    assert "KICKSTART: no host has MAC 52:54:00:99:99:99" in facts["where"]


async def test_a_host_that_another_process_registers_is_known_at_once(rig: Rig) -> None:
    headers = {"X-RHN-Provisioning-MAC-0": "eth0 52:54:00:00:00:02"}
    assert (await rig.get(rig.http + "/install/stub", headers=headers))[0] == 404
    rig.cli("network", "add", "private", "--subnet", "10.1.0.0/16")
    list_ = rig.state.root / "macs"
    list_.write_text("52:54:00:00:00:02\n")
    await asyncio.to_thread(
        subprocess.run,
        [
            sys.executable,
            "-m",
            "avalanche",
            "ethers",
            "--batch",
            "--source",
            f"list:{list_}",
            "--state",
            rig.state.root,
        ],
        check=True,
    )
    status, stub = await rig.get(rig.http + "/install/sbin/kickstart.cgi?arch=x86_64&np=4", headers=headers)
    assert (status, document(stub).host) == (200, "compute-0-0")
    events = [(event.stage, event.status, event.data.get("status")) for event in await rig.timeline()]
    assert events == [("dhcp", "ok", None), ("register", "ok", None), ("stub", "ok", 200)]
