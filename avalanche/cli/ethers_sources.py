"""Where insert-ethers hears of machines: packets on interfaces, logs of DHCP servers, lists."""

from __future__ import annotations

import ipaddress
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from avalanche.adapters.observer import Observer, interfaces_in
from avalanche.adapters.tail import Tail
from avalanche.cli.common import read_bounded
from avalanche.dhcplogs import LOG_FORMATS, LogFormat
from avalanche.errors import AvalancheError, ConfigError
from avalanche.ethers import Sighting
from avalanche.names import parse_mac
from avalanche.network import Network


@dataclass(frozen=True)
class Sources:
    """Where sightings come from."""

    observers: Sequence[Observer] = ()
    logs: Sequence[tuple[Tail, LogFormat]] = ()
    listed: Sequence[Sighting] = ()

    def names(self) -> list[str]:
        """How each is called."""
        found = [f"observer {one.interface}" for one in self.observers]
        found += [f"{kind.name} {tail.path}" for tail, kind in self.logs]
        return [*found, *([f"list of {len(self.listed)}"] if self.listed else []), "frontend"]

    def close(self) -> None:
        """Stop all."""
        for observer in self.observers:
            observer.close()
        for tail, _ in self.logs:
            tail.close()


def open_sources(names: Sequence[str], interfaces: Sequence[str], network: Network | None) -> Sources:
    """Open the sources that are named, by default an observer.

    Args:
        interfaces: where observers watch; none: on those with an address in ``network``.

    Raises:
        ConfigError: one is unknown, or there is nowhere to watch.
        OSError: one cannot be read.
    """
    observers, logs, listed = [], [], []
    try:
        for source in names or ["observer"]:
            kind, _, where = source.partition(":")
            if source == "observer":
                observers += [Observer(name) for name in interfaces or _interfaces(network)]
            elif kind in LOG_FORMATS and where:
                logs.append((Tail(Path(where)), LOG_FORMATS[kind]))
            elif kind == "list" and where:
                listed += _listed(where)
            elif source != "none":
                known = ", ".join(["observer", "none", *(f"{name}:LOG" for name in LOG_FORMATS), "list:FILE"])
                raise ConfigError(f"{source!r} is no source of sightings; there are: {known}")
    except BaseException:
        Sources(observers, logs).close()
        raise
    return Sources(observers, logs, listed)


def _listed(where: str) -> list[Sighting]:
    if where == "-":
        return parse_list(read_bounded(sys.stdin, "standard input"), file="standard input", at=time.time())
    with Path(where).open(encoding="utf-8", errors="replace") as stream:
        return parse_list(read_bounded(stream, where), file=where, at=time.time())


def _interfaces(network: Network | None) -> list[str]:
    if network is None:
        raise ConfigError("say where to watch: --interface NAME")
    assert isinstance(network.addresses, ipaddress.IPv4Network)
    found = interfaces_in(network.addresses)
    if not found:
        raise ConfigError(
            f"no interface of this machine has an address in {network.addresses}; say where to watch: --interface NAME"
        )
    return found


def parse_list(text: str, *, file: str, at: float) -> list[Sighting]:
    """Read a list of machines: one MAC per line, ``#`` begins a comment.

    Raises:
        ConfigError: a line is no MAC; names file and line.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        word = line.partition("#")[0].strip()
        if not word:
            continue
        try:
            found.append(Sighting(at, "list", "LISTED", parse_mac(word)))
        except AvalancheError as error:
            raise ConfigError(f"{file}:{number}: {error}") from None
    if not found:
        raise ConfigError(f"{file}: no MAC in it; write one per line")
    return found
