"""The lab's hosts become hosts of the cluster as real machines do: they ask by DHCP, and insert-ethers sees them."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.contained import CommandFailed, dependent, run
from lab.frontend import Frontend
from lab.host import Host
from lab.network import Network

# The clients take turns; each calls a script with what it was given.
CLIENTS = (
    ("udhcpc", "-f", "-n", "-q", "-t", "30", "-T", "1", "-i", "eth0", "-V", "PXEClient:lab", "-s"),
    ("dhcpcd", "-4", "-A", "-1", "-p", "-t", "60", "eth0", "-c"),
)
_SCRIPT = """#!/bin/sh
case "$1$reason" in bound | BOUND) echo "${{ip:-$new_ip_address}}" > {answer} ;; esac
exit 0
"""
# dhcpcd keeps its lease in a file: with one, it would not begin with a DISCOVER.
_OWN = "mkdir -p /run/dhcpcd; for folder in /var/lib/dhcpcd /run/dhcpcd; do mount -t tmpfs tmpfs $folder; done"
_SECONDS = 90.0


class InsertEthers:
    """A running ``insert-ethers --json`` in the frontend's namespace."""

    def __init__(self, frontend: Frontend, log: Path, *options: str) -> None:
        self._log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                dependent(*frontend.inside("ethers", "--json", *options)),
                stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            )  # fmt: skip
        self.wait_for("start", 1)

    def rows(self, event: str) -> list[dict[str, Any]]:
        """What it told so far."""
        rows = [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]
        return [row for row in rows if row["event"] == event]

    def wait_for(self, event: str, count: int) -> None:
        """Wait until it has told so many things.

        Raises:
            CommandFailed: it did not, with its last line.
        """
        deadline = time.monotonic() + _SECONDS
        while len(self.rows(event)) < count:
            if time.monotonic() > deadline or (self._process.poll() not in (None, 0)):
                raise CommandFailed(f"insert-ethers: {self._log.read_text().strip().splitlines()[-1:]}")
            time.sleep(0.05)

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


def register(frontend: Frontend, network: Network, hosts: Sequence[Host], folder: Path, *, plane: str) -> None:
    """Let every host ask by DHCP, one kind of them after the other, in their order, and see that each gets its address.

    Raises:
        CommandFailed: a host is not registered as the lab counts, or got another address.
    """
    for appliance, rack in dict.fromkeys((host.appliance, host.link.rack) for host in hosts):
        kind = [host for host in hosts if (host.appliance, host.link.rack) == (appliance, rack)]
        options = ("--membership", appliance.capitalize(), "--rack", str(rack), "--count", str(len(kind)))
        log = folder / f"insert-ethers-{appliance}-{rack}.log"
        ethers = InsertEthers(frontend, log, *options, "--plane", plane)
        try:
            for number, host in enumerate(kind):
                given = _ask(network, host, CLIENTS[number % 2], folder)
                ethers.wait_for("registered", number + 1)
                _check(host, ethers.rows("registered")[number], given)
        finally:
            ethers.close()


def _ask(network: Network, host: Host, client: Sequence[str], folder: Path) -> str:
    """Let a host ask until it has an address; returns that."""
    script, answer = folder / f"dhcp-{host.name}", folder / f"address-{host.name}"
    script.write_text(_SCRIPT.format(answer=answer))
    script.chmod(0o755)
    network.take_address(host.name)
    line = f'{_OWN}; exec "$0" "$@"'
    command = network.namespace(host.name).command("unshare", "--mount", "sh", "-c", line, *client, str(script))
    run(dependent(*command), timeout=_SECONDS)
    # What the client set up is right and lasts as long as its lease; the lab's links last, and measure alike.
    network.give_address(host.name)
    return answer.read_text().strip()


def _check(host: Host, row: dict[str, Any], given: str) -> None:
    wanted = (host.name, host.link.mac, str(host.link.address), str(host.link.address))
    if (row["host"], row["mac"], row["address"], given) != wanted or row["order"] is None:
        raise CommandFailed(f"{host.name} was registered as {row}, and DHCP gave it {given}")
