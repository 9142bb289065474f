"""The boot script, rendered from the database at each request: a host boots its disk unless an order says install."""

from __future__ import annotations

from avalanche.adapters import orderbook
from tests.frontend.rig import TOKEN, Rig


async def script(rig: Rig, query: str = "") -> list[str]:
    status, text = await rig.get(f"{rig.http}/boot/ipxe{query}")
    assert status == 200
    assert text.startswith("#!ipxe\n")
    return text.splitlines()


async def test_a_host_installs_while_its_order_lives_and_boots_its_disk_otherwise(rig: Rig) -> None:
    rig.add_host()
    rig.cli("bootaction", "add", "install", "--kernel", "http://10.1.1.1/vmlinuz", "--ramdisk", "http://10.1.1.1/i")
    assert "compute-0-0 boots from its disk" in (await script(rig))[1]
    order = rig.order()
    assert f"kernel http://10.1.1.1/vmlinuz inst.ks={rig.http}/install/stub" in (await script(rig))[2]
    rig.cli("bootaction", "set", "install", "--kernel", "http://10.1.1.1/other")
    assert "http://10.1.1.1/other" in (await script(rig))[2]
    rig.cli("order", "cancel", order)
    assert "compute-0-0 boots from its disk" in (await script(rig))[1]
    boots = [event for event in await rig.timeline() if event.stage == "boot"]
    assert [(event.status, event.text) for event in boots] == [
        ("ok", "os, said to 127.0.0.1"),
        ("ok", "install, said to 127.0.0.1"),
        ("ok", "install, said to 127.0.0.1"),
        ("ok", "os, said to 127.0.0.1"),
    ]


async def test_a_host_whose_attempts_are_used_up_boots_its_disk(rig: Rig) -> None:
    rig.add_host()
    rig.cli("bootaction", "add", "install", "--kernel", "vmlinuz")
    order = rig.order("compute-0-0", "--attempts", 1)
    assert (await rig.get(rig.https + "/install/profile", headers=rig.headers(order, TOKEN)))[0] == 200
    assert "boots from its disk" in (await script(rig))[1]


async def test_an_action_that_nobody_wrote_is_told_on_the_screen_and_in_the_timeline(rig: Rig) -> None:
    rig.add_host()
    rig.order()
    lines = await script(rig)
    assert "no boot action is called 'install'" in lines[1]
    assert lines[2] == "sleep 10"
    event = (await rig.timeline())[-1]
    assert (event.stage, event.status) == ("boot", "failed")
    assert "boots its disk: no boot action is called 'install'" in event.text


async def test_a_stranger_boots_its_disk_and_is_remembered(rig: Rig) -> None:
    lines = await script(rig, "?mac=52-54-00-99-99-99&mac=nonsense")
    assert "no host has MAC 52:54:00:99:99:99" in lines[1]
    assert lines[-1].endswith("|| exit")
    assert "no host has MAC" in rig.cli("host", "why", "52:54:00:99:99:99")


async def test_a_stranger_that_could_not_be_noted_is_noted_when_it_asks_again(rig: Rig) -> None:
    async def limit(pages: int) -> None:
        pragma = f"PRAGMA max_page_count = {pages}"
        await rig.services.storage.read(lambda transaction, _: transaction.connection.exec_driver_sql(pragma))

    await limit(1)
    for number in range(80):  # what room is left on the last page is soon used up
        last = f"52:54:00:99:99:{number:02x}"
        await script(rig, f"?mac={last}")
    assert "never seen" in rig.cli("host", "why", last)
    await limit(100_000)
    await script(rig, f"?mac={last}")
    assert "no host has MAC" in rig.cli("host", "why", last)


async def test_a_mac_and_an_address_of_two_hosts_are_a_conflict_that_nobody_installs(rig: Rig) -> None:
    rig.add_host()
    rig.add_host("compute-0-1", "--mac", "52:54:00:00:00:02")
    rig.order("compute-0-1")
    assert "the request names several hosts" in (await script(rig, "?mac=52:54:00:00:00:02"))[1]


async def test_a_host_is_known_by_its_mac(rig: Rig) -> None:
    rig.add_host("compute-0-1", "--mac", "52:54:00:00:00:02")
    rig.cli("bootaction", "add", "memtest", "--kernel", "memtest.bin")
    rig.cli("host", "set", "compute-0-1", "--runaction", "memtest")
    assert "kernel tftp://${next-server}/memtest.bin ||" in (await script(rig, "?mac=52:54:00:00:00:02"))[2]
    with rig._database() as database, database.snapshot() as transaction:
        assert orderbook.all_orders(transaction) == []
