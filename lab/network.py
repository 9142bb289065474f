"""Network namespaces and shaped links. Nothing has a name in the kernel's tables, and so nothing can be left behind:
a namespace lives as long as the process that holds it, and that dies with us.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from lab.contained import dependent, run

FRONTEND_ADDRESS = IPv4Address("10.1.1.1")
PREFIX = 16
_LAST_ADDRESS = IPv4Address("10.1.255.254")
# A veth carries 64 KiB in one piece, and tbf counts the headers of its segments too: a smaller bucket takes it apart.
# What a full bucket gets is lost, and it is nearly full before each such piece. With room for one, timers that came a
# millisecond late on a busy machine cost up to a twentieth of a link with one connection; many have smaller pieces.
_BURST = 2 * 72_000
# A fast link sends more than that within a clock tick.
_TICK = 1 / 250


@dataclass(frozen=True, slots=True)
class Link:
    """One machine's link to the switch of its rack; both ways run at ``rate_mbit``."""

    name: str
    address: IPv4Address
    rate_mbit: float
    rack: int = 0

    @property
    def mac(self) -> str:
        """The address of the machine's ``eth0``: locally administered, and telling its IP address."""
        return "02:00:" + ":".join(f"{byte:02x}" for byte in self.address.packed)


def host_address(index: int) -> IPv4Address:
    """Return the address of host number ``index`` (from 0): from the top of the network down, as Rocks does."""
    return _LAST_ADDRESS - index


def shaping(device: str, rate_mbit: float, *, change: bool = False) -> str:
    """Return the ``tc`` line that shapes what leaves a device."""
    tick = int(rate_mbit * 1e6 / 8 * _TICK)
    verb = "change" if change else "add"
    bits = int(rate_mbit * 1e6)
    return f"qdisc {verb} dev {device} root tbf rate {bits}bit burst {max(_BURST, tick)} limit {max(_BURST, 2 * tick)}"


