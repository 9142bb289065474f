"""How long it takes to register 1,000 hosts with one command, on SQLite and on MariaDB, and to work with them; and what
it costs a running frontend to know 10,000 of them."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from avalanche.adapters.database import Database
from avalanche.adapters.engine import Where
from avalanche.cluster import Appliance, Host, Interface
from lab.contained import run
from lab.mariadb import PASSWORD, USER, MariaDB

RACKS, RANKS = 25, 40
LIMIT_SECONDS = 10.0
KNOWN = 10_000
LIMIT_LOOKUP_US = 50.0
LIMIT_RENEWAL_MS = 100.0
_TREE = Path(__file__).parents[2]


def run_inventory() -> dict[str, float]:
    """Measure whole commands, interpreter and all, and the frontend's view; print and return the figures."""
    figures: dict[str, float] = {}
    server = MariaDB()
    try:
        url = server.make_database()
        address = f"mysql+pymysql://{USER}@127.0.0.1:{server.port}/{url.database}"
        with tempfile.TemporaryDirectory(prefix="avalanche-bench-") as folder:
            figures |= measure_commands("sqlite", Path(folder) / "sqlite", [])
            password = Path(folder) / "password"
            password.write_text(f"{PASSWORD}\n")
            options = ["--database", f"{address}?password_file={password}"]
            figures |= measure_commands("mariadb", Path(folder) / "mariadb", options)
            figures |= _knowing("sqlite", Path(folder) / "known.db")
            figures |= _knowing("mariadb", server.make_database())
    finally:
        server.close()
    for name, figure in figures.items():
        print(f"{name:60} {figure:10.3f}")
    return figures


def measure_commands(engine: str, state: Path, options: Sequence[str], *, racks: int = RACKS) -> dict[str, float]:
    """Return the seconds that commands take which each change, or name, all hosts of so many racks."""
    environment = os.environ | {"AVALANCHE_STATE": str(state)}
    _avalanche(environment, "init", "--address", "127.0.0.1", "--roll", str(_TREE), *options)
    file = state / "hosts.csv"
    lines = ["host,rack,rank,mac,ip,device"]
    count = racks * RANKS
    for number in range(count):
        rack, rank = divmod(number, RANKS)
        lines.append(f"node-{rack}-{rank},{rack},{rank},52:54:00:01:{rack:02x}:{rank:02x},10.2.{rack}.{rank + 1},eno1")
    file.write_text("\n".join(lines) + "\n")
    macs = state / "macs"
    macs.write_text("".join(f"52:54:00:02:{number >> 8:02x}:{number & 255:02x}\n" for number in range(count)))
    _avalanche(environment, "network", "add", "private", "--subnet", "10.1.0.0/16")
    listed = ("--membership", "Compute", "--source", f"list:{macs}")
    commands = {
        "a node set added": ("host", "add", f"compute-[0-{racks - 1}]-[0-{RANKS - 1}]"),
        "a CSV imported": ("host", "import", str(file)),
        "an attribute set on all": ("attr", "set", "color", "red", "--host", "@all"),
        "all moved to a rack": ("host", "set", "@all", "--rack", "7"),
        "selected by SQL": ("host", "list", "--query", "select name from nodes where `rank` = 7"),
        "a list of MACs through insert-ethers": ("ethers", "--batch", "--no-order", *listed),
        "all removed": ("host", "remove", "@all"),
    }
    found: dict[str, float] = {}
    for name, command in commands.items():
        began = time.monotonic()
        _avalanche(environment, *command)
        found[f"{engine}: {count} hosts, {name}, seconds"] = time.monotonic() - began
    return found


def _knowing(engine: str, where: Where) -> dict[str, float]:
    """The frontend's view: processor time, because other processes change the inventory meanwhile."""
    database = Database(where)
    database.migrate()
    hosts = [
        Host(f"compute-{number // 32}-{number % 32}", "compute", number // 32, number % 32, (_card(number),))
        for number in range(KNOWN)
    ]
    with database.transaction() as transaction:
        transaction.add_appliance(Appliance("compute", "compute"))
        transaction.add_hosts(hosts)
    found: dict[str, float] = {}
    began = time.process_time()
    with database.snapshot() as transaction:
        cluster = transaction.cluster()
    found[f"{engine}: {KNOWN} hosts read, CPU ms"] = 1000 * (time.process_time() - began)
    spent = []
    for number in range(20):
        with database.transaction() as transaction:
            (before,) = transaction.hosts([hosts[number].name]).values()
            transaction.change_hosts([(before, replace(before, comment="changed"))])
        began = time.process_time()
        with database.snapshot() as transaction:
            cluster = transaction.cluster(cluster)
        spent.append(time.process_time() - began)
    # The first of them makes the dictionaries that the others renew.
    found[f"{engine}: renewed after a change, CPU ms; limit {LIMIT_RENEWAL_MS:g}"] = 1000 * median(spent[1:])
    hints = [((host.mac or "",), host.address or "") for host in hosts]
    began = time.process_time()
    for macs, address in hints:
        cluster.identify(macs, address)
    seconds = time.process_time() - began
    found[f"{engine}: a host identified, us; limit {LIMIT_LOOKUP_US:g}"] = 1e6 * seconds / KNOWN
    database.close()
    return found


def _card(number: int) -> Interface:
    return Interface(f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}", f"10.1.{number >> 8}.{number & 255}")


def _avalanche(environment: Mapping[str, str], *arguments: str) -> None:
    run([sys.executable, "-m", "avalanche", *arguments], environment=environment)
