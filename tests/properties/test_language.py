"""Laws of the language: order, selection and profiles do not depend on how the rolls are written down."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from avalanche.attributes import Attributes
from avalanche.compiler import compile_profile
from avalanche.condition import parse_condition
from avalanche.errors import GraphError
from avalanche.graph import HEAD, TAIL, Edge, Graph, Order
from avalanche.roll import Roll, RollSet, Source

NAMES = [chr(code) for code in range(ord("a"), ord("k"))]
names = st.sampled_from(NAMES)
conditions = st.sampled_from(["", "yes", "no", "level > 1"])
edges = st.lists(
    st.builds(
        lambda source, target, text: Edge(source, target, parse_condition(text, file="f", line=1)),
        names,
        names,
        conditions,
    ).filter(lambda edge: edge.source != edge.target),
    max_size=25,
)
marks = st.sampled_from([*NAMES, HEAD, TAIL])
# Pairs along the alphabet, HEAD and TAIL among the letters: never a cycle.
PLACES = {name: place for place, name in enumerate([*NAMES[:4], HEAD, *NAMES[4:7], TAIL, *NAMES[7:]])}
orders = st.lists(
    st.tuples(marks, marks)
    .filter(lambda pair: pair[0] != pair[1])
    .map(lambda pair: Order(*sorted(pair, key=PLACES.__getitem__))),
    max_size=15,
)
graphs = st.builds(lambda edges, orders: Graph(tuple(edges), tuple(orders)), edges, orders)
VALUES = {"yes": "yes", "no": "no", "level": "2"}


def closure(graph: Graph) -> set[tuple[str, str]]:
    """Return all pairs that the order pairs imply."""
    pairs = {(order.head, order.tail) for order in graph.orders} | {(HEAD, TAIL)}
    while True:
        more = {(first, last) for first, middle in pairs for other, last in pairs if middle == other} - pairs
        if not more:
            return pairs
        pairs |= more


@given(graphs)
def test_a_node_is_selected_exactly_when_a_true_path_leads_to_it(graph: Graph) -> None:
    selected = {"a"}
    while True:
        more = {edge.target for edge in graph.edges if edge.source in selected and edge.when.holds(VALUES)} - selected
        if not more:
            break
        selected |= more
    assert set(graph.traverse("a", VALUES).nodes) == selected


@given(graphs)
def test_every_order_pair_is_respected_also_through_nodes_that_are_not_selected(graph: Graph) -> None:
    nodes = graph.traverse("a", VALUES).nodes
    for head, tail in closure(graph):
        if head in nodes and tail in nodes:
            assert nodes.index(head) < nodes.index(tail)


@given(graphs)
def test_zones_follow_each_other_and_free_nodes_are_alphabetical(graph: Graph) -> None:
    nodes = graph.traverse("a", VALUES).nodes
    pairs = closure(graph)
    mentioned = {name for order in graph.orders for name in (order.head, order.tail)}

    def zone(name: str) -> int:
        if (name, HEAD) in pairs:
            return 0
        return 3 if (TAIL, name) in pairs else 1 if name in mentioned else 2

    zones = [zone(name) for name in nodes]
    assert zones == sorted(zones)
    free = [name for name in nodes if zone(name) == 2]
    assert free == sorted(free)


@given(graphs, st.randoms(use_true_random=False))
def test_the_order_of_files_and_edges_does_not_matter(graph: Graph, random: object) -> None:
    edges, orders = list(graph.edges), list(graph.orders)
    random.shuffle(edges)  # type: ignore[attr-defined]
    random.shuffle(orders)  # type: ignore[attr-defined]
    other = Graph.merge([Graph(tuple(edges[::2]), tuple(orders[1::2])), Graph(tuple(edges[1::2]), tuple(orders[::2]))])
    assert other.traverse("a", VALUES) == graph.traverse("a", VALUES)


@given(graphs)
def test_two_nodes_stand_in_the_same_order_on_every_host(graph: Graph) -> None:
    here = graph.traverse("a", VALUES).nodes
    there = graph.traverse("a", {"yes": "no", "no": "yes", "level": "0"}).nodes
    both = set(here) & set(there)
    assert [name for name in here if name in both] == [name for name in there if name in both]


@given(graphs)
def test_the_path_to_a_node_leads_there_by_true_edges(graph: Graph) -> None:
    traversal = graph.traverse("a", VALUES)
    for node in traversal.nodes:
        at = "a"
        for edge in traversal.path(node):
            assert edge.source == at and edge.when.holds(VALUES)
            at = edge.target
        assert at == node


@given(edges, st.lists(st.tuples(marks, marks).filter(lambda pair: pair[0] != pair[1]), max_size=12))
def test_a_cycle_is_refused_exactly_when_there_is_one(edges: list[Edge], pairs: list[tuple[str, str]]) -> None:
    assume((TAIL, HEAD) not in pairs)
    graph = Graph(tuple(edges), tuple(Order(head, tail, "f", 1) for head, tail in pairs))
    cyclic = any(first == last for first, last in closure(graph))
    try:
        graph.traverse("a", VALUES)
    except GraphError as error:
        assert cyclic
        assert "is a cycle: " in str(error)
    else:
        assert not cyclic


bodies = st.sampled_from(
    [
        "",
        "<package>x</package>",
        "<package cond='level > 1'>y-&level;</package>",
        "<post>echo &free;</post>",
        "<post arch='i386'>x</post>",
    ]
)


@given(
    graphs,
    st.lists(bodies, min_size=len(NAMES), max_size=len(NAMES)),
    st.dictionaries(st.sampled_from(["free", "other"]), st.text("xyz")),
)
def test_hosts_that_agree_on_what_is_mentioned_share_a_profile(
    graph: Graph, found: list[str], own: dict[str, str]
) -> None:
    nodes = {
        name: Source(f"nodes/{name}.xml", f"<kickstart>{body}</kickstart>".encode())
        for name, body in zip(NAMES, found, strict=True)
    }
    rolls = RollSet([Roll("r", graph, nodes)])
    assert not {"free", "other"} & rolls.mentioned("a")
    one, two = Attributes.of({"free": "1", **VALUES}), Attributes.of({"free": "2", **VALUES, **own})
    assert compile_profile(rolls, "a", one).to_xml() == compile_profile(rolls, "a", two).to_xml()
