"""Where a machine stands on its way from its first DHCP packet to its installed system, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from avalanche.cluster import Host
from avalanche.orders import Order

SILENT_SECONDS = 600.0
"""An install that says nothing for so long is worth a look; packages report every few seconds."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A line of a timeline: what a host's way is read from."""

    at: float
    stage: str
    status: str
    text: str


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a machine stands: ``state`` in one word, ``where`` in one line, since when, and what to do."""

    state: str
    where: str
    todo: str
    since: float | None = None


_WAY = {
    "boot": (
        "it was told what to boot; it has not asked for its kickstart yet",
        "wait a minute; then look at its console: iPXE and the kernel print what they cannot fetch",
    ),
    "stub": (
        "it has its stub; its agent has not asked for the profile yet",
        "wait a minute; then look at its console: the installer prints why its %pre failed",
    ),
    "profile": ("it has its profile", "wait: it renders its kickstart"),
    "pre": ("it runs its <pre> scripts", "wait"),
    "kickstart": ("it renders its kickstart", "wait"),
    "packages": ("it fetches its packages", "wait"),
    "install": ("it installs its packages", "wait"),
    "post": ("it runs its <post> scripts", "wait"),
    "peers": ("it fetches its packages", "wait"),
}
"""Where a host is after the last line of a stage, and what to do meanwhile."""
_OWN = ("dhcp", "register", "plugins")


def why_host(host: Host, orders: Sequence[Order], moments: Sequence[Moment], *, now: float) -> Standing:
    """Say where a registered host stands.

    Args:
        orders: its orders, oldest first.
        moments: its timeline, oldest first.
    """
    if host.lock is not None:
        why = f": {host.lock.why}" if host.lock.why else ""
        return Standing(
            "locked", f"it is locked by {host.lock.by}{why}", f"avalanche host unlock {host.name}", host.lock.at
        )
    if host.mac is None:
        by_hand = f"avalanche host interface add {host.name} --mac MAC"
        todo = f"insert-ethers --replace {host.name}, and switch it on; or {by_hand}"
        return Standing("unknown card", "no card of it is known, so no request of it can be told from others", todo)
    if not orders:
        return _without_order(host, moments)
    order = orders[-1]
    state = order.state(now)
    since = order.closed_at or order.created
    if state == "done":
        return Standing("installed", "it is installed", f"nothing; to install it again: {_again(host)}", since)
    if state != "live":
        told = {
            "cancelled": "its order was cancelled",
            "expired": "its order expired before it was installed",
            "exhausted": f"its order's {order.limit} attempts failed",
        }[state]
        last = _last_failure(moments, order)
        where = f"{told}{f'; last: {last}' if last else ''}"
        return Standing(state, where, f"avalanche host events {host.name}, mend, then: {_again(host)}", since)
    return _on_its_way(host, order, moments, now)


def _without_order(host: Host, moments: Sequence[Moment]) -> Standing:
    registered = next((one for one in reversed(moments) if one.stage == "register"), None)
    since = registered.at if registered else None
    if registered is not None and registered.status == "failed":
        return Standing("no order", registered.text, f"mend that, then: {_again(host)}", since)
    return Standing("no order", "it is registered and may not be installed", _again(host), since)


def _on_its_way(host: Host, order: Order, moments: Sequence[Moment], now: float) -> Standing:
    mine = [one for one in moments if one.at >= order.created and one.stage not in _OWN]
    if not mine:
        seen = next((one for one in reversed(moments) if one.stage == "dhcp"), None)
        told = f"; its last packet: {seen.text}" if seen else ""
        todo = "boot it from the network; insert-ethers shows every packet it sends, and why one leads to nothing"
        return Standing("waiting", f"it has its order and has not asked for its kickstart{told}", todo, order.created)
    last = mine[-1]
    if last.status == "failed":
        left = order.limit - len(order.attempts)
        todo = f"avalanche host events {host.name}; mend, and boot it again ({left} attempts are left)"
        return Standing("failed", f"{last.stage} failed: {last.text}", todo, last.at)
    where, todo = _WAY.get(last.stage, (f"{last.stage} {last.status}", "wait"))
    if last.text and last.stage in ("packages", "install"):
        where = f"{where}: {last.text}"
    if now - last.at > SILENT_SECONDS:
        todo = f"it has been silent since then: look at its console; avalanche host events {host.name}"
    return Standing("installing", where, todo, last.at)


def _last_failure(moments: Sequence[Moment], order: Order) -> str:
    failed = [one for one in moments if one.at >= order.created and one.status == "failed"]
    return f"{failed[-1].stage}: {failed[-1].text}" if failed else ""


def _again(host: Host) -> str:
    return f"avalanche order create {host.name}"


_TODO = {
    "recorded": "run insert-ethers without --record-only and switch it on again",
    "paused": "press p in insert-ethers; it asks again by itself",
    "enough": "run insert-ethers for more hosts",
    "full": "wait; it asks again by itself",
    "client": "run insert-ethers without --installers, or let it boot from the network",
    "relay": "name the network its relay is in: insert-ethers --network NAME",
    "kind": "switch it off and on, so that it sends its first packet again",
    "interface": "name the interface: insert-ethers --interface NAME",
    "mac": "give its card an address of its own",
    "refused": "mend what the line says; it asks again by itself",
    "queued": "let the host before it ask for its kickstart, or press n in insert-ethers",
    "asked": "run insert-ethers, and boot it again",
}


def why_stranger(code: str | None, text: str, *, kind: str = "", last_at: float | None = None) -> Standing:
    """Say where a machine stands that is no host.

    Args:
        code, text: what its last packet or request led to; None: nobody saw one.
    """
    if code is None:
        todo = (
            "run insert-ethers and switch it on; when nothing shows up there, its cable, its VLAN, the switch port's "
            "spanning tree, or its boot order is the reason"
        )
        return Standing("never seen", "nobody has seen a packet or a request of it", todo)
    return Standing("unknown", f"{kind}: {text}", _TODO.get(code, "run insert-ethers and switch it on"), last_at)
