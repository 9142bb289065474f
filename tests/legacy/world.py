"""A build folder in memory, and what the original makes of it."""

from __future__ import annotations

from collections.abc import Mapping

from avalanche.legacy.compiler import LegacyProfile, compile_legacy
from avalanche.legacy.tree import File, Tree

ATTRIBUTES = {
    "os": "linux",
    "arch": "x86_64",
    "hostname": "compute-0-0",
    "version": "7.0",
    "release": "7.0",
    "flag": "yes",
    "noflag": "no",
    "num": "5",
}


def tree(graphs: Mapping[str, str] | str, includes: Mapping[str, str] | None = None, **nodes: str) -> Tree:
    """A tree of graph files (by name, or one) and node files, whose outermost tags are added."""
    named = {"g.xml": graphs} if isinstance(graphs, str) else graphs
    found = {
        name: File(f"./graphs/default/{name}", f"graphs/{name}", f"<graph>\n{text}\n</graph>\n".encode())
        for name, text in named.items()
    }
    files = {
        f"{name.replace('_', '-')}.xml": File(
            f"./nodes/{name.replace('_', '-')}.xml",
            f"nodes/{name.replace('_', '-')}.xml",
            text.encode() if text.startswith("<?xml") else f"<kickstart>\n{text}\n</kickstart>\n".encode(),
        )
        for name, text in nodes.items()
    }
    kept = {name: File(f"include/{name}", f"include/{name}", text.encode()) for name, text in (includes or {}).items()}
    return Tree(found, files, kept.get)


def ask(graph: Mapping[str, str] | str, *, evals: bool = False, **nodes: str) -> LegacyProfile:
    """Compile the root ``r``; nodes that are not given are there, and empty."""
    text = graph if isinstance(graph, str) else "".join(graph.values())
    empty = {name: "" for name in "abcdemryz" if f'"{name}"' in text or f">{name}<" in text}
    return compile_legacy(tree(graph, **{**empty, **nodes}), "r", ATTRIBUTES, evals=evals)


def nodes(graph: Mapping[str, str] | str) -> list[str]:
    """The nodes of the root ``r``."""
    profile = ask(graph)
    profile.check()
    return list(profile.nodes)


def kickstart(body: str, **others: str) -> str:
    """The kickstart of one node, ``r``."""
    profile = ask('<edge from="r" to="r2"/>', r=body, r2="", **others)
    profile.check()
    return profile.kickstart()


def main_lines(text: str) -> list[str]:
    """The lines between the comments and the packages, but empty ones."""
    head = text[: text.index("%packages")]
    return [line for line in head.splitlines() if line and not line.startswith("#")]


def packages(text: str) -> list[str]:
    """The lines between ``%packages`` and its end."""
    return text[text.index("%packages") : text.index("\n%end")].splitlines()[1:]
