"""How long it takes to register 1,000 hosts with one command, on SQLite and on MariaDB, and to work with them."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from lab.contained import run
from lab.mariadb import PASSWORD, USER, MariaDB

HOSTS = 1000
LIMIT_SECONDS = 10.0
_TREE = Path(__file__).parents[2]


def run_inventory() -> dict[str, float]:
    """Measure whole commands, interpreter and all; print and return seconds."""
    figures: dict[str, float] = {}
    server = MariaDB()
    try:
        url = server.make_database()
        address = f"mysql+pymysql://{USER}@127.0.0.1:{server.port}/{url.database}"
        with tempfile.TemporaryDirectory(prefix="avalanche-bench-") as folder:
            figures |= _measure("sqlite", Path(folder) / "sqlite", [])
            password = Path(folder) / "password"
            password.write_text(f"{PASSWORD}\n")
            options = ["--database", f"{address}?password_file={password}"]
            figures |= _measure("mariadb", Path(folder) / "mariadb", options)
    finally:
        server.close()
    for name, seconds in figures.items():
        print(f"{name:50} {seconds:10.3f}")
    return figures


def _measure(engine: str, state: Path, options: list[str]) -> dict[str, float]:
    os.environ["AVALANCHE_STATE"] = str(state)
    _avalanche("init", "--address", "127.0.0.1", "--roll", str(_TREE), *options)
    file = state / "hosts.csv"
    lines = ["host,rack,rank,mac,ip,device"]
    for number in range(HOSTS):
        rack, rank = divmod(number, 32)
        lines.append(f"node-{rack}-{rank},{rack},{rank},52:54:00:01:{rack:02x}:{rank:02x},10.2.{rack}.{rank + 1},eno1")
    file.write_text("\n".join(lines) + "\n")
    macs = state / "macs"
    macs.write_text("".join(f"52:54:00:02:{number >> 8:02x}:{number & 255:02x}\n" for number in range(HOSTS)))
    _avalanche("network", "add", "private", "--subnet", "10.1.0.0/16")
    commands = {
        "a node set added": ("host", "add", "compute-[0-31]-[0-31]"),
        "a CSV imported": ("host", "import", str(file)),
        "an attribute set on all": ("attr", "set", "color", "red", "--host", "@all"),
        "all moved to a rack": ("host", "set", "@all", "--rack", "7"),
        "selected by SQL": ("host", "list", "--query", "select name from nodes where `rank` = 7"),
        "a list of MACs through insert-ethers": ("ethers", "--batch", "--no-order", "--source", f"list:{macs}"),
        "all removed": ("host", "remove", "@all"),
    }
    found: dict[str, float] = {}
    for name, command in commands.items():
        began = time.monotonic()
        _avalanche(*command)
        found[f"{engine}: {HOSTS} hosts, {name}, seconds"] = time.monotonic() - began
    return found


def _avalanche(*arguments: str) -> None:
    run([sys.executable, "-m", "avalanche", *arguments])
