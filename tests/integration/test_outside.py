"""Installing hosts as a stranger, a neighbour and the kernel see them: what they open, serve, refuse, and leave behind.

Three hosts with a tracker of its own; the third boots while the frontend is busy, and all run under strace.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from avalanche.tokens import SwarmToken, Ticket, peer_key, sign_ticket, sign_token
from lab.cluster import ROLLS, Cluster
from lab.contained import dependent, run
from lab.demo import judge
from lab.display import HostView
from lab.frontend import TRACKER_PORT
from lab.host import Host, Roots
from lab.network import FRONTEND_ADDRESS
from lab.result import HostResult
from lab.settings import Settings
from tests.integration import strace
from tests.integration.traces import listening

pytestmark = pytest.mark.lab

VAR = Path(__file__).resolve().parents[2] / "var" / "test"
SMALL = Path(__file__).with_name("roll")
BUSY = 12
"""More downloads of the bundle than a frontend serves at once."""

ASK = """
import http.client, json, sys
answers = []
for host, port, method, target, headers, body in json.load(sys.stdin):
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        answers.append([answer.status, answer.read(2000).decode("latin-1").strip(), answer.headers.get("Location", "")])
    except (OSError, http.client.HTTPException) as error:
        answers.append([0, type(error).__name__, ""])
    connection.close()
print(json.dumps(answers))
"""
HOLD_BUNDLES = """
import socket, sys
lines = []
for _ in range(int(sys.argv[3])):
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    line.connect((sys.argv[1], 80))
    # One bundle would fit into the buffers between us, and the answer be over; sixty do not.
    line.sendall(60 * f"GET /install/bundle/{sys.argv[2]} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n".encode())
    lines.append(line)
