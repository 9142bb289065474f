"""Includes, variables and what the frontend is asked for: what stands in their place, and who decides about it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pytest

from avalanche.attributes import Attribute, Attributes
from avalanche.compiler import Compilation, compile_rolls
from avalanche.document import Reference, Text
from avalanche.effects import Effects, Evaluation, EvaluationFailed, LeftOut
from avalanche.errors import AvalancheError, DefinitionError, NodeFileError, UndefinedAttribute
from avalanche.expansion import MAX_EXPANDED
from avalanche.graph import parse_graph
from avalanche.nodefile import NodeFile, parse_nodefile
from avalanche.roll import Roll, RollSet, Source
from avalanche.sections import FileWrite

HOST = Attributes(
    [
        *Attributes.of({"hostname": "compute-0-0", "odd": "a'b c", "no": "no", "arch": "x86_64"}).effective(),
        Attribute("password", "s3cr3t", "global", secret=True),
    ]
)


class Frontend:
    """Answers every program with one text, and remembers what it was asked."""

    def __init__(self, answer: str = "", **files: bytes) -> None:
        self.answer = answer
        self.files = files
        self.asked: list[Evaluation] = []

    def evaluate(self, evaluation: Evaluation) -> str:
        self.asked.append(evaluation)
        if self.answer == "fail":
            raise EvaluationFailed("it exited with status 3: no")
        return self.answer

    def read(self, path: str, *, roll: str) -> bytes:
        name = path.removeprefix("/")
        if name not in self.files:
            raise EvaluationFailed(f"{path} on the frontend cannot be read")
        return self.files[name]

    def stamp(self, path: str) -> Hashable:
        return len(self.files.get(path.removeprefix("/"), b""))


def rolls(body: str, includes: bool = True, **files: str) -> RollSet:
    found = {name: Source(f"site/include/{name}", text.encode()) for name, text in files.items()}
    nodes = {"r": Source("site/nodes/r.xml", f"<kickstart>{body}</kickstart>".encode())}
    graph = parse_graph(b"<graph/>", file="g.xml")
    return RollSet([Roll("site", graph, nodes, includes=found, library="lib")], includes=includes)


def compiled(body: str, effects: Effects | None = None, **files: str) -> Compilation:
    return compile_rolls(rolls(body, **files), "r", HOST, effects=effects)


def texts(found: Compilation) -> list[Text]:
    return [text for script in found.profile.post for text in script.texts]


def plain(found: Compilation) -> str:
    return "".join(text.plain or "" for text in texts(found))


def file_of(body: str) -> NodeFile:
    return parse_nodefile(f"<kickstart>{body}</kickstart>".encode(), name="r", file="nodes/r.xml", roll="site")


# --- includes ---


def test_an_included_file_is_text_in_which_nothing_means_anything() -> None:
    found = compiled('<post>a <include file="b/c"/> d</post>', **{"b/c": "<x> &amp; &hostname;\n"})
    assert plain(found) == "a <x> &amp; &hostname;\n d\n"


def test_an_included_file_is_tags_and_references_where_xml_is_asked_for() -> None:
    found = compiled(
        '<post>\n<include file="f.xml" mode="xml"/></post><include file="p" mode="xml"/>',
        p="<package cond='no'>x</package><package>y</package>",
        **{"f.xml": "echo &hostname;\n<file name='/a'>x &lt;</file>"},
    )
    first, file = found.profile.post[0].parts
    assert first.text == Text(("echo ", Reference("hostname", 2), "\n"))
    assert isinstance(file, FileWrite)
    assert (file.text.plain, file.line) == ("x <\n", 2)
    assert [package.name for package in found.profile.requested] == ["y"]


def test_what_is_included_decides_as_if_it_stood_there() -> None:
    node = rolls('<include file="p" mode="xml"/>', p="<package cond='deep'>x-&kind;</package>").node("r")[0]
    assert node.names == {"deep", "kind"}


def test_a_later_roll_lays_its_include_on_top() -> None:
    graph = parse_graph(b"<graph/>", file="g.xml")
    node = {"r": Source("nodes/r.xml", b"<kickstart><post><include file='f'/></post></kickstart>")}
    both = RollSet(
        [
            Roll("a", graph, node, includes={"f": Source("f", b"one")}),
            Roll("b", graph, {}, includes={"f": Source("f", b"two")}),
        ]
    )
    assert plain(compile_rolls(both, "r", HOST)) == "two"


def test_a_missing_include_is_an_error_unless_it_may_be_missing() -> None:
    assert plain(compiled("<post>a<sinclude file='nix'/></post>")) == "a"
    with pytest.raises(NodeFileError, match=r"site/nodes/r\.xml:2: no roll has include/nix; add it, or write"):
        compiled("\n<include file='nix'/>")


def test_includes_can_be_left_out() -> None:
    found = compile_rolls(rolls("<post>a<include file='nix'/></post>", includes=False), "r", HOST)
    assert plain(found) == "a"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("\n<x", r"site/include/f:2: not well-formed"),
        ("<eval>date</eval>", r"site/include/f:1: <eval> cannot stand in what is included"),
        ("<post><var name='a'/></post>", "<var> cannot stand"),
        ("</fragment><fragment>", "not well-formed"),
        ("<!DOCTYPE a []>", "site/include/f:1: "),
        ("a\x00b", "holds U"),
    ],
)
def test_a_wrong_include_is_told_with_its_own_place(content: str, why: str) -> None:
    with pytest.raises(NodeFileError, match=why):
        compiled("<include file='f' mode='xml'/>", f=content)


# --- variables ---


def test_variables_hold_from_where_they_are_set_to_the_end_of_their_file() -> None:
    found = compiled(
        "<post><var name='a' val='1 &hostname;'/>[<var name='a'/>]<var name='b' ref='a'/></post><var name='a' val='2'/>"
        "<post cond='no'><var name='c' val='3'/></post><post>[<var name='a'/>][<var name='b'/>][<var name='c'/>]</post>"
    )
    hostname = Reference("hostname", 1)
    assert texts(found) == [Text(("[1 ", hostname, "]")), Text(("[2][1 ", hostname, "][3]"))]


def test_a_name_that_was_not_set_is_an_attribute_or_nothing() -> None:
    found = compiled("\n<post>[<var name='hostname'/>][<var name='nix'/>]</post><package>x<var name='nix'/></package>")
    assert texts(found)[0].references == (Reference("hostname", 2, optional=True), Reference("nix", 2, optional=True))
    assert [(remark.line, remark.code) for remark in found.remarks] == [(2, "var-unset")]
    assert [package.name for package in found.profile.requested] == ["x"]


# --- evals ---


def test_what_a_program_says_stands_in_its_place() -> None:
    body = "<post>\na <eval>date</eval> b</post><main><rootpw>--iscrypted <eval>pw</eval></rootpw></main>"
    found = compiled(body, Frontend("<x>&hostname;\n"))
    assert plain(found) == "a <x>&hostname;\n b\n"
    assert found.profile.commands[0].text.plain == "--iscrypted <x>&hostname;"


def test_what_a_program_says_is_read_as_xml_where_asked_for() -> None:
    body = "\n<post>\n<eval mode='xml'>a</eval></post>"
    found = compiled(
        body,
        Frontend("<file name='/a'>&hostname;</file>"),
    )
    (file,) = found.profile.post[0].parts
    assert isinstance(file, FileWrite)
    assert (file.text, file.line) == (Text((Reference("hostname", 3), "\n")), 3)


def test_a_program_gets_values_quoted_and_the_variables_set_so_far() -> None:
    frontend = Frontend()
    compiled(
        "<var name='a' val='&hostname;'/><var name='a.b' val='x'/>"
        "<post><eval shell='bash'>echo &odd; '&odd;'</eval></post>"
        "<var name='c' val='2'/><eval shell='python'>print('&hostname;')</eval>",
        frontend,
    )
    first, second = frontend.asked
    assert first == Evaluation("echo 'a'\"'\"'b c' 'a'\\''b c'", "bash", (("a", "compute-0-0"),), "site", "lib")
    assert second == Evaluation("print('compute-0-0')", "python", (("a", "compute-0-0"), ("c", "2")), "site", "lib")


def test_nothing_is_asked_for_what_is_left_out_anyway() -> None:
    frontend = Frontend("x")
    compiled(
        "<post cond='no'><eval>a</eval></post><eval arch='i386'>b</eval><post phase='reconfigure'><eval>c</eval></post>"
        "<screen><variable><eval>d</eval></variable></screen><post><file name='/a' include='/x' cond='no'/></post>",
        frontend,
    )
    assert frontend.asked == []


def test_what_a_program_refers_to_decides() -> None:
    node = file_of("<var name='a' val='&x;'/><eval cond='y'>&z;</eval><post><copy src='/&w;' dst='/&v;'/></post>")
    assert node.names >= {"x", "y", "z", "w", "v"}
    assert file_of("<var name='a' val='&x;'/><post><var name='a'/></post>").names == frozenset()


def test_a_secret_never_reaches_a_program() -> None:
    frontend = Frontend("x")
    found = compiled("<var name='a' val='&password;'/><var name='b' val='1'/><eval>b</eval>", frontend)
    assert frontend.asked[0].environment == (("b", "1"),)
    assert [remark.code for remark in found.remarks] == ["eval-secret", "text-passed-by"]
    with pytest.raises(NodeFileError, match="&password; is secret; a secret cannot stand in an eval's text") as caught:
        compiled("<eval>echo &password;</eval>", frontend)
    assert "s3cr3t" not in str(caught.value) + repr(frontend.asked)


@pytest.mark.parametrize(
    ("body", "answer", "error", "why"),
    [
        ("\n<eval>x</eval>", "fail", NodeFileError, r"r\.xml:2: <eval> failed: it exited with status 3: no"),
        ("\n<eval mode='xml'>x</eval>", "a\n<b", NodeFileError, r":2: the output .* not well-formed .*its line 2"),
        ("<eval mode='xml'>x</eval>", "<eval>y</eval>", NodeFileError, "cannot stand in what is included"),
        ("<eval mode='xml'>x</eval>", "<pakage/>", NodeFileError, "did you mean <package>"),
        ("<eval>x</eval>", "a\x00", NodeFileError, r"the output of <eval> holds U\+0000"),
        ("<eval mode='xml'>x</eval>", "<package cond='hostname'>x</package>", NodeFileError, "does not mention"),
        ("<eval mode='xml'>&hostname;</eval>", "<package cond='hostname'>x</package>", None, ""),
        ("\n<eval>&hostnam;</eval>", "", UndefinedAttribute, r":2: the attribute hostnam .* did you mean hostname"),
        ("<eval>`echo &odd;`</eval>", "", NodeFileError, "the attribute odd cannot stand here"),
        ("<eval shell='python'>&odd;</eval>", "", NodeFileError, "the attribute odd cannot stand here"),
        ("<post><copy src='/nix' dst='/a'/></post>", "", NodeFileError, "/nix on the frontend cannot be read"),
        ("<post><copy src='x' dst='/a'/></post>", "", NodeFileError, "src='x' of <copy> is no absolute path"),
        ("<post><copy src='/&password;' dst='/a'/></post>", "", NodeFileError, "&password; is secret"),
        ("<post><file name='/a' include='/bin'/></post>", "", NodeFileError, "not UTF-8"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_told_with_its_place(
    body: str, answer: str, error: type[AvalancheError] | None, why: str
) -> None:
    frontend = Frontend(answer, bin=b"\xff")
    if error is None:
        compiled(body, frontend)
        return
    with pytest.raises(error, match=why) as caught:
        compiled(body, frontend)
    assert "\n" not in str(caught.value)


def test_files_of_the_frontend_come_with_their_stamps() -> None:
    found = compiled(
        "<post><copy src='/key' dst='/etc/key'/><file name='/etc/motd' include='/motd'>and more\n</file></post>",
        Frontend(key=b"\x00\xff", motd=b"welcome &hostname;\n"),
    )
    copied, file = found.profile.post[0].parts
    assert isinstance(copied, FileWrite)
    assert (copied.name, copied.text.plain, copied.encoding) == ("/etc/key", "AP8=", "base64")
    assert file.text.plain == "welcome &hostname;\nand more\n"
    assert found.reads == (("/key", 2), ("/motd", 19))


def test_no_roll_is_trusted_unless_somebody_says_so() -> None:
    for body in ("\n<eval>x</eval>", "<post>\n<copy src='/a' dst='/b'/></post>"):
        with pytest.raises(NodeFileError, match=r"r\.xml:2: .*the roll site is not trusted to .*\[rolls\] trusted"):
            compiled(body)


def test_everything_can_be_left_out_to_look_at_a_roll() -> None:
    found = compiled("<post>a<eval>&nix; `&odd;`</eval>b<copy src='/a' dst='/b'/></post>", LeftOut())
    assert texts(found)[0].plain == "ab"


@pytest.mark.parametrize(
    "body",
    [
        "<var name='a' val='" + "x" * 100_000 + "'/><post>" + "<var name='a'/>" * 1000 + "</post>",
        "<post>" + "<include file='f'/>" * 1000 + "</post>",
        "<post>" + "<eval>x</eval>" * 1000 + "</post>",
        "<post>" + "<copy src='/f' dst='/f'/>" * 1000 + "</post>",
    ],
    ids=["var", "include", "eval", "copy"],
)
def test_what_is_added_is_bounded(body: str) -> None:
    big: dict[str, Any] = {"f": "x" * 100_000}
    with pytest.raises(DefinitionError, match=f"more than {MAX_EXPANDED} characters"):
        compiled(body, Frontend("x" * 100_000, f=b"x" * 100_000), **big)
