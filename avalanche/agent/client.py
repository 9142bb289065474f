"""libtorrent, as the swarm plane uses it: one session, one torrent, files lent by the cache.

The only module of the agent that knows libtorrent. Everything it says arrives through a descriptor the event loop
watches; nothing here waits, but `close`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import Iterable
from typing import Any, Callable

from avalanche.torrent import TorrentFile, read_layout

OLDEST = (2, 1)
"""The first libtorrent that takes the short last piece of a file and tells availability without waiting."""
SETTINGS: dict[str, Any] = {
    "user_agent": "avalanche",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "in_enc_policy": 2,
    "out_enc_policy": 2,
    "mixed_mode_algorithm": 0,
    "smooth_connects": False,
    "torrent_connect_boost": 50,
    "connection_speed": 200,
    "connections_limit": 50,
    "listen_queue_size": 128,
    "close_redundant_connections": False,
    "unchoke_slots_limit": 8,
    "unchoke_interval": 2,
    "optimistic_unchoke_interval": 6,
    "seeding_piece_quota": 4,
    "allowed_fast_set_size": 0,
    "active_limit": -1,
    "active_downloads": -1,
    "active_seeds": -1,
    "peer_connect_timeout": 3,
    "handshake_timeout": 5,
    "peer_timeout": 20,
    "request_timeout": 10,
    "piece_timeout": 5,
    "min_reconnect_time": 1,
    "max_failcount": 10,
    "request_queue_time": 1,
    "max_out_request_queue": 64,
    "whole_pieces_threshold": 1,
    "auto_sequential": False,
    "tick_interval": 100,
    "num_want": 50,
    "min_announce_interval": 2,
    "tracker_backoff": 50,
    "tracker_completion_timeout": 5,
    "tracker_receive_timeout": 5,
    "stop_tracker_timeout": 1,
    "ssrf_mitigation": False,
    "apply_ip_filter_to_trackers": False,
    "enable_ip_notifier": False,
    "aio_threads": 2,
    "hashing_threads": 1,
    "max_queued_disk_bytes": 8 << 20,
    "file_pool_size": 40,
    "send_buffer_watermark": 1 << 18,
    "dht_bootstrap_nodes": "",
}
"""For a local network and an install that takes minutes; each was measured or has its reason in perf.md's B and D."""
RETRY_DISK_SECONDS = 1.0
WANTING_SECONDS = 1.0
"""After so long a client starts that wants nothing."""
WANTED, HURRIED = 4, 7
IPV4 = ("0.0.0.0", "255.255.255.255")  # noqa: S104 - a range in a filter
IPV6 = ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
BLOCKED = 1

log = logging.getLogger(__name__)


def import_libtorrent() -> Any:
    """The module. Raises ImportError: there is none, or it is too old."""
    import libtorrent

    # A folder without a module that fits this Python is imported too, and is empty.
    version = getattr(libtorrent, "__version__", "0")
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        del sys.modules["libtorrent"]
        raise ImportError(f"version {version} is older than 2.1" if version != "0" else "it is for another Python")
    return libtorrent