print("busy", flush=True)
sys.stdin.read()
"""


@dataclass
class Site:
    """The installation when it is over, and what was seen meanwhile."""

    cluster: Cluster
    orders: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    listened: set[str] = field(default_factory=set)
    answers: dict[str, list[list[Any]]] = field(default_factory=dict)
    results: list[HostResult] = field(default_factory=list)

    @property
    def hosts(self) -> list[Host]:
        return self.cluster.hosts

    @property
    def key(self) -> bytes:
        return bytes.fromhex((self.cluster.frontend.state / "swarm.key").read_text().strip())

    def token(self, host: Host, *, seconds: int = 600) -> str:
        generation = self.cluster.generation.id
        expires = int(time.time()) + seconds
        order = self.orders[host.name]
        return sign_token(self.key, SwarmToken(order, host.name, "0", str(host.link.address), generation, expires))

    def ticket(self, parent: Host, child: Host, *, seconds: int = 600) -> str:
        generation, expires = self.cluster.generation.id, int(time.time()) + seconds
        ticket = Ticket(self.orders[child.name], child.name, str(child.link.address), generation, expires)
        return sign_ticket(peer_key(self.key, self.orders[parent.name]), ticket)

    def ask(self, name: str, *questions: Sequence[object]) -> list[list[Any]]:
        """Ask over HTTP from the machine ``name``."""
        command = self.cluster.network.namespace(name).command(sys.executable, "-c", ASK)
        found: list[list[Any]] = json.loads(run(dependent(*command), text=json.dumps(questions), timeout=120))
        return found

    def peer(self, host: Host, target: str, ticket: str = "", *, method: str = "GET") -> list[object]:
        headers = {"Authorization": f"Bearer {ticket}"} if ticket else {}
        return [str(host.link.address), self.ports[host.name], method, target, headers, None]

    def look_up(self, token: str, *, state: str = "fetching") -> list[object]:
        row = {"version": 1, "attempt": "0" * 16, "port": 4000, "state": state, "received": 0}
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return [str(FRONTEND_ADDRESS), TRACKER_PORT, "POST", "/lookup", headers, json.dumps(row)]

    def timeline(self, host: Host, word: str) -> list[str]:
        events = self.cluster.frontend.events(host.name)
        return [event["text"] for event in events if word in (event["status"], event["text"].split(" ")[0])]

    def processes(self, host: Host) -> dict[int, strace.Process]:
        return strace.read(host.folder.parent / f"{host.name}.strace")


def wait_for(holds: Callable[[], object], *, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.1)


@contextmanager
def busy(site: Site, bundle: str) -> Iterator[None]:
    """Keep the frontend serving bundles to clients that read nothing. Over the network: loopback takes all at once."""
    words = (sys.executable, "-c", HOLD_BUNDLES, str(FRONTEND_ADDRESS), bundle, str(BUSY))
    command = dependent(*site.cluster.network.namespace(site.hosts[1].name).command(*words))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"busy\n"
        yield
        process.kill()


def boot(site: Site) -> None:
    """Two hosts as usual; the third gets the bundle from one of them."""
    cluster, (first, second, third) = site.cluster, site.hosts
    for host in site.hosts:
        host.watch = strace.command(host.folder.parent / f"{host.name}.strace")
    for host in (first, second):
        host.folder.parent.mkdir(parents=True, exist_ok=True)
        cluster.start_host(host)
    cluster.wait_until_ready(lambda _: None)
    smallest = min(cluster.closure(first).entries, key=lambda entry: entry.size)
    for host in (first, second):
        # No tracker hears of a host that holds its prefetch back before its first question.
        (answer,) = site.ask(host.name, ["127.0.0.1", 7070, "GET", "/" + quote(smallest.path), {}, None])
        assert answer[0] == 200
    order = Path(f"/proc/{first._first_process()}/root/run/avalanche/order.json")
    bundle = json.loads(order.read_text())["bundle"]
    with busy(site, bundle):
        asked = [str(FRONTEND_ADDRESS), 80, "GET", f"/install/bundle/{bundle}", {}, None]
        wait_for(lambda: site.ask(first.name, asked)[0][0] == 307)
        cluster.start_host(third)
        cluster.wait_until_ready(lambda _: None)
    for host in site.hosts:
        host.write_agent_pid()
        site.ports[host.name] = peer_port(host)


def peer_port(host: Host) -> int:
    """The port on which a host serves others."""
    own = bytes(reversed(host.link.address.packed)).hex().upper()
    process = (host.folder / "agent.pid").read_text().strip()
    rows = [line.split() for line in Path(f"/proc/{process}/net/tcp").read_text().splitlines()[1:]]
    (port,) = {int(row[1].partition(":")[2], 16) for row in rows if row[3] == "0A" and row[1].startswith(own)}
    return port


def attack(site: Site) -> None:
    """What a neighbour may try, from its own address and with what it may have overheard."""
    parent, child, thief = site.hosts
    things = [entry.sha256 for entry in site.cluster.closure(parent).entries]
    good = site.ticket(parent, child)
    held = f"/object/{things[0]}"
    asked = [site.peer(parent, f"/object/{thing}", good, method="HEAD") for thing in things[:20]]
    site.answers["good"] = site.ask(child.name, *asked)
    site.answers["nothing but objects"] = site.ask(
        child.name,
        *(
            site.peer(parent, target, good)
            for target in (
                "/", "/etc/passwd", "/../../etc/passwd", "/object/../../etc/passwd", "/run/avalanche/order.json",
                "/object/" + "0" * 64, held.upper(), held + "/", held[:-1], "/object/%2e%2e/%2e%2e/etc/passwd",
                "/install/profile", "/" + site.cluster.closure(parent).entries[0].path,
            )
        ),
        *(site.peer(parent, held, good, method=method) for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH")),
    )  # fmt: skip
    site.answers["ticket refused"] = [
        *site.ask(thief.name, site.peer(parent, held, good)),
        *site.ask(
            child.name,
            site.peer(parent, held),
            site.peer(parent, held, good[:-6] + "AAAAAA"),
            site.peer(parent, held, site.ticket(child, child)),
            site.peer(parent, held, site.ticket(parent, child, seconds=-60)),
        ),
    ]
    stolen = site.token(child)
    site.answers["token refused"] = site.ask(
        thief.name,
        site.look_up(stolen),
        site.look_up(stolen, state="leaving"),
        site.look_up(site.token(thief)[:-6] + "AAAAAA"),
        site.look_up(site.token(thief, seconds=-60)),
        site.look_up(""),
    )
    announce = f"info_hash={'a' * 20}&peer_id={'b' * 20}&port=4000&left=0&event=stopped"
    target = f"/announce?token={stolen}&{announce}"
    site.answers["announce refused"] = site.ask(
        thief.name, [str(FRONTEND_ADDRESS), TRACKER_PORT, "GET", target, {}, None]
    )


@pytest.fixture(scope="module")
def site(repository: Path, roots: Roots) -> Iterator[Site]:
    settings = Settings(hosts=3, rate_mbit=200, mode="download")
    with Cluster(
        settings, VAR / "outside", repository=repository, roots=roots, rolls=[*ROLLS, SMALL], tracker_alone=True
    ) as cluster:
        cluster.prepare()
        site = Site(cluster, {row["host"]: row["order"] for row in cluster.frontend.facts("order", "list")})
        boot(site)
        attacked: list[bool] = []

        def look(views: Sequence[HostView], seconds: float) -> None:
            for host in site.hosts:
                pid = host.folder / "agent.pid"
                if pid.exists():
                    site.listened |= listening(pid.read_text().strip(), str(host.link.address))
            # In the middle of the load: something is held, and something is not.
            if not attacked and views[0].bytes_in > 4_000_000:
                attacked.append(True)
                attack(site)

        site.results = judge(cluster, cluster.install(look))
        assert attacked
        wait_for(lambda: all(process.ended for host in site.hosts for process in site.processes(host).values()))
        yield site


def test_every_host_has_its_closure_although_it_was_attacked(site: Site) -> None:
    assert [(result.verified, result.problem) for result in site.results] == [(True, "")] * 3


def test_nothing_listens_but_the_proxy_and_the_peer_port(site: Site) -> None:
    assert site.listened == {"proxy", "peer port"}


def test_a_peer_serves_objects_of_its_manifest_and_nothing_else(site: Site) -> None:
    assert {status for status, _, _ in site.answers["good"]} <= {200, 503}
    assert 200 in {status for status, _, _ in site.answers["good"]}
    assert {status for status, _, _ in site.answers["nothing but objects"]} == {404}


def test_a_ticket_is_good_for_one_child_at_one_address_for_a_while(site: Site) -> None:
    parent, child, thief = site.hosts
    assert [status for status, _, _ in site.answers["ticket refused"]] == [403] * 5
    told = site.timeline(parent, "refused")
    replayed = f"the ticket is for {child.link.address}, and came from {thief.link.address}"
    assert f"refused {thief.link.address}: {replayed}" in told
    assert any(line.startswith(f"refused {child.link.address}: ") for line in told)


def test_a_token_is_good_for_one_host_and_who_uses_another_s_is_named(site: Site) -> None:
    _, child, thief = site.hosts
    assert [status for status, _, _ in site.answers["token refused"]] == [403] * 5
    assert "failure reason" in site.answers["announce refused"][0][1]
    told = site.timeline(thief, "refused")
    where = f"{thief.name} at {thief.link.address} refused: "
    stolen = f"the token is for {child.link.address}, and came from {thief.link.address}"
    assert told.count(f"lookup from {where}{stolen}") == 2
    assert f"announce from {where}{stolen}" in told
    assert any(line.startswith(f"lookup from {where}the token's signature is wrong") for line in told)
    assert any(f"the token of {thief.name} expired" in line for line in told)
    assert not site.timeline(child, "refused")


def test_a_busy_frontend_lets_hosts_give_each_other_the_bundle(site: Site) -> None:
    first, second, third = site.hosts
    # Before an agent runs there, the stub's script speaks to the frontend, and to the host that has the bundle.
    (stub,) = [
        process for process in site.processes(third).values() if any("agent.pyz.new" in call for call in process.calls)
    ]
    places = {(str(host.link.address), site.ports[host.name]) for host in (first, second)}
    assert connected(stub) & places


OPENED = re.compile(r'(?:open|openat|openat2|creat)\((?P<folder>\w+, )?"(?P<path>[^"]*)"(?:\.\.\.)?, (?P<flags>[^,)]*)')
OWN = (
    r"/run/avalanche(/.*)?", r"/tmp/avalanche-cache(/.*)?", r"/mnt/sysroot/var/cache/avalanche(/.*)?",
    r"[0-9]{6}-[^/]+\.object",
)  # fmt: skip
"""The agent's own folder and cache; objects are opened by their name in the cache's directory."""
SYSTEM = (
    r"/usr/lib/.*", r"/usr/local/lib/python3.*", r"/lib/.*", r"/etc/ld\.so\.cache", r"/etc/localtime",
    r"/etc/ssl/openssl\.cnf", r"(/usr(/bin)?)?/pyvenv\.cfg", r"/usr/bin/python3.*",
    r"/usr/bin/pybuilddir\.txt", r"/usr/share/locale/locale\.alias",
    r"/proc/self/mountinfo", r"/proc/meminfo", r"/dev/null", r"/dev/urandom",
)  # fmt: skip
"""Python and its libraries, OpenSSL's own, and what the kernel says about memory and mounts."""


