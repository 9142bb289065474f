"""How insert-ethers shows what happens: a stream of JSON objects, or plain lines. The screen is ethers_screen.py."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TextIO

from avalanche.adapters.files import named
from avalanche.adapters.plugins import Call
from avalanche.cli.common import visible, when
from avalanche.ethers import NewHost, Sighting, Verdict

STREAM_VERSION = 1
OUTPUT = Path("standard output")


class View(Protocol):
    """Where a session tells what happens. Every verb raises OSError when nobody can read it any more."""

    def started(self, facts: Mapping[str, Any]) -> None:
        """The session begins: what it waits for, and where."""

    def packet(self, seen: Sighting, verdict: Verdict) -> None:
        """A packet or request was seen."""

    def registered(self, host: NewHost) -> None:
        """A machine became a host."""

    def refused(self, at: float, mac: str, why: str) -> None:
        """A machine could not become a host."""

    def progress(self, host: NewHost, at: float, text: str) -> None:
        """A new host got on."""

    def plugin(self, call: Call) -> None:
        """A plugin was called."""

    def note(self, at: float, text: str) -> None:
        """Something the operator may want to know."""

    async def ask_address(self, seen: Sighting) -> str:
        """Ask the operator for a machine's address; "" passes it over."""

    def ended(self, facts: Mapping[str, Any]) -> None:
        """The session is over."""


class JsonView:
    """One JSON object per line; docs/insert-ethers.md lists them."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout

    def _write(self, event: str, **facts: Any) -> None:
        _print(self._out, json.dumps({"event": event, **facts}))

    def started(self, facts: Mapping[str, Any]) -> None:
        self._write("start", version=STREAM_VERSION, **facts)

    def packet(self, seen: Sighting, verdict: Verdict) -> None:
        self._write(
            "packet", at=seen.at, source=seen.source, interface=seen.interface, kind=seen.kind, mac=seen.mac,
            address=seen.address, relay=seen.relay, server=seen.server, vendor=seen.vendor, hostname=seen.hostname,
            uuid=seen.uuid, firmware=seen.firmware, circuit=seen.circuit, verdict=verdict.code, reason=verdict.text,
        )  # fmt: skip

    def registered(self, host: NewHost) -> None:
        self._write(
            "registered", at=host.at, host=host.name, mac=host.mac, address=host.address, membership=host.membership,
            rack=host.rack, rank=host.rank, order=host.order, why=host.why,
        )  # fmt: skip

    def refused(self, at: float, mac: str, why: str) -> None:
        self._write("refused", at=at, mac=mac, why=why)

    def progress(self, host: NewHost, at: float, text: str) -> None:
        self._write(
            "progress", at=at, host=host.name, stage=host.stage, status=host.outcome, kickstart=host.status, text=text
        )

    def plugin(self, call: Call) -> None:
        self._write(
            "plugin", plugin=call.plugin, hook=call.event, host=call.host, seconds=round(call.seconds, 3),
            problem=call.problem,
        )  # fmt: skip

    def note(self, at: float, text: str) -> None:
        self._write("note", at=at, text=text)

    async def ask_address(self, seen: Sighting) -> str:
        raise AssertionError("--staticip without a terminal is refused before anything begins")

    def ended(self, facts: Mapping[str, Any]) -> None:
        self._write("end", **facts)


class LineView:
    """Plain lines, for a terminal that is none and for --batch. Packets that lead to nothing are left out."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout

    def _write(self, at: float, text: str) -> None:
        _print(self._out, f"{when(at)}  {visible(text)}")

    def started(self, facts: Mapping[str, Any]) -> None:
        self._write(facts["at"], f"insert-ethers: {facts['mode']}, next {facts['next']}, {', '.join(facts['sources'])}")

    def packet(self, seen: Sighting, verdict: Verdict) -> None:
        if verdict.code in ("known", "pending", "answer", "taken"):
            return
        self._write(seen.at, f"{seen.mac or '-'}  {seen.kind or 'packet'}: {verdict.text}")

    def registered(self, host: NewHost) -> None:
        told = [host.name, host.mac, host.address or "no address", f"order {host.order}" if host.order else host.why]
        self._write(host.at, "  ".join(filter(None, told)))

    def refused(self, at: float, mac: str, why: str) -> None:
        self._write(at, f"{mac}  cannot be registered: {why}")

    def progress(self, host: NewHost, at: float, text: str) -> None:
        if host.outcome != "progress":
            self._write(at, f"{host.name}  {host.mark}  {host.stage} {host.outcome}  {text}".rstrip())

    def plugin(self, call: Call) -> None:
        if call.problem:
            _print(self._out, f"plugin {call.plugin}, {call.event} {call.host}: {visible(call.problem)}")

    def note(self, at: float, text: str) -> None:
        self._write(at, text)

    async def ask_address(self, seen: Sighting) -> str:
        raise AssertionError("--staticip without a terminal is refused before anything begins")

    def ended(self, facts: Mapping[str, Any]) -> None:
        self._write(facts["at"], f"{facts['registered']} registered; {facts['reason']}")


def _print(out: TextIO, line: str) -> None:
    with named(OUTPUT):
        out.write(f"{line}\n")
        out.flush()
