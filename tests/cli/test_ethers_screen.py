"""insert-ethers' screen, for real: in a terminal multiplexer, with a server's log as its source and typed keys."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from avalanche.adapters.state import State
from avalanche.cli.ethers_screen import read_keys
from tests.frontend.rig import avalanche

MAC = "52:54:00:00:00:{:02x}"
DISCOVER = "Nov 21 15:01:00 dnsmasq-dhcp[7]: 19 DHCPDISCOVER(eth0) {} \n"


class Terminal:
    """A terminal of its own multiplexer server; ``width`` x ``height`` characters."""

    def __init__(self, folder: Path, command: str, *, width: int = 130, height: int = 32) -> None:
        self._socket = folder / "tmux"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height), command)
        self._tmux("set-option", "-g", "remain-on-exit", "on")

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-u", "-S", str(self._socket), *arguments], capture_output=True, text=True, check=False
        )
        return done.stdout

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def resize(self, width: int, height: int) -> None:
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def text(self) -> str:
        return self._tmux("capture-pane", "-p")

    def wait(self, what: str | Callable[[str], object], seconds: float = 40.0) -> str:
        """Wait until the screen shows something; returns it."""
        deadline = time.monotonic() + seconds
        while True:
            text = self.text()
            if (what in text) if isinstance(what, str) else what(text):
                return text
            assert time.monotonic() < deadline, f"{what} is not on the screen:\n{text}"
            time.sleep(0.1)

    def close(self) -> None:
        self._tmux("kill-server")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "dnsmasq.log"
    path.touch()
    return path


@pytest.fixture
def start(state: State, log: Path, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    avalanche("network", "add", "private", "--subnet", "10.1.0.0/16")
    terminals = []

    def begin(*options: str) -> Terminal:
        command = [sys.executable, "-m", "avalanche", "ethers", "--state", str(state.root)]
        line = " ".join([*command, "--source", f"dnsmasq:{log}", *options])
        terminals.append(Terminal(tmp_path, f"{line}; echo exit $?; sleep 600"))
        return terminals[-1]

    yield begin
    for terminal in terminals:
        terminal.close()


def ask(log: Path, *numbers: int) -> None:
    with log.open("a") as file:
        for number in numbers:
            file.write(DISCOVER.format(MAC.format(number)))


def test_the_screen_shows_every_packet_its_reason_and_each_hosts_way(
    start: Callable[..., Terminal], log: Path, state: State
) -> None:
    terminal = start()
    terminal.wait("next: compute-0-0")
    ask(log, 1, 2)
    text = terminal.wait(lambda text: "compute-0-1" in text and "new hosts: 2" in text)
    assert re.search(r"\( \) +compute-0-0 +52:54:00:00:00:01 +10\.1\.255\.254 +registered", text), text
    ask(log, 1)
    terminal.wait(re.compile(r"DISCOVER +52:54:00:00:00:01 +it is compute-0-0").search)
    terminal.press("q")
    terminal.wait("not kickstarted, please wait: compute-0-0, compute-0-1")
    terminal.press("p")
    terminal.wait("registration is paused")
    ask(log, 3)
    terminal.wait("registration is paused (p: go on)")
    terminal.press("p", "r")
    terminal.wait("new hosts go to rack 1")
    terminal.resize(90, 20)
    ask(log, 3)
    text = terminal.wait("new hosts: 3")
    assert re.search(r"\( \) +compute-1-0 +52:54:00:00:00:03 +10\.1\.255\.252", text), text
    assert max(map(len, text.splitlines())) == 90
    terminal.press("F9")
    text = terminal.wait("exit 0")
    assert "( ) compute-0-1  52:54:00:00:00:02  10.1.255.253" in text
    assert "3 registered; ended by the operator" in text


def test_an_address_is_asked_for_and_a_wrong_one_asked_again(start: Callable[..., Terminal], log: Path) -> None:
    terminal = start("--staticip", "--no-order")
    terminal.wait("next: compute-0-0")
    ask(log, 1)
    terminal.wait("address of 52:54:00:00:00:01")
    terminal.press("1", "0", ".", "x", "Enter")
    terminal.wait("'10.x' is not an IP address")
    terminal.press(*"10.1.7.88", "BSpace", "Enter")
    terminal.wait(re.compile(r"compute-0-0 +52:54:00:00:00:01 +10\.1\.7\.8 ").search)
    ask(log, 2)
    terminal.wait("address of 52:54:00:00:00:02")
    terminal.press(*"10.1.7.8", "Enter")
    terminal.wait("address 10.1.7.8 belongs to compute-0-0")
    terminal.press("q")
    terminal.wait("exit 0")


def test_in_ordered_mode_a_key_lets_the_next_host_pass(start: Callable[..., Terminal], log: Path) -> None:
    terminal = start("--ordered")
    terminal.wait("next: compute-0-0")
    ask(log, 1, 2)
    terminal.wait("new hosts: 1")
    ask(log, 3)
    terminal.wait("waits until compute-0-0 asks for its kickstart")
    terminal.press("n")
    terminal.wait("new hosts: 2")
    terminal.press("C-c")
    terminal.wait("exit 0")


def test_keys_are_read_from_what_terminals_send() -> None:
    assert read_keys(b"q\x1b[19~\x1b[20~p\x1b[A\x1bOB\r\x7f\x03") == [
        "q", "f8", "f9", "p", "up", "down", "enter", "backspace", "ctrl-c",
    ]  # fmt: skip
    assert read_keys(b"\x1b[1;5Cx\xc3\xa4\x00\x1b") == ["x"]
