"""The figures of a demo."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lab.result import (
    Closures,
    Conditions,
    HostResult,
    Measured,
    complaints,
    least_disturbed,
    limit_seconds,
    result_document,
    table,
)

MB = 1_000_000
HOST = HostResult("compute-0-0", "compute", "http", 50.0, 80.0, 408, 0, 250 * MB, True, False)
CLOSURES = Closures(union=250 * MB, largest=250 * MB, total=500 * MB)
CONDITIONS = Conditions(100, "install", "", "g-0123456789abcdef")
MEASURED = Measured(single_host_http_seconds=21.0, frontend_wire_bytes=530 * MB, busy=0.5)


def document(*hosts: HostResult) -> dict[str, object]:
    return result_document(hosts, CLOSURES, CONDITIONS, MEASURED)


def test_the_document_has_the_keys_of_the_design() -> None:
    found = document(HOST, replace(HOST, name="compute-0-1"))
    assert list(found) == [
        "hosts", "hosts_total", "single_host_http_seconds", "limit_seconds", "ratio", "frontend_copies",
        "frontend_wire_copies", "cpu_bound", "generation", "rate_mbit", "mode", "faults",
    ]  # fmt: skip
    hosts = found["hosts"]
    assert isinstance(hosts, list)
    assert list(hosts[0]) == [
        "name", "appliance", "plane", "download_seconds", "install_seconds", "packages", "bytes_from_peers",
        "bytes_from_frontend", "verified", "killed", "agent_rss_mib", "agent_cpu_seconds",
    ]  # fmt: skip
    assert json.loads(json.dumps(found)) == found


def test_copies_and_ratio_are_those_of_the_definition() -> None:
    found = document(HOST, replace(HOST, download_seconds=42.0))
    assert found["frontend_copies"] == 2.0
    assert found["frontend_wire_copies"] == 2.12
    assert found["limit_seconds"] == 20.0
    assert found["ratio"] == round(50.0 / 21.0, 4)
    assert found["cpu_bound"] is False


def test_without_any_finished_host_there_is_no_ratio() -> None:
    assert document(replace(HOST, download_seconds=None, verified=False))["ratio"] is None


@pytest.mark.parametrize(
    ("closures", "hosts", "frontend", "expected"),
    [
        (Closures(250 * MB, 250 * MB, 250 * MB), 1, 100, 20.0),
        # The frontend's link is the narrow one.
        (Closures(250 * MB, 125 * MB, 500 * MB), 4, 50, 40.0),
        # Fat hosts, and all of them must be fed by thin links.
        (Closures(250 * MB, 250 * MB, 25000 * MB), 100, 100, 2000 * 100 / 101 / 100),
    ],
)
def test_the_limit_is_the_largest_of_three_terms(
    closures: Closures, hosts: int, frontend: float, expected: float
) -> None:
    found = limit_seconds(closures, hosts=hosts, frontend_mbit=frontend, host_mbit=100)
    assert found == pytest.approx(max(expected, 20.0) if frontend == 100 else expected)


def test_a_killed_host_is_no_failure_and_an_unverified_one_is() -> None:
    killed = replace(HOST, verified=False, killed=True, problem="killed")
    broken = replace(HOST, name="compute-0-1", verified=False, problem="bash is missing")
    found = complaints([HOST, killed, broken], CLOSURES, single=21.0, rate_mbit=100)
    assert found == ["compute-0-1: bash is missing"]


@pytest.mark.parametrize(("single", "count"), [(21.5, 0), (21.7, 1)])
def test_a_lab_that_is_slower_than_its_links_is_a_failure(single: float, count: int) -> None:
    assert len(complaints([HOST], CLOSURES, single=single, rate_mbit=100)) == count


@pytest.mark.parametrize(
    ("tries", "found", "left"),
    [
        ([21.0, 20.5], 21.0, 1),
        ([25.0, 21.0, 20.5], 21.0, 1),
        ([25.0, 24.0, 26.0, 20.0], 24.0, 1),
    ],
)
def test_a_disturbed_host_alone_is_measured_again_a_few_times(tries: list[float], found: float, left: int) -> None:
    assert least_disturbed(lambda: tries.pop(0), 20.0) == found
    assert len(tries) == left


def test_the_table_has_a_row_per_host() -> None:
    rows = table(document(HOST, replace(HOST, install_seconds=None, killed=True)))
    assert rows[1] == ("compute-0-0", "50.0", "80.0", "408", "250.0", "0.0", "yes")
    assert rows[2][2] == "-" and rows[2][-1] == "killed"
