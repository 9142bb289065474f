"""This host among its peers: what it asks the tracker, whom it fetches from, whom it serves."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Callable, Optional

from avalanche.agent.catalogue import Catalogue
from avalanche.agent.children import Sharing
from avalanche.agent.downloader import Downloader
from avalanche.agent.figures import Figures
from avalanche.agent.meter import Meter
from avalanche.agent.parents import Parents
from avalanche.agent.peers import Peers
from avalanche.agent.source import Source
from avalanche.agent.swarm import Swarm
from avalanche.membership import Membership
from avalanche.tokens import read_token

log = logging.getLogger(__name__)


class Relay:
    """The relay plane of one host, from `open` to `close`.

    Args:
        frontend: the source of last resort.
        attempt: chosen once per start of the agent.
        manifest: digest of the closure.
        bundle: SHA-256 and file of the agent itself.
        on_refused: called with the address of a stranger that wanted something, and why it got nothing.

    Raises:
        TokenRefused: the membership's token is malformed.
    """

    def __init__(
        self,
        frontend: Source,
        *,
        membership: Membership,
        attempt: str,
        manifest: str,
        catalogue: Catalogue,
        figures: Figures,
        bundle: tuple[str, Path],
        on_refused: Callable[[str, str], None],
    ) -> None:
        self._address = read_token(membership.token).address
        self._key = bytes.fromhex(membership.peer_key)
        self._catalogue = catalogue
        self._figures = figures
        self._bundle = bundle
        self._on_refused = on_refused
        self._parents = Parents(self._address, meter=figures.ingress, count=figures.count_peer)
        self.route = Swarm(
            frontend,
            self._parents,
            membership=membership,
            attempt=attempt,
            manifest=manifest,
            catalogue=catalogue,
            figures=figures,
        )
        self._egress = Meter(asyncio.get_running_loop().time)
        self._peers: Optional[Peers] = None
        self._tasks: list[asyncio.Task[None]] = []

    def __repr__(self) -> str:
        return f"<Relay {self._address} {self.route!r} {self._parents!r} {self._peers!r}>"

    @property
    def bytes_sent(self) -> int:
        """Bytes of objects that other hosts got from here."""
        return self._egress.total

    async def open(self, downloader: Downloader) -> None:
        """Serve others, and tell the tracker.

        Raises:
            ConfigError: the address of the token is not this host's.
        """
        loop = asyncio.get_running_loop()
        sharing = Sharing(self._catalogue, downloader, ingress=self._figures.ingress, egress=self._egress)
        self._peers = Peers(
            sharing,
            key=self._key,
            clock=self.route.time_heard,
            bundle=self._bundle,
            on_refused=self._on_refused,
        )
        self.route.port = await self._peers.listen(self._address)
        self.route.attach(downloader)
        log.info("serving peers address=%s port=%d", self._address, self.route.port)
        self._tasks = [loop.create_task(self.route.run()), loop.create_task(self._parents.run())]

    async def close(self) -> None:
        """Withdraw: nobody is sent here any more, what was begun goes out, the port closes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._peers is not None:
            await asyncio.gather(self.route.leave(), self._peers.leave())
        self._parents.close()
