"""What admits a host to its peers. Part of the agent's import closure (Python 3.9, standard library)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from avalanche.tokens import MAXIMUM_TEXT

_TRACKER = re.compile(r"http://(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_PEER_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Membership:
    """What a host needs to fetch from others (docs/protocol.md, section 9).

    Attributes:
        trackers: their base addresses, in the order in which they are tried.
        token: the host's swarm token.
        peer_key: checks the tickets of those who fetch from this host; 64 hexadecimal digits.
    """

    trackers: tuple[str, ...]
    token: str = field(repr=False)
    peer_key: str = field(repr=False)

    def __post_init__(self) -> None:
        if not self.trackers or not all(map(_TRACKER.fullmatch, self.trackers)):
            raise ValueError(f"trackers={' '.join(self.trackers)!r} are not base addresses with http://")
        if len(self.token) > MAXIMUM_TEXT or not _TOKEN.fullmatch(self.token):
            raise ValueError("token is no swarm token")
        if not _PEER_KEY.fullmatch(self.peer_key):
            raise ValueError("peer-key is not 64 lower-case hexadecimal digits")
