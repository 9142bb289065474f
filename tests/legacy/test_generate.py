"""The kickstart of the original, section by section, beyond the questions of tests/micro."""

from __future__ import annotations

import pytest

from avalanche.errors import DefinitionError
from avalanche.legacy.compiler import compile_legacy
from avalanche.legacy.text import Stopped
from tests.legacy.world import ATTRIBUTES, kickstart, main_lines, packages, tree


def test_some_commands_were_rewritten() -> None:
    body = "<clearpart partition='x'> --all</clearpart><lilo>--timeout=1</lilo><langsupport> de \n</langsupport>"
    assert main_lines(kickstart(f"<main>{body}<sshpw> x </sshpw><install>\n%include /tmp/p</install></main>")) == [
        "clearpart  --all", "bootloader --timeout=1", "langsupport --default=de", "sshpw x", "install ",
        "%include /tmp/p",
    ]  # fmt: skip


def test_a_command_counts_within_an_accepted_main_only_but_through_tags_that_are_not() -> None:
    body = "<lang>a</lang><main cond='noflag'><lang>b</lang></main><main><x><lang>c</lang></x></main>"
    assert main_lines(kickstart(body)) == ["lang c"]


def test_a_package_within_a_false_tag_still_counted() -> None:
    assert packages(kickstart("<main cond='noflag'><package>x</package></main><y><package>z</package></y>")) == [
        "x",
        "z",
    ]


def test_phases_are_not_stripped() -> None:
    text = kickstart("<post phase='reconfigure, post'>A</post><post phase='pre'>B</post><package phase='x'>p</package>")
    assert ("\nA\n" in text, "\nB\n" in text, packages(text)) == (False, True, [])


def test_owner_and_mode_of_a_file_are_inherited_by_the_next_tag() -> None:
    text = kickstart(
        "<post><file name='/etc/x' owner='u.g' perms='0600'>1</file><file name='/etc/x' rcs='On'>2\n</file></post>"
    )
    assert text.count("chown u.g /etc/x\nchown u.g /etc/RCS/x,v\n") == 3
    assert text.count("chmod 0600 /etc/x\n") == 2
    assert text.count("mkdir -m 700 /etc/RCS") == 1


def test_a_file_without_a_name_wrote_nothing() -> None:
    assert "nothing" not in kickstart("<post><file>nothing</file></post>")


def test_unknown_modes_create_and_typing_errors_are_ignored() -> None:
    text = kickstart("<post><file name='/x' mode='755' perm='0644' rcs='no'>\nT\n</file></post>")
    assert "cat > /x << 'EOF'\nT\nEOF\ndn=" in text


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("<boot order='never'>x</boot>", "KeyError: 'boot-never'"),
        ("<attributes/>", "AttributeError: Generator_linux instance has no attribute 'handle_attributes'"),
        ("<main><url>x<b/></url></main>", "AttributeError: Generator_linux instance has no attribute 'handle_child_b'"),
        ("<package>x<a-b/></package>", "no attribute 'handle_child_a'"),
        ("<post>x<a:b/></post>", "SyntaxError"),
        ("<post cond='len(os)'/>", "TypeError: 'NoneType' object is not callable"),
        ("<post arch='x86_64' cond='('>x</post>", "SyntaxError"),
    ],
)
def test_where_the_generator_stopped_a_line_says_so(body: str, words: str) -> None:
    with pytest.raises(Stopped) as raised:
        kickstart(f"\n{body}")
    assert str(raised.value).startswith("nodes/r.xml:3: the original compiler stops here: ")
    assert words in str(raised.value)


def test_playbooks_are_not_reproduced() -> None:
    with pytest.raises(DefinitionError, match=r"^nodes/r.xml:2: --legacy does not reproduce <ansible>$"):
        kickstart("<ansible>x</ansible>")


def conditional(value: str, cond: str) -> bool:
    found = tree('<edge from="r" to="a"/>', r=f'<post cond="{cond}">HERE</post>', a="")
    return "HERE" in compile_legacy(found, "r", {**ATTRIBUTES, "v": value}).kickstart()


def test_conditions_of_a_section_see_what_those_of_the_graph_see_escaped() -> None:
    assert conditional("a&b", "v == 'a'") is False
    assert conditional("Bob's", "v is None") is False
    assert conditional("x\\ty", "'\t' in v") is False  # the blank of an attribute's value, not a tab
    assert conditional("x\\nd", "v &gt; 'x' and v in ['x']") is False
    assert conditional("%", "v == '%'") is True
    graph = '<edge from="r"><to>a</to></edge><edge from="r" cond="v == \'a&amp;amp;b\'"><to>b</to></edge>'
    profile = compile_legacy(tree(graph, r="", a="", b=""), "r", {**ATTRIBUTES, "v": "a&b"})
    assert profile.nodes == ("a", "b", "r")


@pytest.mark.parametrize(("value", "words"), [("x\\", "SyntaxError"), ("x\\'y", "SyntaxError"), ("\\xg", "ValueError")])
def test_a_backslash_in_a_value_could_spoil_the_dictionary(value: str, words: str) -> None:
    with pytest.raises(Stopped, match=words):
        conditional(value, "v")


def test_an_escape_in_a_value_was_read_as_one() -> None:
    assert conditional("\\101", "v == 'A'")
    assert conditional("\\x41\\q", "v == 'A\\\\q'")