class Namespace:
    """A network namespace, held by a process of ours."""

    def __init__(self, name: str) -> None:
        self.name = name
        # The holder says a line when it is inside, so that nobody enters too early.
        script = "ip link set lo up && echo inside && exec sleep infinity"
        self._holder = subprocess.Popen(
            dependent("unshare", "--net", "sh", "-c", script),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "inside\n":
            self.close()
            raise OSError(f"cannot make the network namespace {name}")

    def __repr__(self) -> str:
        return f"<Namespace {self.name} pid={self.pid}>"

    @property
    def pid(self) -> int:
        return self._holder.pid

    def command(self, *command: str) -> list[str]:
        """Return the command so that it runs inside."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", *command]

    def batch(self, program: str, lines: Iterable[str]) -> None:
        """Run lines of ``ip`` or ``tc`` inside."""
        run(dependent(*self.command(program, "-batch", "-")), text="\n".join(lines) + "\n")

    def close(self) -> None:
        """Let go; the namespace ends with the last process in it."""
        self._holder.kill()
        self._holder.wait()
        if self._holder.stdout is not None:
            self._holder.stdout.close()


class Network:
    """A switch for every rack, all in a namespace of their own, and one namespace per machine behind a shaped link.

    Args:
        links: the machines; names and addresses differ.
        trunk_mbit: rate of the trunk between the switch of another rack and that of rack 0, each way.
    """

    def __init__(self, links: Sequence[Link], *, trunk_mbit: float | None = None) -> None:
        self.links = {link.name: link for link in links}
        self._trunk_mbit = trunk_mbit
        self._racks = sorted({0, *(link.rack for link in links)})
        self._ports = {link.name: f"port{index}" for index, link in enumerate(links)}
        self._namespaces: dict[str, Namespace] = {}
        try:
            self._switch = self._namespaces["switch"] = Namespace("switch")
            for link in links:
                self._namespaces[link.name] = Namespace(link.name)
            self._connect()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<Network {len(self.links)} links>"

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Take everything down."""
        for namespace in self._namespaces.values():
            namespace.close()

    def namespace(self, name: str) -> Namespace:
        return self._namespaces[name]

    def _connect(self) -> None:
        lines = []
        for rack in self._racks:
            lines += [f"link add br{rack} type bridge", f"link set br{rack} up"]
        for rack in self._racks[1:]:
            lines.append(f"link add down{rack} type veth peer name up{rack}")
            lines += [f"link set down{rack} master br0 up", f"link set up{rack} master br{rack} up"]
        for name, link in self.links.items():
            port, pid = self._ports[name], self._namespaces[name].pid
            lines.append(f"link add {port} type veth peer name eth0 address {link.mac} netns {pid}")
            lines.append(f"link set {port} master br{link.rack} up")
        self._switch.batch("ip", lines)
        shaped = [shaping(self._ports[name], link.rate_mbit) for name, link in self.links.items()]
        if self._trunk_mbit is not None:
            ends = [f"{end}{rack}" for rack in self._racks[1:] for end in ("down", "up")]
            shaped += [shaping(end, self._trunk_mbit) for end in ends]
        self._switch.batch("tc", shaped)
        for name in self.links:
            self.give_address(name)
            self._namespaces[name].batch("tc", [shaping("eth0", self.links[name].rate_mbit)])

    def take_address(self, name: str) -> None:
        """Leave a machine without an address, as one that was just switched on."""
        self._namespaces[name].batch("ip", ["address flush dev eth0", "route flush dev eth0"])

    def give_address(self, name: str) -> None:
        """Give a machine its address, its route and its neighbours, whatever was there."""
        link, namespace = self.links[name], self._namespaces[name]
        others = [other for other in self.links.values() if other.name != name]
        # The machine's own congestion control may be another one; figures are to be comparable. A property of the route
        # needs no change of the machine's settings, which may not allow cubic in namespaces.
        network = IPv4Network((link.address, PREFIX), strict=False)
        lines = [
            "address flush dev eth0",
            f"address add {link.address}/{PREFIX} broadcast + dev eth0 noprefixroute",
            "link set eth0 up",
        ]
        lines.append(f"route replace {network} dev eth0 src {link.address} congctl cubic")
        # One table of neighbours serves all namespaces and is too small for many; permanent entries do not count in it.
        lines += [f"neigh replace {other.address} lladdr {other.mac} dev eth0 nud permanent" for other in others]
        namespace.batch("ip", lines)

    def slow_down(self, name: str, rate_mbit: float, *, only_up: bool = False) -> None:
        """Give a machine's link another rate, or only its way out."""
        namespace = self._namespaces[name]
        namespace.batch("tc", [shaping("eth0", rate_mbit, change=True)])
        if not only_up:
            self._switch.batch("tc", [shaping(self._ports[name], rate_mbit, change=True)])

    def counters(self) -> dict[str, tuple[int, int]]:
        """Return bytes received and sent by each machine since its link exists."""
        ports = {port: name for name, port in self._ports.items()}
        # A machine receives what its port of the switch sends.
        return {ports[device]: (sent, received) for device, received, sent in self._devices() if device in ports}

    def trunks(self) -> dict[int, tuple[int, int]]:
        """Return, for each rack but 0, bytes that its trunk carried into the rack and out of it."""
        ends = {f"up{rack}": rack for rack in self._racks[1:]}
        return {ends[device]: (received, sent) for device, received, sent in self._devices() if device in ends}

    def _devices(self) -> Iterator[tuple[str, int, int]]:
        """Yield name, bytes received and bytes sent of every device of the switches."""
        # /proc/net is that of who looks, and the thread that holds the namespace looks for ever.
        for line in Path(f"/proc/{self._switch.pid}/net/dev").read_text().splitlines():
            device, colon, rest = line.partition(":")
            if colon:
                fields = rest.split()
                yield device.strip(), int(fields[0]), int(fields[8])


def processors() -> tuple[int, int]:
    """Return ticks the processors were busy, and all ticks, since the machine started."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)
