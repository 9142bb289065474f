"""What a host has fetched so far, and from whom."""

from __future__ import annotations

from typing import Callable

from avalanche.agent.meter import Meter


class Figures:
    """Bytes are counted as they come, good or bad; ``verified`` ones are good."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.packages = 0
        self.verified = 0
        self.bytes_from_frontend = 0
        self.bytes_from_peers = 0
        self.ingress = Meter(clock)

    def __repr__(self) -> str:
        return f"<Figures {self.packages} packages, {self.verified} bytes>"

    def count_frontend(self, received: int) -> None:
        """Some bytes came from the frontend."""
        self.bytes_from_frontend += received
        self.ingress.count(received)

    def count_peer(self, received: int) -> None:
        """Some bytes came from another host."""
        self.bytes_from_peers += received
        self.ingress.count(received)