def agent(site: Site, host: Host) -> strace.Process:
    (found,) = strace.running(site.processes(host), "/run/avalanche/agent.pyz", "agent")
    return found


def connected(process: strace.Process) -> set[tuple[str, int]]:
    """Where a process connected to over IP."""
    found = set()
    for call in process.calls:
        place = re.match(r'connect\(.*sin_port=htons\((\d+)\), sin_addr=inet_addr\("([^"]+)"\)', call)
        if place is not None:
            found.add((place[2], int(place[1])))
    return found


@pytest.mark.parametrize("number", range(3))
def test_an_agent_opens_only_what_is_its_own_and_python_s(site: Site, number: int) -> None:
    opened = [OPENED.match(call) for call in agent(site, site.hosts[number]).calls]
    found = {(match["path"], match["flags"]) for match in opened if match is not None}
    assert len(found) > 100
    strange = {path for path, _ in found if not any(re.fullmatch(form, path) for form in (*OWN, *SYSTEM))}
    assert not strange
    written = {path for path, flags in found if "O_WRONLY" in flags or "O_RDWR" in flags or "O_CREAT" in flags}
    assert {path for path in written if not any(re.fullmatch(form, path) for form in OWN)} <= {"/dev/null"}


@pytest.mark.parametrize("number", range(3))
def test_an_agent_speaks_to_frontend_tracker_and_peers_alone(site: Site, number: int) -> None:
    host = site.hosts[number]
    process = agent(site, host)
    peers = {(str(other.link.address), site.ports[other.name]) for other in site.hosts if other is not host}
    frontend = {(str(FRONTEND_ADDRESS), port) for port in (80, 443, TRACKER_PORT)}
    assert connected(process) <= peers | frontend
    bound = [call for call in process.calls if call.startswith("bind(")]
    local = [call for call in bound if 'inet_addr("127.0.0.1")' in call and "htons(7070)" in call]
    own = [call for call in bound if f'inet_addr("{host.link.address}")' in call]
    unix = [call for call in bound if "AF_UNIX" in call]
    # Where it fetches from others it speaks from its token's address: a socket that is bound, and does not listen.
    assert all("htons(0)" in call for call in own)
    assert (len(local), len(unix), len(local) + len(unix) + len(own)) == (1, 1, len(bound))
    assert sum(call.startswith("listen(") for call in process.calls) == 3


@pytest.mark.parametrize("number", range(3))
def test_an_agent_has_ended_when_done_returns(site: Site, number: int) -> None:
    host = site.hosts[number]
    (done,) = strace.running(site.processes(host), "/run/avalanche/agent.pyz", "done")
    ended = agent(site, host).ended
    assert ended is not None and done.ended is not None
    assert ended <= done.ended
