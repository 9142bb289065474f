"""Node files become one document, with what was lost and spoiled on the way."""

from __future__ import annotations

import pytest

from avalanche.errors import DefinitionError
from avalanche.legacy.compiler import compile_legacy
from avalanche.legacy.text import Stopped
from tests.legacy.world import ATTRIBUTES, ask, kickstart, packages, tree

EDGE = '<edge from="r" to="z"/>'


def test_what_var_sets_stays_set_for_later_nodes() -> None:
    profile = ask(EDGE, r='<var name="x" val="1"/><var name="y" ref="x"/>', z='<post>[<var name="y"/>]</post>')
    assert "[1]" in profile.kickstart()


def test_an_include_is_quoted_unless_it_is_xml() -> None:
    tags = '<include file="p" mode="xml"/><post><include file="p"/></post><sinclude file="nix"/>'
    found = compile_legacy(tree(EDGE, {"p": "<package>x</package>\n"}, r=tags, z=""), "r", ATTRIBUTES, evals=True)
    found.check()
    assert packages(found.kickstart()) == ["x"]
    assert "\n<package>x</package>\n" in found.kickstart()


def test_no_eval_leaves_evals_and_includes_out() -> None:
    body = '<post>[<eval shell="bash">rm -rf /</eval><include file="nix"/>]</post><copy src="/etc/passwd"/>'
    assert "\n[]\n" in kickstart(body + '<post><file name="/x" include="/etc/passwd">y</file></post>')


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("<eval>id</eval>", "the original runs this with 'sh'; --legacy runs nothing: add --no-eval"),
        ('<copy src="/etc/passwd"/>', "--legacy does not: add --no-eval"),
        ('<file name="/x" include="/etc/passwd"/>', "--legacy does not: add --no-eval"),
        ('<include file="nix"/>', "stops here: IOError: [Errno 2] No such file or directory: 'include/nix'"),
        ('<include file="../nix"/>', "stops here: IOError"),
    ],
)
def test_nothing_is_executed_and_nothing_of_the_frontend_is_read(tag: str, words: str) -> None:
    profile = ask(EDGE, r=f"<post>\n{tag}\n</post>", evals=True)
    with pytest.raises(DefinitionError) as raised:
        profile.check()
    assert str(raised.value).startswith("nodes/r.xml:3: ")
    assert words in str(raised.value)


def test_a_line_with_an_xml_declaration_is_lost_wherever_it_stands() -> None:
    assert "one\ntwo\n" in kickstart('<post>one\nlost <?xml version="1.0"?>\ntwo</post>')


def test_lines_of_errors_are_those_of_the_file_as_it_is() -> None:
    with pytest.raises(Stopped, match=r"^nodes/r.xml:6: .*undefined entity$"):
        kickstart("<post>\n<?xml x?>\n<?xml y?>\n</post>\n<post>&Nope;</post>")


def test_a_missing_end_was_noticed_by_the_generator_only() -> None:
    profile = ask(EDGE, r='<?xml version="1.0"?>\n<kickstart>\n<post>x', z="")
    profile.check()
    with pytest.raises(Stopped, match=r"kgen XML parse exception: mismatched tag"):
        profile.kickstart()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("<post>é</post>", "UnicodeEncodeError: 'ascii' codec can't encode character '\\xe9'"),
        ('<post cond="num &lt; 9"/>', "SAXParseException: not well-formed (invalid token)"),
        ('<post cond="os == &quot;linux&quot;"/>', "SAXParseException: not well-formed (invalid token)"),
        ('<post cond="a &amp;lt; b"/>', "kgen XML parse exception: not well-formed (invalid token)"),
    ],
)
def test_what_the_second_reading_could_not_bear(body: str, words: str) -> None:
    with pytest.raises(Stopped) as raised:
        kickstart(f"\n{body}")
    assert words in str(raised.value)
    assert str(raised.value).startswith("nodes/r.xml:3: ")


def test_descriptions_vanish_with_their_tags_but_not_with_their_children() -> None:
    profile = ask(EDGE, r="<description>first <package>x</package> second</description><changelog>&lt;3</changelog>")
    assert "description" not in profile.document.text
    assert "first" not in profile.document.text
    assert "<package" in profile.document.text


def test_a_file_declares_no_entities() -> None:
    bomb = '<?xml version="1.0"?>\n<!DOCTYPE kickstart [<!ENTITY a "aaaaaaaaaa">]>\n<kickstart>&a;</kickstart>'
    with pytest.raises(Stopped, match=r"^nodes/r.xml:2: .*syntax error$"):
        kickstart(bomb)


def test_long_values_do_not_multiply() -> None:
    values = {**ATTRIBUTES, "long": "x" * 60_000}
    body = "<post>" + "&long;" * 20_000 + "</post>"
    profile = compile_legacy(tree(EDGE, r=body, z=""), "r", values)
    with pytest.raises(DefinitionError, match=r"^nodes/r.xml:"):
        profile.check()


def test_deep_and_large_files_are_refused() -> None:
    for body in ("<x>" * 200_000, "<x/>" * 250_001, "y" * (1 << 20)):
        with pytest.raises(DefinitionError, match=r"^nodes/r.xml"):
            kickstart(body)


def test_values_beyond_ascii_stop_everything() -> None:
    with pytest.raises(Stopped, match="UnicodeDecodeError"):
        compile_legacy(tree(EDGE, r="", z=""), "r", {**ATTRIBUTES, "Info_ClusterName": "Zürich"})


def test_solaris_names_are_tried_first_for_solaris_only() -> None:
    found = tree(EDGE, r="<package>x</package>", sol_r="<package>s</package>", z="")
    assert "sol-r" not in compile_legacy(found, "r", ATTRIBUTES).document.text
    with pytest.raises(DefinitionError, match="os=sunos"):
        compile_legacy(found, "r", {**ATTRIBUTES, "os": "sunos"}).kickstart()


def test_the_loaders_lines_keep_what_followed_their_tags() -> None:
    profile = ask(EDGE, r="<main><lang>C</lang>\n</main><main><text/></main>")
    assert "<loader>\nlang C\n\ntext \n\n%kgen\n</loader>\n" in profile.document.text
