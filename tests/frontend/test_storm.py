"""A hundred hosts that are switched on together: every one of them is answered. Prints what one host costs."""

from __future__ import annotations

import asyncio
import hashlib
import re
import resource

from avalanche.adapters.database import Database
from avalanche.adapters.state import State
from avalanche.cluster import Host, Interface
from avalanche.manifest import parse_manifest
from avalanche.messages import StubDocument
from avalanche.profile import parse_installation
from tests.frontend.rig import Rig, running

HOSTS = 100


def mac(rank: int) -> str:
    return f"52:54:00:00:01:{rank:02x}"


def add_hosts(state: State) -> None:
    database = Database.open(state.database_file)
    with database.transaction() as transaction:
        for rank in range(HOSTS):
            transaction.add_host(Host(f"compute-0-{rank}", "compute", 0, rank, (Interface(mac(rank)),)))
    database.close()


async def boot(rig: Rig, rank: int) -> str:
    """Fetch stub, bundle, profile and manifest as a host does; returns the host's name."""
    headers = {"X-RHN-Provisioning-MAC-0": f"eth0 {mac(rank)} ks"}
    status, stub = await rig.get(rig.http + "/install/stub", headers=headers)
    assert status == 200, stub
    found = re.search(r"^DOCUMENT = (.*)$", stub, re.MULTILINE)
    assert found is not None
    document = StubDocument.parse(eval(found[1]))
    async with rig.session.get(f"{rig.http}/install/bundle/{document.bundle}") as answer:
        assert hashlib.sha256(await answer.read()).hexdigest() == document.bundle
    headers = rig.headers(document.order, f"{rank:016x}")
    async with rig.session.get(rig.https + "/install/profile", headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        installation = parse_installation(await answer.read())
    async with rig.session.get(f"{rig.https}/install/manifest/{installation.manifest}", headers=headers) as answer:
        assert parse_manifest(await answer.read()).digest == installation.manifest
    return installation.host


async def test_a_hundred_hosts_at_once_are_all_answered(state: State) -> None:
    add_hosts(state)
    async with running(state) as rig:
        rig.cli("order", "create", *(f"compute-0-{rank}" for rank in range(HOSTS)))
        used = resource.getrusage(resource.RUSAGE_SELF)
        hosts = await asyncio.gather(*(boot(rig, rank) for rank in range(HOSTS)))
        now = resource.getrusage(resource.RUSAGE_SELF)
        assert hosts == [f"compute-0-{rank}" for rank in range(HOSTS)]
        assert {len(rig.orders(host)[0].attempts) for host in hosts} == {1}
    seconds = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    print(f"\n{HOSTS} hosts: {1000 * seconds / HOSTS:.1f} ms of CPU per host, client and server together")
