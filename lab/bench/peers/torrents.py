"""BitTorrent as others do it: a seeder on the frontend and a client on every host, against our tracker."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import libtorrent as lt

from avalanche.tokens import SwarmToken, sign_token
from lab.bench.arena import Seat
from lab.bench.peers.programs import Program, Programs
from lab.network import FRONTEND_ADDRESS
from tracker.registry import Registered, write_registry

TRACKER_PORT = 7969
PORT = 6881
PIECE = 65_536
"""Smaller pieces than clients choose: with few hosts and few megabytes they do better so."""
_LEECHER = Path(__file__).with_name("leecher.py")
_SECONDS = 86_400


class Torrents(Programs):
    """Base of the clients: one torrent over the union of what is wanted, a tracker, a token for everybody."""

    kind = lt.create_torrent.v1_only

    def prepare(self) -> None:
        arena = self.arena
        root = arena.generation.path
        files = [lt.create_file_entry(f"{root.name}/{entry.path}", entry.size) for entry in arena.union]
        making = lt.create_torrent(files, PIECE, self.kind)
        making.set_priv(True)
        lt.set_piece_hashes(making, str(root.parent))
        self.torrent = self.folder / "payload.torrent"
        self.torrent.write_bytes(lt.bencode(making.generate()))
        hashes = lt.load_torrent_file(str(self.torrent)).info_hashes
        info_hash = hashes.v2.to_bytes()[:20] if hashes.has_v2() else hashes.v1.to_bytes()
        self._key = secrets.token_bytes(32)
        (self.folder / "swarm.key").write_text(self._key.hex())
        (self.folder / "swarm.key").chmod(0o600)
        objects = {entry.sha256: entry.size for entry in arena.union}
        registered = Registered(arena.generation.id, objects, {}, frozenset({info_hash}))
        (self.folder / "registry.jsonl").write_bytes(write_registry([registered]))
        (self.folder / "tracker.toml").write_text(
            f'[tracker]\nport = {TRACKER_PORT}\nregistry = "registry.jsonl"\nswarm_key = "swarm.key"\n'
        )

    def announce(self, name: str) -> str:
        """The tracker's address for a machine."""
        link = self.arena.network.links[name]
        expires = int(time.time()) + _SECONDS
        token = SwarmToken(
            secrets.token_hex(8), name, str(link.rack), str(link.address), self.arena.generation.id, expires
        )
        return f"http://{FRONTEND_ADDRESS}:{TRACKER_PORT}/announce/{sign_token(self._key, token)}"

    def servers(self) -> list[Program]:
        config = str(self.folder / "tracker.toml")
        tracker = Program("frontend", (sys.executable, "-m", "tracker", "--config", config), TRACKER_PORT)
        return [tracker, Program("frontend", tuple(self.seeder()), PORT)]

    def seeder(self) -> Sequence[str]:
        """What has everything from the start."""
        raise NotImplementedError

    def wanted(self, seat: Seat) -> list[int]:
        """Which of the union's files a host wants, by their places."""
        paths = {entry.path for entry in self.arena.closure(seat).entries}
        return [place for place, entry in enumerate(self.arena.union) if entry.path in paths]

    def finished(self, seat: Seat) -> float | None:
        """A client goes on when it has everything; a file then tells when that was."""
        try:
            return (seat.folder / "complete").stat().st_mtime
        except FileNotFoundError:
            return None


class Libtorrent(Torrents):
    """Stock libtorrent with settings for a local network (`leecher`)."""

    waits = True

    def seeder(self) -> Sequence[str]:
        root = self.arena.generation.path
        return self._command("frontend", root.parent, "--seed")

    def client(self, seat: Seat) -> Sequence[str]:
        (seat.folder / "files").mkdir()
        wanted = seat.folder / "wanted"
        wanted.write_text("\n".join(self.arena.union[place].path for place in self.wanted(seat)))
        options = ("--wanted", str(wanted), "--complete", str(seat.folder / "complete"))
        return self._command(seat.name, seat.folder / "files", *options)

    def _command(self, name: str, folder: Path, *options: str) -> Sequence[str]:
        listen = f"{self.arena.network.links[name].address}:{PORT}"
        words = (str(self.torrent), str(folder), self.announce(name), listen)
        return (sys.executable, "-I", str(_LEECHER), *words, *options)


class LibtorrentV1(Libtorrent):
    name = "libtorrent-v1"


class LibtorrentV2(Libtorrent):
    name = "libtorrent-v2"
    kind = lt.create_torrent.v2_only


class Aria2(Torrents):
    """aria2, seeder and clients; version 1, since it knows no other."""

    name = "aria2"

    def seeder(self) -> Sequence[str]:
        root = self.arena.generation.path
        return self._command("frontend", root.parent, "--check-integrity=true", "--bt-seed-unverified=true")

    def client(self, seat: Seat) -> Sequence[str]:
        (seat.folder / "files").mkdir()
        done = seat.folder / "done"
        done.write_text(f'#!/bin/sh\n: > "{seat.folder}/complete"\n')
        done.chmod(0o755)
        places = ",".join(str(place + 1) for place in self.wanted(seat))
        options = (f"--select-file={places}", f"--on-bt-download-complete={done}")
        return self._command(seat.name, seat.folder / "files", *options)

    def _command(self, name: str, folder: Path, *options: str) -> Sequence[str]:
        return (
            "aria2c", "--no-conf", f"--dir={folder}", "--file-allocation=none", "--seed-ratio=0.0", "--quiet",
            f"--listen-port={PORT}", "--enable-dht=false", "--bt-enable-lpd=false", "--enable-peer-exchange=false",
            "--bt-max-peers=55", "--bt-request-peer-speed-limit=100M", "--bt-remove-unselected-file=true",
            f"--bt-tracker={self.announce(name)}", *options, str(self.torrent),
        )  # fmt: skip
