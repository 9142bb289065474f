"""What a compile costs: an appliance of a hundred nodes, as large as Rocks' own compute appliance, nothing cached.

The limit beside it is what the XML parser alone needs for the same bytes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from xml.parsers import expat

from avalanche.attributes import Attributes
from avalanche.compiler import compile_profile
from avalanche.graph import parse_graph
from avalanche.roll import Roll, RollSet, Source

NODES = 100
ROUNDS = 15
ATTRIBUTES = {"hostname": "compute-0-0", "arch": "x86_64", "os": "linux", "version": "9.6", "rack": "0"}

_NODE = """<?xml version="1.0"?>
<kickstart>
  <description>Node {number} of a benchmark.</description>
  <main cond="version >= 8"><firewall>--service=service{number}</firewall></main>
{packages}
{posts}
</kickstart>
"""
_POST = """  <post os="linux" cond="rack is not None and rack >= 0">
<file name="/etc/node{number}/{index}.conf" perms="0644">
host = &hostname;
arch = &arch;
{lines}
</file>
systemctl enable service{number}-{index}
if grep -q "a &lt; b" /etc/node{number}/{index}.conf; then echo "&hostname; &amp; more"; fi
  </post>"""


def run_compile() -> dict[str, float]:
    """Measure, print, and return the figures, in milliseconds; each is the median of several rounds."""
    files = [(f"nodes/n{number}.xml", _node(number)) for number in range(NODES)]
    graph = _graph()
    size = sum(len(data) for _, data in files) + len(graph)
    attributes = Attributes.of(ATTRIBUTES)

    def compile_all() -> None:
        roll = Roll("bench", parse_graph(graph, file="graphs/default/bench.xml"), _sources(files))
        compile_profile(RollSet([roll]), "n0", attributes).to_xml()

    def parse_all() -> None:
        for _, data in files:
            parser = expat.ParserCreate()
            # The same events that any reader of the document needs.
            parser.StartElementHandler = parser.EndElementHandler = parser.CharacterDataHandler = _ignore
            parser.UseForeignDTD(True)
            parser.Parse(data, True)

    figures = {
        "compile of 100 nodes, uncached (ms)": _median(compile_all),
        "  XML parser alone (ms)": _median(parse_all),
        "  size of the node files (kB)": size / 1000,
    }
    for name, value in figures.items():
        print(f"{name:50} {value:10.3f}")
    return figures


def _ignore(*_: object) -> None:
    pass


def _node(number: int) -> bytes:
    packages = "\n".join(f"  <package>package{number}-{index}</package>" for index in range(3))
    lines = "\n".join(f"setting{line} = value {line} of node {number}" for line in range(6))
    posts = "\n".join(_POST.format(number=number, index=index, lines=lines) for index in range(3))
    return _NODE.format(number=number, packages=packages, posts=posts).encode()


def _graph() -> bytes:
    edges = "".join(f'<edge from="n{number // 3}" to="n{number}" cond="version >= 8"/>\n' for number in range(1, NODES))
    orders = "".join(f'<order head="n{number}" tail="n{number + 1}"/>\n' for number in range(0, NODES - 1, 2))
    return f"<graph>\n{edges}{orders}</graph>\n".encode()


def _sources(files: list[tuple[str, bytes]]) -> dict[str, Source]:
    found = [Source(file, data) for file, data in files]
    return {source.stem: source for source in found}


def _median(work: Callable[[], None]) -> float:
    times = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return 1000 * statistics.median(times)
