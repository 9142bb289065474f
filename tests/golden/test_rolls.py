"""What the base roll and the lab roll become, letter by letter; reviewers read the difference.

``make golden`` (``AVALANCHE_GOLDEN=write`` before pytest) writes the files anew. The base roll has a profile and a
kickstart for each appliance and release. To review a change, read the difference of one; ``diff`` shows how two differ.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from avalanche.adapters.rolls import load_rolls
from avalanche.attributes import Attributes
from avalanche.cluster import free_attributes
from avalanche.compiler import compile_profile
from avalanche.judge import judge_kickstart
from avalanche.kickstart import PreScript, pre_scripts, render
from avalanche.profile import Profile
from avalanche.roll import RollSet
from tests.baseroll import appliances

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = Path(__file__).parent
ROLLS = {"base": [ROOT], "lab": [ROOT, ROOT / "lab" / "roll"]}
CASES = [("base", root, release) for root, release in appliances.CASES] + [
    ("lab", root, "el9") for root in ("compute", "login")
]
GIVEN = {
    "hostaddr": "10.1.255.254", "mac": "52:54:00:12:34:56", "Kickstart_PrivateKickstartHost": "10.1.1.1",
    "Kickstart_PrivateNetmask": "255.255.0.0", "Kickstart_Timezone": "Europe/Rome",
}  # fmt: skip


def attributes_of(root: str, release: str, **more: str) -> Attributes:
    return free_attributes(root, release, {**GIVEN, **more})


@cache
def loaded(rolls: str) -> RollSet:
    return load_rolls(ROLLS[rolls])


def compiled(rolls: str, root: str, attributes: Attributes) -> Profile:
    return compile_profile(loaded(rolls), root, attributes, release=attributes["release"])


def compare(name: str, text: str) -> None:
    path = FOLDER / name
    if os.environ.get("AVALANCHE_GOLDEN") == "write":
        path.write_text(text)
    assert path.read_text() == text, f"{name} differs; read the difference, then AVALANCHE_GOLDEN=write"


@pytest.mark.parametrize(("rolls", "root", "release"), CASES)
def test_profile_and_kickstart_are_what_they_were(rolls: str, root: str, release: str) -> None:
    attributes = attributes_of(root, release)
    profile = compiled(rolls, root, attributes)
    name = f"{rolls}-{root}" if rolls == "lab" else f"{root}-{release}"
    compare(f"{name}.xml", profile.to_xml().decode())
    compare(f"{name}.ks", render(profile, attributes))


def test_no_golden_file_is_left_over() -> None:
    names = {f"lab-{root}" for root in ("compute", "login")} | {
        f"{root}-{release}" for root, release in appliances.CASES
    }
    assert {path.stem for path in FOLDER.glob("*.ks")} == {path.stem for path in FOLDER.glob("*.xml")} == names


@pytest.mark.parametrize(("rolls", "root", "release"), CASES)
@pytest.mark.parametrize("site", appliances.SITES)
def test_the_kickstart_is_accepted_without_a_warning(rolls: str, root: str, release: str, site: str) -> None:
    attributes = attributes_of(root, release, **appliances.SITES[site])
    kickstart = render(compiled(rolls, root, attributes), attributes)
    assert judge_kickstart(kickstart, release=release, follow=False) == ()


@pytest.mark.parametrize(("rolls", "root", "release"), CASES)
def test_every_script_is_one_in_its_language(rolls: str, root: str, release: str, tmp_path: Path) -> None:
    attributes = attributes_of(root, release)
    profile = compiled(rolls, root, attributes)
    scripts = list(pre_scripts(profile, attributes))
    posts = [part for part in render(profile, attributes).split("\n%post ")[1:] if "--interpreter=/bin/bash" in part]
    scripts += [PreScript("post", "", 0, "/bin/bash", part.partition("\n")[2].partition("\n%end")[0]) for part in posts]
    assert len(scripts) > 3
    for script in scripts:
        path = tmp_path / "script"
        path.write_text(script.body)
        if script.interpreter.endswith("python3"):
            command = [sys.executable, "-m", "py_compile", str(path)]
        else:
            command = ["/bin/bash", "-n", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (script, done.stderr)


@pytest.mark.parametrize(("root", "release"), appliances.CASES)
def test_the_same_comes_from_the_command_line_without_a_database(root: str, release: str, tmp_path: Path) -> None:
    attributes = tmp_path / "attributes.json"
    attributes.write_text(json.dumps(GIVEN))
    command = [
        sys.executable,
        "-m",
        "avalanche",
        "kickstart",
        "--root",
        root,
        "--roll",
        ".",
        "--attrs",
        str(attributes),
    ]
    done = subprocess.run([*command, "--release", release], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout) == ("", (FOLDER / f"{root}-{release}.ks").read_text())


def test_every_node_of_the_base_roll_is_used() -> None:
    rolls = loaded("base")
    assert set(rolls.names) == set().union(*(rolls.graph.reachable(root)[0] for root in appliances.APPLIANCES))


def test_every_file_of_the_lab_roll_is_used() -> None:
    rolls = loaded("lab")
    reached = rolls.graph.reachable("compute")[0] | rolls.graph.reachable("login")[0]
    used = {file.file for name in reached for file in rolls.node(name)}
    assert {str(path) for path in (ROOT / "lab/roll/nodes").glob("*.xml")} <= used
