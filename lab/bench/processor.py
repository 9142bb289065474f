"""What a relay cannot do without: processor seconds of one host that takes 32 MB at 24 Mbit/s and passes them on, with
nothing of the agent's in it, one step more each time. The agent's own are in every cell with hosts.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from lab.bench.bare import BLOCK, PORT
from lab.contained import CommandFailed, dependent, run
from lab.network import FRONTEND_ADDRESS, Link, Network, host_address

SIZE = 32_000_000 // BLOCK * BLOCK
RATE_MBIT = 24
STEPS = ("hash", "write", "send")
_PROGRAM = (sys.executable, "-I", "-S", str(Path(__file__).with_name("bare.py")))
_ENOUGH_SECONDS = 120.0


def run_processor() -> dict[str, float]:
    """Measure, print, and return the figures."""
    figures = {"take 32 MB in blocks of 16 KiB, in Python (CPU s)": relay_seconds(SIZE, ())}
    for number, step in enumerate(STEPS):
        figures[f"  and {step} them (CPU s)"] = relay_seconds(SIZE, STEPS[: number + 1])
    for name, value in figures.items():
        print(f"{name:60} {value:10.3f}")
    return figures


def relay_seconds(size: int, steps: Sequence[str]) -> float:
    """Processor seconds of a host that takes ``size`` bytes, whole blocks, and does with them what ``steps`` say.

    Raises:
        CommandFailed: it did not get all of them, or the next host did not.
    """
    addresses = {"sender": FRONTEND_ADDRESS, "relay": host_address(0), "sink": host_address(1)}
    with ExitStack() as stack:
        network = stack.enter_context(Network([Link(name, each, RATE_MBIT) for name, each in addresses.items()]))

        def command(name: str, *words: str) -> list[str]:
            return dependent(*network.namespace(name).command(*_PROGRAM, *words))

        def start(name: str, *words: str) -> subprocess.Popen[bytes]:
            process = stack.enter_context(subprocess.Popen(command(name, *words)))
            stack.callback(process.kill)
            return process

        start("sender", "send", str(PORT), str(size))
        sink = start("sink", "sink", str(addresses["relay"]), str(PORT), str(size)) if "send" in steps else None
        relay = command("relay", "relay", str(addresses["sender"]), str(PORT), str(size), *steps)
        seconds = float(run(relay, timeout=_ENOUGH_SECONDS))
        if sink is not None and sink.wait(timeout=_ENOUGH_SECONDS):
            raise CommandFailed("the next host did not get all bytes")
        return seconds
