"""A stock libtorrent client: ``leecher.py TORRENT FOLDER TRACKER LISTEN [--seed] [--wanted FILE] [--complete FILE]``.

A program of its own on each host. Settings are those of a client in a local network (no DHT, no uTP, no encryption);
nothing about how pieces are chosen or who is fed is changed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import libtorrent as lt

SETTINGS: lt.settings_pack = {
    "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
    "enable_incoming_utp": False, "enable_outgoing_utp": False, "in_enc_policy": 2, "out_enc_policy": 2,
    "smooth_connects": False, "torrent_connect_boost": 60, "connection_speed": 500, "connections_limit": 2000,
    "unchoke_interval": 2, "optimistic_unchoke_interval": 6, "min_reconnect_time": 2, "tick_interval": 100,
    "request_queue_time": 1, "max_out_request_queue": 200, "min_announce_interval": 5, "aio_threads": 2,
    "hashing_threads": 1, "listen_queue_size": 200, "ssrf_mitigation": False, "enable_ip_notifier": False,
    "peer_timeout": 20, "request_timeout": 10, "piece_timeout": 5,
    "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.error_notification
    | lt.alert.category_t.storage_notification,
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("torrent", "folder", "tracker", "listen"):
        parser.add_argument(name)
    parser.add_argument("--seed", action="store_true")
    parser.add_argument("--wanted", type=Path)
    parser.add_argument("--complete", type=Path)
    options = parser.parse_args()
    settings = lt.session_params()
    settings.settings = {**SETTINGS, "listen_interfaces": options.listen}
    session = lt.session(settings)
    parameters = lt.load_torrent_file(options.torrent)
    parameters.save_path = options.folder
    parameters.trackers = [options.tracker]
    parameters.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
    if options.seed:
        parameters.flags |= lt.torrent_flags.seed_mode
    else:
        assert parameters.ti is not None
        parameters.file_priorities = _priorities(parameters.ti, set(options.wanted.read_text().splitlines()))
        sys.stdin.readline()  # the start
    session.add_torrent(parameters)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    moment = 0.0
    while True:
        session.wait_for_alert(1000)
        for alert in session.pop_alerts():
            if isinstance(alert, lt.torrent_finished_alert):
                moment = time.time()
                # Its last blocks may not be in the files yet.
                alert.handle.flush_cache()
            elif isinstance(alert, lt.cache_flushed_alert) and moment and options.complete is not None:
                _tell(options.complete, moment)
            elif isinstance(alert, (lt.torrent_error_alert, lt.file_error_alert, lt.tracker_error_alert)):
                print(f"{time.time():.1f} {alert.message()}", flush=True)


def _tell(path: Path, moment: float) -> None:
    """Make a file whose time says since when everything is there."""
    new = path.with_suffix(".new")
    new.touch()
    os.utime(new, (moment, moment))
    new.replace(path)


def _priorities(info: lt.torrent_info, wanted: set[str]) -> list[int]:
    files = info.files()
    found = []
    for index in range(files.num_files()):
        is_pad = files.file_flags(index) & lt.file_storage.flag_pad_file
        path = files.file_path(index).partition(os.sep)[2]
        found.append(4 if path in wanted and not is_pad else 0)
    return found


if __name__ == "__main__":
    sys.exit(main())