class Client:
    """One host's BitTorrent client.

    Args:
        torrent: the ``.torrent`` file, with this host's announce addresses.
        address: the one address on which it listens and speaks.
        on_piece: called with each piece that is here, checked.
    """

    def __init__(self, torrent: bytes, *, address: str, on_piece: Callable[[int], None]) -> None:
        self._lt = lt = import_libtorrent()
        self.layout = read_layout(torrent)
        self.files: tuple[TorrentFile, ...] = self.layout.files
        self.held: set[int] = set()
        """The pieces that are here, checked."""
        self.availability: list[int] = []
        """How many of the peers have each piece; empty when there is no peer."""
        self.egress = 0
        """Bytes a second sent to peers, in the last one about."""
        self.sent = 0
        """Bytes of pieces that peers got from here."""
        self.received = 0
        """Bytes of pieces that came from peers, right or wrong."""
        self._on_piece = on_piece
        self._loop = asyncio.get_running_loop()
        params = lt.session_params()
        host = f"[{address}]" if ":" in address else address
        category = lt.alert.category_t
        mask = category.error_notification | category.status_notification | category.piece_progress_notification
        # Written at once: the default keeps a checked piece in memory for a while, and it is read back here.
        params.disk_io_constructor = "posix_disk_io_constructor"
        params.settings = {**SETTINGS, "listen_interfaces": f"{host}:0", "outgoing_interfaces": address,
                           "alert_mask": mask}  # fmt: skip
        self._session = lt.session(params)
        # Peers of a local network would bypass every limit (p2p.md 2.11): all of them are in the global class.
        everybody = lt.ip_filter()
        everybody.add_rule(IPV4[0], IPV4[1], 1 << lt.session.global_peer_class_id)
        everybody.add_rule(IPV6[0], IPV6[1], 1 << lt.session.global_peer_class_id)
        self._session.set_peer_class_filter(everybody)
        self._members: set[str] = set()
        self._filter = lt.ip_filter()
        self._filter.add_rule(*IPV4, BLOCKED)
        self._filter.add_rule(*IPV6, BLOCKED)
        self._ours, theirs = socket.socketpair()
        self._theirs = theirs
        for end in (self._ours, theirs):
            end.setblocking(False)
        self._session.set_alert_fd(theirs.fileno())
        self._loop.add_reader(self._ours.fileno(), self._read_alerts)
        self._add(torrent)
        self._indices = self._file_indices()
        self._priorities = [0] * (max(self._indices, default=0) + 1)
        self._is_dirty = False
        self._is_started = self._is_wanting = False
        self._measured = self._loop.time()

    def __repr__(self) -> str:
        return f"<Client {len(self.held)} pieces, {len(self._members)} members>"

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._session.listen_port())

    def _add(self, torrent: bytes) -> None:
        lt = self._lt
        params = lt.load_torrent_buffer(torrent)
        # No file is where this points to: each gets its place when the cache has room for it.
        params.save_path = "/proc/self/fd/none"
        params.flags &= ~lt.torrent_flags.auto_managed
        params.flags |= lt.torrent_flags.paused
        params.max_connections = SETTINGS["connections_limit"]
        self._storage = params.ti.layout()
        params.file_priorities = [0] * self._storage.num_files()
        self._handle = self._session.add_torrent(params)

    def _file_indices(self) -> list[int]:
        """libtorrent's number of each of our files: it counts pads too."""
        pad = self._lt.file_storage.flag_pad_file
        layout = self._storage
        found = [index for index in range(layout.num_files()) if not layout.file_flags(index) & pad]
        assert len(found) == len(self.files)
        return found

    # --- what the plane says ---

    def start(self) -> None:
        """Announce, connect, fetch what is wanted, as soon as libtorrent knows that something is: who wants nothing is
        taken for a seed of parts, and trackers do not name such hosts to each other.
        """
        self._is_started = True
        if self._is_wanting:
            self._resume()
        else:
            self._loop.call_later(WANTING_SECONDS, self._resume)

    def _resume(self) -> None:
        with contextlib.suppress(AttributeError):  # closed meanwhile
            self._handle.resume()

    def place(self, file: int, path: str) -> None:
        """Keep a file at ``path``, and want it."""
        self._handle.rename_file(self._indices[file], path)
        self._prioritise(file, WANTED)

    def hurry(self, file: int) -> None:
        """Somebody waits for this file."""
        if self._priorities[self._indices[file]] == WANTED:
            self._prioritise(file, HURRIED)

    def give_up(self, file: int) -> None:
        """Fetch no more of this file."""
        self._prioritise(file, 0)

    def _prioritise(self, file: int, priority: int) -> None:
        self._priorities[self._indices[file]] = priority
        if not self._is_dirty:
            self._is_dirty = True
            self._loop.call_soon(self._tell_priorities)

    def _tell_priorities(self) -> None:
        self._is_dirty = False
        with contextlib.suppress(AttributeError):  # closed meanwhile
            self._handle.prioritize_files(self._priorities)

    def give(self, piece: int, data: bytes) -> None:
        """Put a piece into the swarm. It is checked like any other, and `on_piece` says when it is here."""
        self._handle.add_piece(piece, data, 0)

    def admit(self, addresses: Iterable[str]) -> None:
        """Let these addresses be peers; nobody else is."""
        fresh = set(addresses) - self._members
        for address in fresh:
            self._filter.add_rule(address, address, 0)
        if fresh:
            self._members |= fresh
            self._session.set_ip_filter(self._filter)

    def look(self) -> None:
        """Ask for availability and figures; they come as alerts."""
        self._handle.post_piece_availability()
        self._session.post_session_stats()

    async def close(self) -> None:
        """Leave the swarm, and end: no port is open afterwards, no file either."""
        self._loop.remove_reader(self._ours.fileno())
        await self._loop.run_in_executor(None, self._end)
        self._ours.close()
        self._theirs.close()

    def _end(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._session.remove_torrent(self._handle)
        self._session.pause()
        # The session's end waits for the tracker's answer to `stopped`, a second at most.
        del self._handle, self._session

    # --- what libtorrent says ---

    def _read_alerts(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._ours.recv(4096)
        lt = self._lt
        for alert in self._session.pop_alerts():
            if isinstance(alert, lt.piece_finished_alert):
                self.held.add(alert.piece_index)
                self._on_piece(alert.piece_index)
            elif isinstance(alert, lt.piece_availability_alert):
                self.availability = list(alert.piece_availability)
            elif isinstance(alert, lt.session_stats_alert):
                self._count(alert.values)
            elif isinstance(alert, lt.state_changed_alert):
                if alert.state == lt.torrent_status.downloading and not self._is_wanting:
                    self._is_wanting = True
                    if self._is_started:
                        self._resume()
            elif isinstance(alert, lt.hash_failed_alert):
                log.warning("piece fails its hash piece=%d", alert.piece_index)
            elif isinstance(alert, (lt.file_error_alert, lt.torrent_error_alert)):
                log.warning("libtorrent fails reason=%s", alert.message())
                self._loop.call_later(RETRY_DISK_SECONDS, self._try_again)
            elif isinstance(alert, (lt.tracker_error_alert, lt.listen_failed_alert)):
                log.info("libtorrent says %s", alert.message())

    def _try_again(self) -> None:
        with contextlib.suppress(AttributeError, RuntimeError):  # closed meanwhile
            self._handle.clear_error()
            self._handle.unset_flags(self._lt.torrent_flags.upload_mode)
            self._handle.resume()

    def _count(self, values: Any) -> None:
        sent = int(values["net.sent_payload_bytes"])
        self.received = int(values["net.recv_payload_bytes"])
        now = self._loop.time()
        seconds = max(now - self._measured, 0.01)
        # A second's mean, so that one look between two bursts does not say that nothing is sent.
        share = min(1.0, seconds)
        self.egress = int((1 - share) * self.egress + share * (sent - self.sent) / seconds)
        self.sent, self._measured = sent, now
