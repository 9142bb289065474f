"""A program that registers machines until it is killed: ``python -m tests.registering DATABASE COUNT``."""

from __future__ import annotations

import sys
import time
from ipaddress import IPv4Network
from pathlib import Path

from sqlalchemy import make_url

from avalanche.adapters.database import Database, DatabaseBusy
from avalanche.adapters.engine import Where
from avalanche.adapters.registrar import Registrar, Terms
from avalanche.allotment import Wanted
from avalanche.ethers import Sighting

NETWORK = IPv4Network("10.1.0.0/16")
GENERATION = "g-5d41402abc4b2a76"


def seen(number: int) -> Sighting:
    mac = f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}"
    return Sighting(time.time(), "list", "LISTED", mac)


def text_of(where: Where) -> str:
    """A database as an argument of this program."""
    return str(where) if isinstance(where, Path) else where.render_as_string(hide_password=False)


def main(text: str, count: int) -> None:
    where: Where = Path(text) if text.startswith("/") else make_url(text)
    registrar = Registrar(
        Database.open(where),
        Wanted("Compute", "compute", network=NETWORK),
        network="private",
        generation_of=lambda cluster, host: GENERATION,
        terms=Terms(3600.0, 3, "auto"),
    )
    print("ready", flush=True)
    known = registrar.known()
    todo = [one for one in map(seen, range(count)) if one.mac not in known]
    size = 1
    while todo:
        try:
            registrar.register(todo[:size], now=time.time())
        except DatabaseBusy:
            continue
        todo = todo[size:]
        size = size % 23 + 1  # groups of every size


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
