"""Any node file compiles, or is refused with its place: whatever its bytes, tags, and what a frontend says."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Hashable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avalanche.adapters.rolls import load_rolls
from avalanche.attributes import Attributes
from avalanche.commands import RELEASES
from avalanche.compiler import compile_rolls
from avalanche.effects import Evaluation
from avalanche.errors import AvalancheError, DefinitionError, KickstartRefused
from avalanche.graph import parse_graph
from avalanche.judge import judge_kickstart
from avalanche.kickstart import pre_scripts, render
from avalanche.nodefile import parse_nodefile
from avalanche.profile import parse_profile
from avalanche.roll import Roll, RollSet, Source

ROOT = Path(__file__).resolve().parent.parent.parent
ENDS = b"</post></kickstart>"
HOST = Attributes.of({"a": "1", "b": "x y'z", "hostname": "compute-0-0", "evil": "a\n%end\nb"})

texts = st.sampled_from(
    ["", "x", "echo &a;", "&b;", "&evil;", "&nix;", "%end", "EOF", "%include /x", "a\nb", "--x\n--y",
     "<![CDATA[<?xml ?>]]>", "`&b;`", "'", "\\", "AVALANCHE_EOF", "core\nDev Tools", "\u2028", "$(", "c2VjcmV0"]
)  # fmt: skip
values = st.sampled_from(
    ["", "x", "yes", "no", "/a", "/a/", "../x", "&a;", "&b;", "1", "meta", "xml", "quote", "pre", "post", "reconfigure",
     "append", "pipe", "expanded", "base64", "0644", "u.g", "/bin/sh", "python", "--nochroot", "a &lt; 2", "a ==",
     "f.xml"]
)  # fmt: skip
names = st.sampled_from(
    ["cond", "arch", "os", "release", "phase", "name", "val", "ref", "mode", "shell", "file", "src", "dst", "expr",
     "vars", "owner", "perms", "perm", "rcs", "include", "encoding", "type", "disable", "interpreter", "arg",
     "order", "strict", "gen", "zzz"]
)  # fmt: skip
tags = st.sampled_from(
    ["main", "package", "pre", "post", "configure", "boot", "file", "copy", "eval", "include", "sinclude", "var",
     "debug", "screen", "description", "lang", "bootloader", "install", "url", "rdp", "ansible", "service", "zzz"]
)  # fmt: skip


def write(tag: str, attributes: dict[str, str], content: list[str]) -> str:
    return f"<{tag}{''.join(f' {name}={value!r}' for name, value in attributes.items())}>{''.join(content)}</{tag}>"


elements = st.recursive(
    texts,
    lambda inner: st.builds(write, tags, st.dictionaries(names, values, max_size=3), st.lists(inner, max_size=3)),
    max_leaves=8,
)
files = st.lists(elements, max_size=4).map(lambda found: f"<kickstart>{''.join(found)}</kickstart>".encode())


class Anything:
    """A frontend that says whatever it is told to."""

    def __init__(self, said: str) -> None:
        self.said = said

    def evaluate(self, evaluation: Evaluation) -> str:
        return self.said

    def read(self, path: str, *, roll: str) -> bytes:
        return self.said.encode()

    def stamp(self, path: str) -> Hashable:
        return None


@settings(max_examples=3 * settings().max_examples)
@given(data=files | st.binary(max_size=60), said=elements, release=st.sampled_from(RELEASES))
def test_any_node_file_becomes_a_kickstart_or_is_refused_with_its_place(data: bytes, said: str, release: str) -> None:
    graph = parse_graph(b"<graph/>", file="g.xml")
    roll = Roll(
        "r", graph, {"r": Source("nodes/r.xml", data)}, includes={"f.xml": Source("include/f.xml", said.encode())}
    )
    try:
        compilation = compile_rolls(RollSet([roll]), "r", HOST, release=release, effects=Anything(said))
        profile = compilation.profile
        assert parse_profile(profile.to_xml()) == profile
        pre_scripts(profile, HOST)
        kickstart = render(profile, HOST)
    except DefinitionError as error:
        assert error.file
        assert error.line
        assert "\n" not in str(error)
        return
    assert all(remark.line for remark in compilation.remarks)
    try:
        judge_kickstart(kickstart, release=release, follow=False)
    except KickstartRefused as error:
        # The arguments of a command are its author's business; the sections are ours.
        assert "from nodes/r.xml" in str(error), kickstart


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE a ["
        + b"".join(b'<!ENTITY l%d "%s">' % (level, b"&l%d;" % (level - 1) * 10) for level in range(1, 10))
        + b"]><kickstart>&l9;</kickstart>",
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><kickstart>&x;</kickstart>',
        b"<!DOCTYPE a [<!ENTITY x '" + b"x" * 50_000 + b"'>]><kickstart>" + b"&x;" * 150 + b"</kickstart>",
        b"<kickstart>" + b"<post>" * 200_000,
        b"<kickstart>" + b"<a>" * 200_000 + b"</a>" * 200_000 + b"</kickstart>",
        b"<kickstart>" + b"<package/>" * 50_000 + b"</kickstart>",
        b"<kickstart><post>\x00</post></kickstart>",
        b"<kickstart><post>&#0;</post></kickstart>",
        b"<kickstart>" + b"<?xml " * 150_000,
        b"<kickstart><var name='a' val='" + b"x" * 900_000 + b"'/><post>" + b"<var name='a'/>" * 5000 + ENDS,
        b"<kickstart>" + b" " * (1 << 20) + b"</kickstart>",
    ],
    ids=["laughs", "external", "quadratic", "open", "deep", "many", "nul", "reference", "declared", "vars", "large"],
)  # fmt: skip
def test_a_hostile_node_file_is_refused_at_once(data: bytes) -> None:
    begun = time.process_time()
    with pytest.raises(DefinitionError) as caught:
        parse_nodefile(data, name="r", file="nodes/r.xml", roll="r")
    assert str(caught.value).startswith("nodes/r.xml:")
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("folder", ["nodes", "graphs/default", "include"])
def test_a_file_of_a_gigabyte_is_refused_by_its_size(folder: str, tmp_path: Path) -> None:
    for name in ("nodes", "graphs/default", "include"):
        tmp_path.joinpath(name).mkdir(parents=True)
    path = tmp_path / folder / "big.xml"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(AvalancheError, match="1073741824 bytes, more than the"):
        load_rolls([tmp_path])


def test_a_pipe_or_device_among_the_files_keeps_nobody_waiting(tmp_path: Path) -> None:
    for name in ("nodes", "graphs/default"):
        tmp_path.joinpath(name).mkdir(parents=True)
    os.mkfifo(tmp_path / "nodes" / "pipe.xml")
    with pytest.raises(AvalancheError, match="no regular file"):
        load_rolls([tmp_path])


def test_hostile_files_cost_no_memory_to_speak_of() -> None:
    """The largest file that is allowed, full of what grows: in a process of its own that may have 600 MB."""
    program = (
        "from avalanche.nodefile import parse_nodefile\n"
        "body = b'<post>' + b'&a;' * 340_000 + b'</post>'\n"
        "for inner in (body, b'<a b=\"c\"/>' * 19_000):\n"
        "    data = b'<kickstart>' + inner + b'</kickstart>'\n"
        "    parse_nodefile(data, name='r', file='nodes/r.xml', roll='r')\n"
    )
    limit = 600 << 20
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
