"""Drawing: the graph as a picture (SVG), and as text for graphviz (DOT). Appliances stand at the top.

Nodes that include nothing and are included by the same nodes share a panel, with one line to it: what a person wants
to see of sixty leaves of ``client`` is their names. A roll is a colour. With a traversal, what it selected is strong
and the rest pale.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from avalanche.document import escape_attribute as quoted
from avalanche.document import escape_text as escaped
from avalanche.graph import Edge, Traversal
from avalanche.layout import Layout, Place, lay_out
from avalanche.ordering import FIRST, LAST
from avalanche.roll import RollSet

COLOURS = (
    "#cfe2f3", "#d9ead3", "#fff2cc", "#f4cccc", "#d9d2e9", "#fce5cd", "#d0e0e3", "#ead1dc", "#e2efc5", "#c9daf8",
    "#f9cb9c", "#b6d7a8", "#b4a7d6", "#a2c4c9", "#ffe599", "#dddddd",
)  # fmt: skip
UNKNOWN = "#ffffff"  # of a node that no roll has
LETTER, SMALL = 6.9, 5.6  # widths of a letter
ROW, CAPTION = 24.0, 13.0  # heights
MARGIN, INSET = 24.0, 7.0
LONGEST = 40  # letters of a condition that are shown; the rest is in the tool tip


@dataclass(frozen=True)
class Chip:
    """A node in the picture, relative to its panel."""

    node: str
    caption: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Panel:
    """A box of one node, or of several that have the same edges."""

    name: str
    chips: tuple[Chip, ...]
    width: float
    height: float


class Drawing:
    """A picture of some rolls' graph.

    Args:
        traversal: what a host selects.
        orders: whether to draw order pairs; of a traversal, those between nodes that it selected.
    """

    def __init__(self, rolls: RollSet, traversal: Traversal | None = None, *, orders: bool = False) -> None:
        self.rolls = rolls
        self.graph = rolls.graph
        self.traversal = traversal
        self.orders = orders
        self.nodes = sorted({*self.graph.nodes, *(traversal.nodes if traversal else ())})
        self.selected = frozenset(self.nodes if traversal is None else traversal.nodes)
        owners = {name: rolls.owner(name) for name in self.nodes}
        names = [roll.name for roll in rolls.rolls if roll.name in owners.values()]
        self.colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
        self.fill = {node: self.colours.get(owner or "", UNKNOWN) for node, owner in owners.items()}
        self.edges = sorted(set(self.graph.edges), key=lambda e: (e.source, e.target, e.file, e.line, str(e.when)))

    def __repr__(self) -> str:
        return f"<Drawing {len(self.nodes)} nodes, {len(self.edges)} edges>"

    # --- DOT ---

    def to_dot(self) -> str:
        """Write the graph in graphviz' language."""
        lines = [
            "digraph graph_of_nodes {", "  rankdir=TB; ranksep=1.0; nodesep=0.15;",
            '  node [shape=box, style="rounded,filled", fontname="sans-serif", fontsize=11];',
            '  edge [fontname="sans-serif", fontsize=9, color="#555555"];',
        ]  # fmt: skip
        for node in self.nodes:
            pale = "" if node in self.selected else ', fontcolor="#999999", color="#cccccc"'
            lines.append(f"  {_dotted(node)} [fillcolor={_dotted(self.fill[node])}{pale}];")
        targets = {edge.target for edge in self.edges}
        roots = "; ".join(_dotted(node) for node in self.nodes if node not in targets)
        lines.append(f"  {{ rank=source; {roots} }}" if roots else "")
        for edge in self.edges:
            style = f", style=dashed, label={_dotted(str(edge.when))}" if edge.when.clauses else ""
            strong = "penwidth=2, color=black" if self.traversal and self._is_taken(edge) else "penwidth=1"
            lines.append(f"  {_dotted(edge.source)} -> {_dotted(edge.target)} [{strong}{style}];")
        if self.orders:
            for pair in sorted({(order.head, order.tail) for order in self.graph.orders}):
                lines.append(
                    f"  {_dotted(pair[0])} -> {_dotted(pair[1])} [constraint=false, style=dotted, color=purple];"
                )
        return "\n".join([*filter(None, lines), "}", ""])

    def _is_taken(self, edge: Edge) -> bool:
        """Say whether the traversal went along an edge."""
        if self.traversal is None:
            return False
        return self.traversal.included_by.get(edge.target) == edge

    # --- SVG ---

    @cached_property
    def panels(self) -> dict[str, Panel]:
        """The boxes, by the name of their first node."""
        sources: dict[str, set[str]] = defaultdict(set)
        for edge in self.edges:
            sources[edge.target].add(edge.source)
        inner = {edge.source for edge in self.edges}
        members: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for node in self.nodes:
            alone = node in inner or not sources[node]
            members[("", node) if alone else tuple(sorted(sources[node]))].append(node)
        return {nodes[0]: self._panel(nodes) for nodes in members.values()}

    def _panel(self, nodes: list[str]) -> Panel:
        captions = {node: self._caption(node) if len(nodes) > 1 else "" for node in nodes}
        width = max(max(len(node) * LETTER + (16 if self.orders else 0), len(captions[node]) * SMALL) for node in nodes)
        width = max(54.0, width + 16)
        columns = max(1, min(6, round(math.sqrt(len(nodes) * 3 * ROW / width)), len(nodes)))
        rows = math.ceil(len(nodes) / columns)
        chips: list[Chip] = []
        inset = INSET if len(nodes) > 1 else 0.0
        tallest = inset
        for column in range(columns):
            top = inset
            for node in nodes[column * rows : (column + 1) * rows]:
                height = ROW + (CAPTION if captions[node] else 0.0)
                chips.append(Chip(node, captions[node], inset + column * (width + 6), top, width, height))
                top += height + 5
            tallest = max(tallest, top - 5)
        used = len({chip.x for chip in chips})
        return Panel(nodes[0], tuple(chips), used * (width + 6) - 6 + 2 * inset, tallest + inset)

    def _caption(self, node: str) -> str:
        """What decides about a node of a panel."""
        edges = [edge for edge in self.edges if edge.target == node]
        if not any(edge.when.clauses for edge in edges):
            return ""
        several = len({edge.source for edge in edges}) > 1
        told = [
            f"{edge.source + ': ' if several else ''}if {edge.when}" if edge.when.clauses else f"{edge.source}: always"
            for edge in edges
        ]
        return _cut("; ".join(dict.fromkeys(told)))

    def to_svg(self) -> str:
        """Draw the graph."""
        panel_of = {chip.node: panel.name for panel in self.panels.values() for chip in panel.chips}
        lines: dict[tuple[str, str], list[Edge]] = defaultdict(list)
        for edge in self.edges:
            lines[panel_of[edge.source], panel_of[edge.target]].append(edge)
        layout = lay_out({name: (panel.width, panel.height) for name, panel in self.panels.items()}, lines)
        top = MARGIN * 2 + 16 * (math.ceil(len(self.colours) / 6) + 2)
        width = max(layout.width, 780.0) + 2 * MARGIN
        height = layout.height + top + MARGIN
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="DejaVu Sans, Verdana, sans-serif" font-size="11">',
            "<title>Graph of nodes</title>",
            f'<rect width="{width:.0f}" height="{height:.0f}" fill="white"/>',
            *self._legend(),
            f'<g transform="translate({MARGIN:.0f} {top:.0f})">',
        ]
        # Pale lines first, so that strong ones lie on top; then boxes, then words.
        ordered = sorted(lines.items(), key=lambda item: any(map(self._is_taken, item[1])))
        parts += [self._line(edges, layout.routes[pair]) for pair, edges in ordered if pair in layout.routes]
        for panel in self.panels.values():
            parts += self._box(panel, layout.places[panel.name])
        parts += [self._label(edges, layout.routes[pair]) for pair, edges in ordered if pair in layout.routes]
        if self.orders:
            parts += self._order_lines(layout)
        return "\n".join([*filter(None, parts), "</g>", "</svg>", ""])

    def _line(self, edges: list[Edge], points: tuple[tuple[float, float], ...]) -> str:
        path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
        for (x, y), (to_x, to_y) in zip(points, points[1:], strict=False):
            if x == to_x:
                path += f"L{to_x:.1f} {to_y:.1f}"
            else:
                middle = (y + to_y) / 2
                path += f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}"
        dashed = ' stroke-dasharray="5 3"' if all(edge.when.clauses for edge in edges) else ""
        told = "\n".join(f"{edge} {edge.place}" + (f" if {edge.when}" if edge.when.clauses else "") for edge in edges)
        style = 'stroke="#777" stroke-width="1"'
        if self.traversal is not None:
            taken = any(map(self._is_taken, edges))
            style = 'stroke="#1f4e9c" stroke-width="2.2"' if taken else 'stroke="#d4d4d4" stroke-width="1"'
        return f'<path d="{path}" fill="none" {style}{dashed}><title>{escaped(told)}</title></path>'

    def _label(self, edges: list[Edge], points: tuple[tuple[float, float], ...]) -> str:
        """The condition of an edge to a node that stands alone; a panel's chips tell theirs."""
        target = edges[0].target
        conditions = list(dict.fromkeys(str(edge.when) for edge in edges if edge.when.clauses))
        if not conditions or len(self.panels[target].chips if target in self.panels else "  ") > 1:
            return ""
        x, y = points[-1]
        words = _cut("if " + " or ".join(conditions))
        place = f'x="{x:.1f}" y="{y - 7:.1f}" text-anchor="middle" font-size="9" font-style="italic"'
        halo = f'<text {place} fill="none" stroke="white" stroke-width="3">{escaped(words)}</text>'
        return f'{halo}<text {place} fill="#444">{escaped(words)}</text>'

    def _box(self, panel: Panel, place: Place) -> Iterator[str]:
        left = place.x - panel.width / 2
        if len(panel.chips) > 1:
            yield (
                f'<rect x="{left:.1f}" y="{place.y:.1f}" width="{panel.width:.1f}" height="{panel.height:.1f}" rx="8" '
                'fill="#fafafa" stroke="#aaa"/>'
            )
        for chip in panel.chips:
            yield from self._chip(chip, left + chip.x, place.y + chip.y)

    def _chip(self, chip: Chip, x: float, y: float) -> Iterator[str]:
        chosen = chip.node in self.selected
        known = bool(self.rolls.sources(chip.node))
        stroke = "#c00" if not known else "#1f4e9c" if chosen and self.traversal else "#888" if chosen else "#ccc"
        dash = ' stroke-dasharray="4 2"' if chip.caption or not known else ""
        weight = 1.8 if chosen and self.traversal else 1
        tip = [chip.node, *(source.file for source in self.rolls.sources(chip.node))]
        if not known:
            tip.append("no roll has this node")
        yield f'<g opacity="{1 if chosen else 0.6}"><title>{escaped(chr(10).join(tip))}</title>'
        yield (
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{chip.width:.1f}" height="{chip.height:.1f}" rx="5" '
            f'fill="{self.fill[chip.node]}" stroke="{stroke}" stroke-width="{weight}"{dash}/>'
        )
        middle = x + chip.width / 2
        bold = ' font-weight="bold"' if chip.node not in self._entered else ""
        mark = self._zone_mark(chip.node) if self.orders else ""
        yield f'<text x="{middle:.1f}" y="{y + 16:.1f}" text-anchor="middle"{bold}>{escaped(chip.node + mark)}</text>'
        if chip.caption:
            yield (
                f'<text x="{middle:.1f}" y="{y + 30:.1f}" text-anchor="middle" font-size="9" font-style="italic" '
                f'fill="#444">{escaped(chip.caption)}</text>'
            )
        yield "</g>"

    @cached_property
    def _entered(self) -> frozenset[str]:
        return frozenset(edge.target for edge in self.edges)

    def _zone_mark(self, node: str) -> str:
        return {FIRST: " \u25b2", LAST: " \u25bc"}.get(self.graph.ordering.zone(node), "")

    def _order_lines(self, layout: Layout) -> Iterator[str]:
        yield (
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0L8 4L0 8z" fill="#8e44ad"/></marker></defs>'
        )
        sides: dict[str, tuple[float, float, float]] = {}
        for panel in self.panels.values():
            place = layout.places[panel.name]
            for chip in panel.chips:
                left = place.x - panel.width / 2 + chip.x
                sides[chip.node] = (left, left + chip.width, place.y + chip.y + ROW / 2)
        for order in sorted({(order.head, order.tail) for order in self.graph.orders}):
            if not set(order) <= self.selected & sides.keys():
                continue
            (left, right, y), (to_left, to_right, to_y) = sides[order[0]], sides[order[1]]
            x, to_x, bend = (right, to_left, 30) if right <= to_left else (left, to_left, -30)
            if x == left and to_right <= left:
                to_x = to_right
                bend = -30
            turn = 30 if to_x == to_right else -30
            yield (
                f'<path d="M{x:.1f} {y:.1f}C{x + bend:.1f} {y:.1f} {to_x + turn:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}" '
                'fill="none" stroke="#8e44ad" stroke-width="0.9" stroke-opacity="0.6" marker-end="url(#tip)">'
                f"<title>{escaped(f'{order[0]} before {order[1]}')}</title></path>"
            )

    def _legend(self) -> Iterator[str]:
        for number, (name, colour) in enumerate(self.colours.items()):
            x, y = MARGIN + number % 6 * 130, MARGIN + number // 6 * 16
            yield f'<rect x="{x:.0f}" y="{y:.0f}" width="12" height="12" rx="3" fill="{quoted(colour)}" stroke="#888"/>'
            yield f'<text x="{x + 18:.0f}" y="{y + 10:.0f}">{escaped(name)}</text>'
        first = []
        told = ["dashed: with a condition", "one line to a panel: to each node in it", "red: no roll has it"]
        if self.traversal is not None:
            first.append("blue: selected, and by which edge")
        if self.orders:
            first.append("purple: before; \u25b2 before HEAD, \u25bc after TAIL")
        y = MARGIN + 16 * math.ceil(len(self.colours) / 6) + 10
        for words in filter(None, (first, told)):
            yield f'<text x="{MARGIN:.0f}" y="{y:.0f}" fill="#555">{escaped("; ".join(words))}</text>'
            y += 16


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "\u2026"


def _dotted(text: str) -> str:
    backslash, quote = "\\", '"'
    return quote + text.replace(backslash, backslash * 2).replace(quote, backslash + quote) + quote
