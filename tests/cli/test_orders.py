"""order and dist: what may be installed, refused before any host starts when it cannot."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from avalanche.adapters.state import State
from tests.frontend.rig import avalanche, run


@pytest.fixture
def roll(state: State) -> Path:
    avalanche("host", "add", "compute-0-0")
    avalanche("host", "add", "compute-0-1")
    return state.root.parent / "roll"


def facts(*arguments: object) -> Any:
    return json.loads(avalanche(*arguments, "--json"))


def test_an_order_is_created_listed_shown_and_cancelled(roll: Path) -> None:
    (order,) = facts("order", "create", "compute-0-0", "--expires", "2d", "--attempts", "5")
    assert (order["host"], order["state"], order["plane"], order["limit"]) == ("compute-0-0", "live", "auto", 5)
    assert order["generation"] == facts("dist", "show", "default")["generation"]
    assert [row["order"] for row in facts("order", "list", "--live")] == [order["order"]]
    assert facts("order", "show", order["order"])["attempts"] == []
    assert facts("order", "cancel", "compute-0-0")["state"] == "cancelled"
    assert facts("order", "list", "--live") == []
    assert facts("host", "show", "compute-0-0")["orders"] == [{"order": order["order"], "state": "cancelled"}]


def test_no_command_prints_the_secret_of_an_order(roll: Path, state: State) -> None:
    from avalanche.orders import order_secret

    (order,) = facts("order", "create", "compute-0-0")
    secret = order_secret(state.order_key(), order["order"])
    told = (
        avalanche("order", "show", order["order"])
        + avalanche("order", "list")
        + avalanche("host", "show", "compute-0-0")
    )
    assert secret not in told
    assert secret.encode() not in state.database_file.read_bytes()


def test_several_hosts_are_ordered_together_or_not_at_all(roll: Path) -> None:
    assert len(facts("order", "create", "compute-0-0", "compute-0-1")) == 2
    avalanche("order", "cancel", "compute-0-1")
    result = run("order", "create", "compute-0-1", "compute-0-0")
    assert result.status == 1
    assert "compute-0-0 has the live order" in result.err
    assert len(facts("order", "list", "--live")) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<kickstart>\n<package>nix</package>\n</kickstart>", r"nodes/compute.xml:2: "),
        ("<kickstart>\n<post><nonsense/></post>\n</kickstart>", r"nodes/compute.xml:2: "),
        ("<kickstart>\n<post>&nix;</post>\n</kickstart>", r"nodes/compute.xml:2: "),
    ],
)
def test_a_host_that_could_not_be_installed_is_refused_before_it_starts(roll: Path, text: str, why: str) -> None:
    (roll / "nodes" / "compute.xml").write_text(text)
    result = run("order", "create", "compute-0-0")
    assert (result.status, result.err.count("\n")) == (1, 1)
    assert why in result.err
    assert facts("order", "list") == []


def test_an_import_of_the_same_folder_is_the_same_generation(roll: Path, state: State) -> None:
    before = facts("dist", "show", "default")
    again = facts("dist", "import", "default", state.root.parent / "rpms", "--allow-unsigned")
    assert again["generation"] == before["generation"]
    assert [row["current"] for row in facts("dist", "list")] == [True]


def test_a_generation_that_nobody_installs_any_more_is_removed(roll: Path, state: State) -> None:
    old = facts("dist", "show", "default")["generation"]
    avalanche("order", "create", "compute-0-0")
    comps = state.root.parent / "comps.xml"
    comps.write_text("<comps><group><id>other</id><name>Other</name></group></comps>")
    avalanche("dist", "import", "default", state.root.parent / "rpms", "--allow-unsigned", "--comps", comps)
    assert len(facts("dist", "list")) == 2
    result = run("dist", "remove", "default", old)
    assert result.status == 1
    assert "compute-0-0 installs" in result.err
    avalanche("order", "cancel", "compute-0-0")
    assert facts("dist", "remove", "default", old)["removed"] == old
    found = facts("audit", "default")[-1]
    assert (found["action"], found["detail"]) == ("dist remove", {"generation": old})
    assert len(facts("dist", "list")) == 1


def test_unsigned_packages_are_refused_unless_allowed(roll: Path, state: State) -> None:
    result = run("dist", "import", "other", state.root.parent / "rpms")
    assert (result.status, result.err.count("\n")) == (1, 1)
    assert "sign" in result.err


def test_a_check_solves_every_appliance_and_reports_all_that_fail(roll: Path) -> None:
    avalanche("appliance", "add", "gpu")
    avalanche("appliance", "add", "ghost")
    result = run("dist", "check", "default", "--json")
    assert result.status == 1
    assert {row["appliance"]: row["packages"] for row in json.loads(result.out)["appliances"]} == {
        "compute": 2,
        "gpu": 1,
    }
    assert "ghost" in result.err
    assert avalanche("dist", "check", "default", "--appliance", "compute").splitlines()[0] == (
        "APPLIANCE  HOSTS  PACKAGES  BYTES"
    )


def test_a_check_solves_for_every_host_there_is(roll: Path) -> None:
    avalanche("attr", "set", "has_gpu", "1", "--host", "compute-0-1")
    rows = facts("dist", "check", "default")["appliances"]
    assert [(row["hosts"], row["packages"]) for row in rows] == [(1, 2), (1, 3)]
    (roll / "nodes" / "gpu.xml").write_text("<kickstart><package>nix</package></kickstart>")
    result = run("dist", "check", "default")
    assert result.status == 1
    assert "nodes/gpu.xml:1: " in result.err


def test_a_check_finds_a_damaged_package(roll: Path, state: State) -> None:
    folder = Path(facts("dist", "show", "default")["path"])
    (package,) = (folder / "Packages").rglob("beta*.rpm")
    package.chmod(0o644)
    package.write_bytes(package.read_bytes()[:-1] + b"x")
    result = run("dist", "check", "default")
    assert result.status == 1
    assert "beta" in result.err
    assert "again to replace it" in result.err


def test_a_module_s_stream_is_installed_when_a_node_file_enables_it(state: State, tmp_path: Path) -> None:
    rpms = Path(shutil.copytree(tmp_path / "rpms", tmp_path / "modular"))
    (rpms / "modules.yaml").write_text(
        "document: modulemd\nversion: 2\n"
        "data: {name: m, stream: '1', version: 1, context: c, arch: x86_64, summary: x, description: x,\n"
        "  license: {module: [MIT]}, artifacts: {rpms: ['alpha-0:1.0-1.noarch']}}\n"
    )
    avalanche("host", "add", "compute-0-0")
    avalanche("dist", "import", "default", rpms, "--allow-unsigned")
    refused = run("order", "create", "compute-0-0")
    assert refused.status == 1
    assert "asks for package alpha, which only module m:1 has: it is no default stream" in refused.err
    node = tmp_path / "roll" / "nodes" / "compute.xml"
    enabled = "<kickstart><main><module>--name=m --stream=1</module></main><package>alpha</package></kickstart>\n"
    node.write_text(enabled.replace("=1<", "=2<"))
    assert (
        "compute.xml:1: compute enables module m, stream 2: the generation has m:1"
        in run("order", "create", "compute-0-0").err
    )
    node.write_text(enabled)
    avalanche("order", "create", "compute-0-0")
    assert "\nmodule --name=m --stream=1\n" in avalanche("kickstart", "compute-0-0")
