"""Which peers speak from which address. Pure."""

from __future__ import annotations

from tracker.flow import PeerId


class Addresses:
    """Peers by address; several may share one, as those behind a translator do."""

    def __init__(self) -> None:
        self._peers: dict[str, dict[PeerId, None]] = {}

    def __repr__(self) -> str:
        return f"<Addresses {len(self._peers)}>"

    def add(self, address: str, peer: PeerId) -> None:
        """``peer`` speaks from there."""
        self._peers.setdefault(address, {})[peer] = None

    def remove(self, address: str, peer: PeerId) -> None:
        """It does no more."""
        here = self._peers[address]
        del here[peer]
        if not here:
            del self._peers[address]

    def last(self, address: str) -> PeerId | None:
        """Who was the last to begin there, if anybody is."""
        found = self._peers.get(address)
        return next(reversed(found)) if found else None
