"""What the base roll and the lab roll become, letter by letter; reviewers read the difference.

``AVALANCHE_GOLDEN=write`` before pytest writes the files anew.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from avalanche.adapters.rolls import load_rolls
from avalanche.attributes import Attributes
from avalanche.compiler import compile_profile
from avalanche.judge import judge_kickstart
from avalanche.kickstart import PreScript, pre_scripts, render
from avalanche.profile import Profile

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = Path(__file__).parent
ROLLS = {"base": [ROOT], "lab": [ROOT, ROOT / "lab" / "roll"]}
ATTRIBUTES = Attributes.of(
    {
        "hostname": "compute-0-0", "appliance": "compute", "root": "compute", "rack": "0", "rank": "0",
        "os": "linux", "arch": "x86_64", "release": "el9", "distribution": "default", "hostaddr": "10.1.255.254",
        "Kickstart_PrivateKickstartHost": "10.1.1.1", "Kickstart_Lang": "en_US.UTF-8", "Kickstart_Keyboard": "us",
        "Kickstart_Timezone": "Europe/Rome",
    }
)  # fmt: skip
CASES = [("base", "compute"), ("lab", "compute"), ("lab", "login")]


def compiled(rolls: str, root: str, attributes: Attributes = ATTRIBUTES) -> Profile:
    return compile_profile(load_rolls(ROLLS[rolls]), root, attributes)


def compare(name: str, text: str) -> None:
    path = FOLDER / name
    if os.environ.get("AVALANCHE_GOLDEN") == "write":
        path.write_text(text)
    assert path.read_text() == text, f"{name} differs; read the difference, then AVALANCHE_GOLDEN=write"


@pytest.mark.parametrize(("rolls", "root"), CASES)
def test_profile_and_kickstart_are_what_they_were(rolls: str, root: str) -> None:
    profile = compiled(rolls, root)
    compare(f"{rolls}-{root}.xml", profile.to_xml().decode())
    compare(f"{rolls}-{root}.ks", render(profile, ATTRIBUTES))


@pytest.mark.parametrize(("rolls", "root"), CASES)
def test_the_kickstart_is_accepted_without_a_warning(rolls: str, root: str) -> None:
    optional = {
        "root_key": "ssh-ed25519 AAAA admin@cluster",
        "kernel_args": "console=ttyS0 quiet",
        "selinux": "permissive",
    }
    optional |= {"Kickstart_PrivateNTPHost": "10.1.1.1", "rack": "1", "firewall": "no"}
    for attributes in (ATTRIBUTES, Attributes.of({**ATTRIBUTES, **optional})):
        kickstart = render(compiled(rolls, root, attributes), attributes)
        assert judge_kickstart(kickstart, release="el9", follow=False) == ()


@pytest.mark.parametrize(("rolls", "root"), CASES)
def test_every_script_is_one_in_its_language(rolls: str, root: str, tmp_path: Path) -> None:
    profile = compiled(rolls, root)
    scripts = list(pre_scripts(profile, ATTRIBUTES))
    posts = [part for part in render(profile, ATTRIBUTES).split("\n%post ")[1:] if "--interpreter=/bin/bash" in part]
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


def test_every_node_of_the_base_roll_is_used() -> None:
    rolls = load_rolls(ROLLS["base"])
    assert set(rolls.names) == rolls.graph.reachable("compute")[0]


def test_every_file_of_the_lab_roll_is_used() -> None:
    rolls = load_rolls(ROLLS["lab"])
    reached = rolls.graph.reachable("compute")[0] | rolls.graph.reachable("login")[0]
    assert set(rolls.names) == reached
    used = {file.file for name in reached for file in rolls.node(name)}
    assert {str(path) for path in (ROOT / "lab/roll/nodes").glob("*.xml")} <= used
