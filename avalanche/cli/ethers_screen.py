"""insert-ethers' full screen: new hosts on their way to their kickstart, and every packet with its verdict.

Everything from outside is shown through rich's Text, which knows no markup, and was made printable when it was read.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console, ConsoleDimensions
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from avalanche.adapters.plugins import Call
from avalanche.cli.common import visible
from avalanche.ethers import NewHost, Sighting, Verdict

PACKETS_KEPT = 1000
FRAME_SECONDS = 0.1
KEYS = "F8 q: end   F9 Q: end anyway   p: pause   n: next may pass   r: next rack   ↑↓ PgUp PgDn: hosts"
_SEQUENCES = {
    b"\x1b[19~": "f8",
    b"\x1b[20~": "f9",
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1bOA": "up",
    b"\x1bOB": "down",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
    b"\x03": "ctrl-c",
    b"\r": "enter",
    b"\n": "enter",
    b"\x7f": "backspace",
    b"\x08": "backspace",
}
_COLOURS = {"taken": "green", "queued": "yellow", "known": "bright_black", "answer": "bright_black", "pending": "cyan"}


def read_keys(data: bytes) -> list[str]:
    """Read what a terminal sent: names of special keys, and characters."""
    found: list[str] = []
    while data:
        known = next((sequence for sequence in _SEQUENCES if data.startswith(sequence)), None)
        if known is not None:
            found.append(_SEQUENCES[known])
            data = data[len(known) :]
        elif data[0] == 0x1B:
            # A sequence of a key that means nothing here: left out up to its last character.
            end = next((at for at in range(2, len(data)) if 0x40 <= data[at] <= 0x7E), len(data) - 1)
            data = data[end + 1 :]
        else:
            character = data[:1].decode("ascii", "ignore")
            found += [character] if character.isprintable() and character else []
            data = data[1:]
    return found


class Screen:
    """The view of a terminal, and its keys. Use it as a context; ``drawing`` runs beside the session.

    Args:
        press: what to do with a key.
        upcoming: says what the next host will be called.
    """

    def __init__(self, press: Callable[[str], None], upcoming: Callable[[], str]) -> None:
        self._press = press
        self._upcoming = upcoming
        self._console = Console()
        self._live = Live(console=self._console, screen=True, auto_refresh=False, transient=True)
        self._facts: Mapping[str, Any] = {}
        self._hosts: dict[str, tuple[NewHost, str]] = {}
        self._packets: deque[tuple[Sighting, Verdict]] = deque(maxlen=PACKETS_KEPT)
        self._seen = 0
        self._notes: deque[str] = deque(maxlen=3)
        self._scroll = 0
        self._asked: asyncio.Future[str] | None = None
        self._question, self._answer = "", ""
        self._changed = True
        self._handler = _Noting(self)
        self._before: list[Any] | None = None
        self.summary = ""

    def __enter__(self) -> Screen:
        descriptor = sys.stdin.fileno()
        self._before = termios.tcgetattr(descriptor)
        tty.setraw(descriptor, termios.TCSANOW)
        # Raw keeps the terminal from turning a line's end into one; the screen needs that.
        mode = termios.tcgetattr(descriptor)
        mode[1] |= termios.OPOST | termios.ONLCR
        termios.tcsetattr(descriptor, termios.TCSANOW, mode)
        self._live.start()
        asyncio.get_running_loop().add_reader(descriptor, self._typed)
        logging.getLogger().addHandler(self._handler)
        return self

    def __exit__(self, *exc: object) -> None:
        logging.getLogger().removeHandler(self._handler)
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        self._live.stop()
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, self._before or [])
        if self.summary:
            print(self.summary)

    async def drawing(self) -> None:
        """Draw what changed, until cancelled."""
        size = os.terminal_size((0, 0))
        while True:
            # Asked from the terminal itself: variables of the environment may be older than its window.
            if self._changed or size != os.get_terminal_size(sys.stdout.fileno()):
                size = os.get_terminal_size(sys.stdout.fileno())
                self._console.size = ConsoleDimensions(*size)
                self._changed = False
                self._live.update(self.render(), refresh=True)
            await asyncio.sleep(FRAME_SECONDS)

    # --- the view ---

    def started(self, facts: Mapping[str, Any]) -> None:
        """Show what is waited for."""
        self._facts = facts
        self._changed = True

    def packet(self, seen: Sighting, verdict: Verdict) -> None:
        """Show a packet."""
        self._packets.append((seen, verdict))
        self._seen += 1
        self._changed = True

    def registered(self, host: NewHost) -> None:
        """Show a new host."""
        self._hosts[host.name] = (host, host.why or "registered")
        self._scroll = 0
        self._changed = True

    def refused(self, at: float, mac: str, why: str) -> None:
        """Show why a machine is no host."""
        self.note(at, f"{mac} cannot be registered: {why}")

    def progress(self, host: NewHost, at: float, text: str) -> None:
        """Show how far a host is."""
        self._hosts[host.name] = (host, text or host.why)
        self._changed = True

    def plugin(self, call: Call) -> None:
        """Show a plugin that failed."""
        if call.problem:
            self.note(time.time(), f"plugin {call.plugin}, {call.event} {call.host}: {call.problem}")

    def note(self, at: float, text: str) -> None:
        """Show a line to the operator."""
        self._notes.append(f"{_clock(at)}  {visible(text)}")
        self._changed = True

    async def ask_address(self, seen: Sighting) -> str:
        """Ask for an address in the line at the bottom."""
        self._question, self._answer = f"address of {seen.mac} (empty: pass over): ", ""
        self._asked = asyncio.get_running_loop().create_future()
        self._changed = True
        try:
            return await self._asked
        finally:
            self._asked = None
            self._changed = True

    def ended(self, facts: Mapping[str, Any]) -> None:
        """Say how it went, once the screen is gone."""
        lines = [f"{host.mark} {host.name}  {host.mac}  {host.address or '-'}" for host, _ in self._hosts.values()]
        self.summary = "\n".join([*lines, f"{facts['registered']} registered; {facts['reason']}"])

    # --- keys ---

    def _typed(self) -> None:
        try:
            data = os.read(sys.stdin.fileno(), 1024)
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            self._press("ctrl-c")  # the terminal is gone
            return
        for key in read_keys(data):
            if self._asked is not None and key != "ctrl-c":
                self._edit(key)
            elif key in ("up", "down", "page up", "page down"):
                step = {"up": -1, "down": 1, "page up": -10, "page down": 10}[key]
                self._scroll = max(0, min(len(self._hosts) - 1, self._scroll - step))
            else:
                if self._asked is not None:
                    self._finish("")
                self._press(key)
        self._changed = True

    def _edit(self, key: str) -> None:
        if key == "enter":
            self._finish(self._answer)
        elif key == "backspace":
            self._answer = self._answer[:-1]
        elif len(key) == 1:
            self._answer += key

    def _finish(self, answer: str) -> None:
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(answer)

    # --- drawing ---

    def render(self) -> Layout:
        """The whole screen."""
        height = self._console.size.height
        packets = max(4, (height - 9) // 2)
        layout = Layout()
        layout.split_column(
            Layout(self._head(), size=4),
            Layout(self._host_panel(height - 9 - packets), name="hosts", size=max(3, height - 8 - packets)),
            Layout(self._packet_panel(packets), name="packets", size=packets),
            Layout(self._foot(), size=4),
        )
        return layout

    def _head(self) -> Panel:
        facts = self._facts
        text = Text(overflow="ellipsis", no_wrap=True)
        if facts:
            text.append(f"{facts['membership']}", "bold")
            text.append(f"  {facts['mode']}  next: {self._upcoming()}  network: {facts['network'] or 'no addresses'}\n")
            text.append(f"watching: {', '.join(facts['sources'])}")
        return Panel(text, title="insert-ethers", title_align="left")

    def _host_panel(self, rows: int) -> Panel:
        table = Table(box=None, expand=True, pad_edge=False)
        for name, least in (("", 5), ("HOST", 12), ("MAC", 17), ("ADDRESS", 15), ("STAGE", 10)):
            table.add_column(name, min_width=least, no_wrap=True, overflow="ellipsis")
        table.add_column("", ratio=1, no_wrap=True, overflow="ellipsis")
        hosts = list(self._hosts.values())
        last = len(hosts) - self._scroll
        for host, text in hosts[max(0, last - max(1, rows - 2)) : last]:
            colour = "red" if host.outcome == "failed" else "green" if host.stage == "done" else ""
            words = (host.mark, host.name, host.mac, host.address or "-", host.stage, visible(text))
            table.add_row(*(Text(word, colour) for word in words))
        return Panel(table, title=f"new hosts: {len(hosts)}", title_align="left")

    def _packet_panel(self, rows: int) -> Panel:
        table = Table(box=None, expand=True, pad_edge=False, show_header=False)
        for least in (8, 4, 8, 17):
            table.add_column(min_width=least, no_wrap=True, overflow="ellipsis")
        table.add_column(ratio=2, no_wrap=True, overflow="ellipsis")
        table.add_column(ratio=3, no_wrap=True, overflow="ellipsis")
        for seen, verdict in list(self._packets)[-max(1, rows - 2) :]:
            kind = seen.kind or "?"
            said = " ".join(filter(None, (seen.vendor, seen.hostname, seen.firmware)))
            words = (_clock(seen.at), seen.interface or seen.source, kind, seen.mac or "-", said, verdict.text)
            table.add_row(*(Text(word, _COLOURS.get(verdict.code, "magenta")) for word in words))
        return Panel(table, title=f"packets and requests: {self._seen}", title_align="left")

    def _foot(self) -> Text:
        lines = [*self._notes][-2:] if self._asked is not None else [*self._notes]
        if self._asked is not None:
            lines.append(f"{self._question}{self._answer}█")
        text = Text("\n".join([*[""] * (3 - len(lines)), *lines]), overflow="ellipsis", no_wrap=True)
        text.append(f"\n{KEYS}", "bright_black")
        return text


class _Noting(logging.Handler):
    """Shows warnings in the screen instead of across it."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(logging.WARNING)
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        self._screen.note(record.created, record.getMessage())


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))
