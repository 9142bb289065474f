"""When the kernel wakes this process for bytes: a link that is not fast brings them in packets of two or three
kilobytes, and each costs as much as a block.
"""

from __future__ import annotations

import asyncio
import socket


class Waking:
    """The least that must have come on one connection before it is read (socket(7), SO_RCVLOWAT); its end always is.

    Who sets more than a byte looks again after a while, for a sender may never send so many.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._socket = transport.get_extra_info("socket")
        self.least = 1

    def __repr__(self) -> str:
        return f"<Waking at {self.least} bytes>"

    def at(self, least: int) -> None:
        """Wake at ``least`` bytes from now on; if they are here already, at once."""
        if least != self.least:
            self.least = least
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)
