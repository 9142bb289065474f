"""The pages on graph and node files, and the schema of the profile, say what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Hashable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from avalanche.attributes import SCOPES, Attributes
from avalanche.cluster import DEFAULT_ATTRIBUTES
from avalanche.compiler import Compilation, compile_rolls
from avalanche.effects import Evaluation
from avalanche.graph import parse_graph
from avalanche.judge import judge_kickstart
from avalanche.kickstart import render
from avalanche.membership import Membership
from avalanche.nodefile import parse_nodefile
from avalanche.profile import Profile, installation_document
from avalanche.roll import Roll, RollSet, Source
from avalanche.sections import FileWrite
from tests.test_profile import profiles

DOCS = Path(__file__).resolve().parent.parent / "docs"


def example(page: str, name: str) -> bytes:
    (found,) = re.findall(rf"```xml {name}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    return str(found).encode()


def schema() -> etree.RelaxNG:
    return etree.RelaxNG(etree.parse(str(DOCS / "profile.rng")))


def test_the_graph_of_the_page_means_what_the_page_says() -> None:
    graph = parse_graph(example("graph-format.md", "graph"), file="graph-format.md")
    assert graph.roll == "site"
    attributes = {"gpu_vendor": "nvidia", "arch": "x86_64"}
    assert graph.traverse("compute", attributes).nodes == ("ssh", "client", "gpu-nvidia", "ntp-client", "compute")
    assert graph.traverse("compute", {"arch": "i386"}).nodes == ("ssh", "client", "compute")


def test_the_node_file_of_the_page_is_one() -> None:
    node = parse_nodefile(example("node-format.md", "node"), name="ssh", file="node-format.md", roll="site")
    kinds = [type(section).__name__ for section in node.sections]
    assert kinds == ["CommandSection"] * 2 + ["PackageSection"] * 4 + ["ScriptSection"] * 3
    assert node.names == {"root_key", "arch", "appliance"}


PAGE = (DOCS / "node-format.md").read_text()
EXAMPLES = dict(re.findall(r"```xml example (\w+)\n(.*?)```", PAGE, re.DOTALL))
HOST = Attributes.of(
    {"hostname": "compute-0-0", "rack": "0", "appliance": "login", "Bootloader": "--timeout=9 --append=x"}
)


class Machine:
    """A frontend for the page's examples: it runs what they hold, and has one file."""

    def evaluate(self, evaluation: Evaluation) -> str:
        program = {"sh": "/bin/sh", "python": sys.executable}[evaluation.shell]
        environment = dict(evaluation.environment)
        environment = dict(evaluation.environment)
        done = subprocess.run(
            [program], input=evaluation.script, capture_output=True, text=True, env=environment, check=True
        )
        return done.stdout

    def read(self, path: str, *, roll: str) -> bytes:
        assert (path, roll) == ("/etc/hostname", "site")
        return b"frontend"

    def stamp(self, path: str) -> Hashable:
        return None


def compiled(name: str) -> Compilation:
    graph = parse_graph(b"<graph/>", file="g.xml")
    rolls = RollSet([Roll("site", graph, {"r": Source("site/nodes/r.xml", EXAMPLES[name].encode())})])
    return compile_rolls(rolls, "r", HOST, effects=Machine())


def commands_of(name: str) -> list[str]:
    lines = render(compiled(name).profile, HOST).split("# from r", 1)[1].split("# A frontend", 1)[0].splitlines()[1:]
    return [line for line in lines if line]


def scripts_of(name: str) -> list[str]:
    profile = compiled(name).profile
    return [text.fill(lambda reference: HOST.get(reference.name, "")) for post in profile.post for text in post.texts]


def files_of(name: str) -> list[FileWrite]:
    return [part for post in compiled(name).profile.post for part in post.parts if isinstance(part, FileWrite)]


def _commands() -> None:
    assert commands_of("commands") == [
        "lang en_US.UTF-8", "bootloader --location=mbr --timeout=5", "bootloader --timeout=9 --append=x",
        "%include /tmp/disk.ks", "%include /tmp/partition-info",
    ]  # fmt: skip
    assert {remark.code for remark in compiled("commands").remarks} == {"command-gone"}


def _packages() -> None:
    profile = compiled("packages").profile
    names = [("@" if package.meta else "") + package.name for package in profile.requested]
    assert names == ["openssh-server", "openssh-clients", "nano", "@Development Tools", "@core"]
    assert [package.name for package in profile.excluded] == ["telnet"]


def _scripts() -> None:
    strict, lax, other = compiled("scripts").profile.post
    assert [strict.strict, lax.strict, other.strict] == [True, False, True]
    assert (other.interpreter, other.chroot) == ("/usr/bin/python3", False)


def _boot() -> None:
    profile = compiled("boot").profile
    assert [len(script.parts) for script in (*profile.boot_pre, *profile.boot_post)] == [1, 2]
    assert judge_kickstart(render(profile, HOST), release="el9") == ()


def _files() -> None:
    assert [(part.name, part.mode) for part in files_of("files")] == [
        ("/etc/ssh/sshd_config.d/20-cluster.conf", "create"), ("/etc/motd", "append"),
        ("/etc/kernel-at-install", "create"), ("/etc/services.sorted", "pipe"), ("/etc/installed-on", "output"),
        ("/root/notes", "create"),
    ]  # fmt: skip
    assert [part.keep for part in files_of("files")] == [True] * 5 + [False]


def _evals() -> None:
    assert scripts_of("evals")[0] == "# hello from compute-0-0\n"
    assert [package.name for package in compiled("evals").profile.requested] == ["tool-a", "tool-b"]
    (copied,) = files_of("evals")
    assert (copied.name, copied.text.plain, copied.encoding) == ("/etc/frontend", "ZnJvbnRlbmQ=", "base64")


def _variables() -> None:
    assert scripts_of("variables") == ["echo [alpha] [compute-0-0] [0] []\n"]
    assert [remark.code for remark in compiled("variables").remarks] == ["var-unset"]


OUTCOMES = {
    "commands": _commands, "packages": _packages, "scripts": _scripts, "boot": _boot, "files": _files,
    "evals": _evals, "variables": _variables,
}  # fmt: skip


def test_every_example_of_the_page_has_an_outcome_to_check() -> None:
    assert EXAMPLES.keys() == OUTCOMES.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_of_the_page_does_what_the_page_says(name: str) -> None:
    OUTCOMES[name]()


def test_the_page_names_the_attributes_that_init_sets() -> None:
    page = (DOCS / "node-format.md").read_text()
    assert dict(re.findall(r"^\| `(Kickstart_\w+)` \| `([^`]+)` \|", page, re.MULTILINE)) == DEFAULT_ATTRIBUTES


def test_the_protocol_s_example_is_valid() -> None:
    schema().assertValid(etree.fromstring(example("protocol.md", "installation")))


@given(profiles, st.sampled_from([None, Membership(("http://10.1.1.1:7969",), "e30.e30", "ab" * 32)]))
def test_whatever_is_written_is_valid(profile: Profile, membership: Membership | None) -> None:
    document = installation_document(
        host="h", generation="g-0123456789abcdef", manifest="0" * 64, plane="http",
        attributes=Attributes.of({"a": "1"}), body=profile.to_xml(), membership=membership,
    )  # fmt: skip
    schema().assertValid(etree.fromstring(document))
    schema().assertValid(etree.fromstring(profile.to_xml()))


def test_the_schema_knows_the_scopes() -> None:
    for scope in SCOPES:
        schema().assertValid(etree.fromstring(Attributes.of({"a": "1"}, scope=scope).to_xml()))
