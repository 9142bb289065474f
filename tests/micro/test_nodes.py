"""Node files in one case each, with the answers that their authors meant.

``nodes.json`` holds inputs that were put to the compiler of Rocks 7: case, attributes, graph and node files, written
for the purpose. Where Rocks' own answer was an accident, a crash or a hole, the answer here is the intended one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from avalanche.attributes import Attributes
from avalanche.compiler import Compilation, compile_rolls
from avalanche.errors import AvalancheError
from avalanche.graph import parse_graph
from avalanche.judge import judge_kickstart
from avalanche.kickstart import pre_scripts, render
from avalanche.roll import Roll, RollSet, Source
from avalanche.sections import FileWrite

CASES = json.loads(Path(__file__).with_name("nodes.json").read_text())


class Answer:
    """What came of a case."""

    def __init__(self, name: str) -> None:
        case = CASES[name]
        self.attributes = Attributes.of(case["attributes"])
        self.files = {stem: Source(f"nodes/{stem}.xml", text.encode()) for stem, text in case["nodes"].items()}
        self.rolls = RollSet([Roll("micro", parse_graph(case["graph"].encode(), file="g.xml"), self.files)])

    @property
    def compiled(self) -> Compilation:
        return compile_rolls(self.rolls, "r", self.attributes, release="el9")

    @property
    def kickstart(self) -> str:
        return render(self.compiled.profile, self.attributes)

    @property
    def commands(self) -> list[str]:
        return [f"{found.command} {found.text.plain}".strip() for found in self.compiled.profile.commands]

    @property
    def posts(self) -> list[str]:
        fill = lambda reference: self.attributes.get(reference.name, "")  # noqa: E731
        return ["".join(text.fill(fill) for text in post.texts).strip() for post in self.compiled.profile.post]

    @property
    def written(self) -> list[FileWrite]:
        parts = (part for post in self.compiled.profile.post for part in post.parts)
        return [part for part in parts if isinstance(part, FileWrite)]

    @property
    def packages(self) -> str:
        """Without those of the case's second node."""
        profile = self.compiled.profile
        wanted = sorted(("@" if package.meta else "") + package.name for package in profile.requested)
        unwanted = sorted(f"-{package.name}" for package in profile.excluded)
        return " ".join(name for name in wanted + unwanted if name not in ("q", "r2"))

    @property
    def remarks(self) -> list[str]:
        found = [remark for node in ("r", "r2") for file in self.rolls.node(node) for remark in file.remarks]
        return [remark.code for remark in (*found, *self.compiled.remarks)]

    @property
    def error(self) -> str:
        with pytest.raises(AvalancheError) as caught:
            _ = self.compiled
        return str(caught.value)


def _file_modes(case: Answer) -> bool:
    found = [(part.name, part.mode, part.text.plain, part.keep) for part in case.written]
    last = case.written[-1]
    return (last.owner, last.perms) == ("a.b", "0600") and found == [
        ("/a", "create", "T\n", False), ("/a", "append", "U\n", False), ("/e", "create", "", False),
        ("/v", "create", "$X\n", False), ("/c", "output", "date", False), ("/c2", "output", "date", False),
        ("/c2", "create", "T\n", False), ("/p", "pipe", "sort\n", False), ("/p", "pipe", "sort\n", False),
        ("/o", "create", "x\n", True),
    ]  # fmt: skip


def _boot_sections(case: Answer) -> bool:
    profile = case.compiled.profile
    early, late = ([script.parts[0].text.plain for script in found] for found in (profile.boot_pre, profile.boot_post))
    return (early, late) == (["PRE $X", "DEF"], ["POST"])


def _post_args(case: Answer) -> bool:
    (pre,) = pre_scripts(case.compiled.profile, case.attributes)
    (post,) = case.compiled.profile.post
    outside = (post.interpreter, post.chroot) == ("/usr/bin/python", False)
    return outside and pre.body.endswith("p\n") and case.remarks == ["arg-unknown"]


ANSWERS: dict[str, Callable[[Answer], bool]] = {
    "amp_in_attribute": lambda case: [(part.mode, part.text.plain) for part in case.written] == [("output", "a && b")],
    "attr_value_apostrophe": lambda case: (
        case.posts == ["N=Bob's <A&B> 5%"] and "N='Bob'\"'\"'s <A&B> 5%'" in case.kickstart
    ),
    "boot_sections": _boot_sections,
    "cdata_and_entities": lambda case: case.posts == ["a < b && c &hostname; compute-0-0 <x>"],
    "cond_on_kickstart_root_ignored": lambda case: case.packages == "x" and case.remarks == ["kickstart-condition"],
    "debug_and_description": lambda case: "\n# dbg line\n" in case.kickstart and case.posts == [],
    "eof_in_file": lambda case: [part.text.plain for part in case.written] == ["a\nEOF\nrm -rf /\n"],
    "file_cond_ignored": lambda case: case.written == [],
    "file_modes": _file_modes,
    "file_os_other_skipped": lambda case: [part.name for part in case.written] == ["/y"],
    "gt_in_cond_attribute": lambda case: case.posts == ["echo GT"],
    "lt_in_cond_attribute": lambda case: case.posts == ["echo"],
    "main_cond_false": lambda case: case.commands == ["lang en"],
    "main_unknown_command_dropped": lambda case: (
        case.commands == ["services --enabled=a", "firewall --disabled", "network --bootproto=dhcp"]
        and case.remarks == ["source-command"] * 2
    ),
    "package_disable_zero_is_disable": lambda case: case.packages == "-x" and case.remarks == ["package-disable"],
    "package_double_disable_then_on": lambda case: case.packages == "x",
    "package_duplicates_and_meta": lambda case: case.packages == "@Dev Tools x",
    "package_empty": lambda case: case.packages == "" and case.remarks == ["package-empty"],
    "package_on_wins": lambda case: case.packages == "x y",
    "package_two_names_one_tag": lambda case: case.packages == "x y",
    "post_args": _post_args,
    "post_phase": lambda case: case.posts == ["BOTH", "CONF"],
    "release_attr_vs_numeric": lambda case: case.posts == ["REL"],
    "undefined_entity": lambda case: case.error.startswith("nodes/r.xml:3: the attribute Nope has no value"),
    "unknown_child_of_post": lambda case: case.error.startswith("nodes/r.xml:3: <b> is unknown here"),
    "unresolved_name_is_None": lambda case: case.posts == ["B", "C", "D"],
    "value_typing": lambda case: case.posts == ["A", "B", "C", "D"],
    "var_tags": lambda case: case.posts == ["[1][compute-0-0][]"] and case.remarks == ["var-unset"],
    "version_string_compare_611_ge_7": lambda case: case.posts == [],
    "xml_decl_line_in_body_deleted": lambda case: (
        [part.text.plain for part in case.written] == ['<?xml version="1.0"?>\n<a/>\n']
    ),
}


def test_every_case_has_an_answer() -> None:
    assert ANSWERS.keys() == CASES.keys()


@pytest.mark.parametrize("name", CASES)
def test_a_case_has_the_answer_that_was_meant(name: str) -> None:
    assert ANSWERS[name](Answer(name))


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("undefined_entity", "unknown_child_of_post")])
def test_the_kickstart_of_a_case_is_accepted_without_a_warning(name: str) -> None:
    assert judge_kickstart(Answer(name).kickstart, release="el9") == ()
