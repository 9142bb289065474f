"""The hosts from which this one fetches: how they are reached, and who is told what was seen of them.

docs/protocol.md, sections 11.1 and 11.4.
"""

from __future__ import annotations

import asyncio
import os
from typing import Callable, Optional

from avalanche.agent.deadline import within
from avalanche.agent.item import Item
from avalanche.agent.link import Link, ParentLost
from avalanche.agent.lookup import Row
from avalanche.agent.meter import Meter
from avalanche.agent.source import Source
from avalanche.agent.supply import Supply, fill_seconds
from avalanche.agent.transfer import Transfer

CONNECT_SECONDS = 1.0
TICK_SECONDS = 0.1
LATE_SECONDS = 0.5
"""A tick that comes so late says that this process stood still: what it thinks of others proves nothing."""
SLOW_QUIET_SECONDS = 1.5
FIRST_QUIET_SECONDS = 0.7
"""Nobody is called slow for so long after something changed that rates must settle after; or after the first byte."""


def quiet_seconds(received: int) -> float:
    """How long nobody is called slow by a host that has ``received`` so many bytes so far."""
    return SLOW_QUIET_SECONDS if received else FIRST_QUIET_SECONDS


class Parent(Source):
    """A host that serves this one.

    Args:
        address: of this host, which the ticket names.
    """

    def __init__(self, row: Row, address: str, *, parents: Parents) -> None:
        self.row = row
        self._address = address
        self._parents = parents
        self._link: Optional[Link] = None
        self._connecting: Optional[asyncio.Task[Link]] = None

    def __repr__(self) -> str:
        return f"<Parent {self} {self._link}>"

    def __str__(self) -> str:
        return self.row.host

    async def fetch(self, transfer: Transfer) -> None:
        transfer.rewind()
        try:
            await (await self._linked()).fetch(transfer)
        finally:
            # What nobody has proven must not be held against whoever sends what comes after it.
            transfer.rewind()

    def hurry(self, transfer: Transfer) -> None:
        if self._link is not None:
            self._link.hurry(transfer)

    def is_open_at(self, time: float) -> bool:
        """Will it talk to us at this moment of the tracker's clock? A connection that is open stays so."""
        return self._link is not None or self.row.expires > time

    def tick(self, now: float, *, forgive: bool) -> None:
        """Judge the connection."""
        if self._link is not None:
            self._link.tick(now, forgive=forgive)

    def close(self) -> None:
        """Hang up."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._link is not None:
            self._link.lose("closed", None)

    def unlinked(self, link: Link) -> None:
        """A connection has ended."""
        if self._link is link:
            self._link = None

    async def _linked(self) -> Link:
        if self._link is not None:
            return self._link
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())
            self._connecting.add_done_callback(self._connected)
        # Several transfers wait for one connection; one that is cancelled takes nothing from the others.
        return await asyncio.shield(self._connecting)

    def _connected(self, task: asyncio.Task[Link]) -> None:
        self._connecting = None
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._link = task.result()
            if self._link.is_closed:
                self._link = None
        elif isinstance(error, ParentLost) and error.why is not None:
            self._parents.on_blame(self.row.peer, error.why, None)
            self._parents.on_lost(self.row.peer)

    async def _connect(self) -> Link:
        loop = asyncio.get_running_loop()
        where = f"{self.row.host} ({self.row.address}:{self.row.port})"
        link = Link(self, self._parents)
        local = (self._address, 0)
        try:
            await within(
                CONNECT_SECONDS,
                loop.create_connection(lambda: link, self.row.address, self.row.port, local_addr=local),
            )
            await within(CONNECT_SECONDS, link.open(self.row))
        except asyncio.TimeoutError as error:
            link.abort()
            raise ParentLost(f"{where}: does not answer", "dead") from error
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ParentLost(f"{where}: cannot be reached: {reason}", "dead") from error
        return link


class Parents:
    """All hosts that serve this one.

    Args:
        address: of this host, which its tickets name.
        meter: what this host receives.
        count: called with the bytes that come from them.
    """

    def __init__(self, address: str, *, meter: Meter, count: Callable[[int], None]) -> None:
        self.on_blame: Callable[[str, str, Optional[str]], None] = lambda peer, why, sha256: None
        """What was seen of a parent, and of which object."""
        self.on_lost: Callable[[str], None] = lambda peer: None
        """Nothing can be fetched from a parent any more."""
        self.meter = meter
        self.count = count
        self.is_due: Callable[[Item], bool] = lambda item: True
        """Does this host wait for an object, rather than only want it some time?"""
        self._address = address
        self._parents: dict[str, Parent] = {}
        self.place: Optional[int] = None
        """How many hosts stand ahead of this one, as the tracker said last."""
        self.quiet_until = 0.0
        """Until then nobody is called slow: rates have not settled."""
        self._supply = Supply()
        self.be_quiet()

    def __repr__(self) -> str:
        return f"<Parents {len(self._parents)} known>"

    def find(self, peer: str) -> Optional[Parent]:
        """The parent with this peer id, once its row is known."""
        return self._parents.get(peer)

    def learn(self, row: Row) -> None:
        """The tracker says how a parent is reached."""
        parent = self._parents.get(row.peer)
        if parent is None:
            self._parents[row.peer] = Parent(row, self._address, parents=self)
        else:
            parent.row = row

    def known(self, expiry: float) -> list[str]:
        """The parents whose tickets are good until after ``expiry``, by the tracker's clock."""
        return [peer for peer, parent in self._parents.items() if parent.row.expires > expiry]

    def be_quiet(self) -> None:
        """Something changed that rates must settle after."""
        self.quiet_until = asyncio.get_running_loop().time() + quiet_seconds(self.meter.total)

    @property
    def fill_seconds(self) -> float:
        """How much longer than usual this host may get nothing."""
        return fill_seconds(self.place or 0, self.meter.total)

    @property
    def is_lean(self) -> bool:
        """Has too little come for some seconds, whatever anybody says about it?"""
        return self._supply.is_lean(self.meter.best, self.meter.rate)

    def look(self, now: float, *, forgive: bool) -> None:
        """See how much has come."""
        if forgive:
            self._supply.forget()
        self._supply.note(self.meter.total, now)

    async def run(self) -> None:
        """Judge them until cancelled."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = loop.time()
            forgive = now - last > TICK_SECONDS + LATE_SECONDS
            last = now
            self.look(now, forgive=forgive)
            for parent in list(self._parents.values()):
                parent.tick(now, forgive=forgive)

    def close(self) -> None:
        """Hang up everywhere."""
        for parent in self._parents.values():
            parent.close()
