"""Reading `/metrics`, the table in docs/operations.md, and the rules of Prometheus that promtool checks."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

PAGE = Path(__file__).parent.parent / "docs" / "operations.md"
BASE_UNITS = ("seconds", "bytes", "ratio", "bytes_per_second", "info")
OTHER_UNITS = ("milliseconds", "ms", "minutes", "hours", "kilobytes", "kb", "mb", "mib", "bits", "mbit", "percent")


def documented(program: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Name to type and labels, of one program's rows of the table."""
    found = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith(f"| `avalanche_{program}_"):
            name, kind, labels = (cell.strip() for cell in line.split("|")[1:4])
            own = re.sub(r"\([^)]*\)", "", labels)  # in brackets are a label's values
            found[name.strip("`")] = (kind, frozenset(re.findall(r"`(\w+)`", own)))
    return found


def exposed(text: str) -> dict[str, tuple[str, frozenset[str]]]:
    """The same of what a program says; every family of ours has a value, and obeys the conventions."""
    found = {}
    for family in text_string_to_metric_families(text):
        check(family)
        if family.name.startswith("avalanche_"):
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            found[name] = (family.type, frozenset(labels))
    return found


def check(family: Metric) -> None:
    """The rules of ``promtool check metrics`` that can go wrong here."""
    name = family.name
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name), name
    assert family.documentation, f"{name} has no help"
    assert not set(name.split("_")) & set(OTHER_UNITS), f"{name} is not in a base unit"
    assert family.type in ("counter", "gauge", "histogram"), f"{name} has no type"
    samples = {sample.name for sample in family.samples}
    if family.type == "counter":
        assert samples <= {f"{name}_total", f"{name}_created"}, name
    elif family.type == "gauge":
        assert not name.endswith(("_total", "_count", "_sum", "_bucket")), name
    else:
        assert name.endswith(BASE_UNITS), f"{name}: a histogram names its unit"
        bounds = [float(sample.labels["le"]) for sample in family.samples if sample.name.endswith("_bucket")]
        assert not bounds or bounds[-1] == float("inf"), name
    for sample in family.samples:
        assert all(re.fullmatch(r"[a-z][a-z0-9_]*", label) for label in sample.labels), name
        assert not {"host", "address", "path", "order", "peer"} & set(sample.labels), f"{name}: unbounded label"
