"""Node files: what they may hold, and clear words for what they may not."""

from __future__ import annotations

import pytest

from avalanche.document import Reference, Text
from avalanche.errors import ConditionError, NodeFileError
from avalanche.nodefile import NodeFile, parse_nodefile
from avalanche.nodesections import (
    CommandSection,
    FileSection,
    PackageSection,
    ScriptSection,
)
from avalanche.sections import Fragment


def parse(body: str) -> NodeFile:
    return parse_nodefile(f"<kickstart>{body}</kickstart>".encode(), name="a", file="roll/nodes/a.xml", roll="site")


def file_of(body: str) -> FileSection:
    (script,) = parse(f"<post>{body}</post>").sections
    assert isinstance(script, ScriptSection)
    (part,) = script.parts
    assert isinstance(part, FileSection)
    return part


def test_commands_of_main_are_kept_in_order_with_their_lines() -> None:
    commands = [
        section for section in parse("<main>\n<lang>C</lang>\n<skipx/>\n<include>/tmp/x.ks</include></main>").sections
    ]
    assert all(isinstance(command, CommandSection) for command in commands)
    assert [(c.command, c.text.plain, c.line) for c in commands if isinstance(c, CommandSection)] == [
        ("lang", "C", 2),
        ("skipx", "", 3),
        ("include", "/tmp/x.ks", 4),
    ]


def test_conditions_of_main_and_command_must_both_hold() -> None:
    (section,) = parse('<main cond="a"><lang arch="x86_64">C</lang></main>').sections
    assert section.when.holds({"a": "yes", "arch": "x86_64"})
    assert not section.when.holds({"arch": "x86_64"})
    assert not section.when.holds({"a": "yes", "arch": "i386"})


def test_packages_are_read() -> None:
    one, two = parse(
        '<package>a &b;\n c</package><package type="meta" disable="1" os="linux">Dev Tools</package>'
    ).sections
    assert isinstance(one, PackageSection)
    assert isinstance(two, PackageSection)
    assert one.names == Text(("a ", Reference("b", 1), "\n c"))
    assert (one.meta, one.disable, two.meta, two.disable) == (False, False, True, True)


def test_a_script_is_fragments_and_files_with_the_lines_where_they_begin() -> None:
    (script,) = parse('\n<post>\n\necho 1\n  <file name="/a">x</file>\n\n echo 2 &b;\n</post>').sections
    assert isinstance(script, ScriptSection)
    first, file, last = script.parts
    assert first == Fragment(Text(("echo 1\n",)), 4)
    assert isinstance(file, FileSection)
    assert file.line == 5
    assert last == Fragment(Text((" echo 2 ", Reference("b", 7), "\n")), 7)


@pytest.mark.parametrize(
    ("attributes", "interpreter", "chroot"),
    [
        ("", "/bin/bash", True),
        ('arg="--nochroot"', "/bin/bash", False),
        ('interpreter="/usr/bin/python3"', "/usr/bin/python3", True),
        ('arg="--interpreter /usr/bin/python3"', "/usr/bin/python3", True),
        ('arg="--erroronfail --interpreter=/usr/bin/perl --nochroot"', "/usr/bin/perl", False),
    ],
)
def test_arguments_in_new_and_old_style_are_understood(attributes: str, interpreter: str, chroot: bool) -> None:
    (script,) = parse(f"<post {attributes}>x</post>").sections
    assert isinstance(script, ScriptSection)
    assert (script.interpreter, script.chroot) == (interpreter, chroot)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("T", "T\n"),
        ("\nT\n", "T\n"),
        ("\nT\n  ", "T\n"),
        ("\n\nT\n\n", "\nT\n\n"),
        ("", ""),
        ("\n", ""),
        ("\n  ", ""),
        ("  ", ""),
        ("\n  T  ", "  T  \n"),
        ("<![CDATA[\n%end\n]]>", "%end\n"),
    ],
)
def test_the_text_of_a_file_begins_after_the_tag_and_ends_its_last_line(text: str, expected: str) -> None:
    assert file_of(f'<file name="/a">{text}</file>').text.plain == expected


def test_a_file_may_end_in_a_reference() -> None:
    assert file_of('<file name="/a">x &y;</file>').text == Text(("x ", Reference("y", 1), "\n"))


def test_names_that_decide_are_those_of_conditions_and_of_what_the_frontend_must_know() -> None:
    node = parse(
        '<main cond="a"><lang cond="b">&no;</lang></main><package os="linux">x-&c;</package>'
        '<post cond="d"><file name="/&e;" owner="&f;" perms="&g;" cond="h">&no;</file>&no;</post>'
    )
    assert node.names == {"a", "b", "c", "d", "e", "f", "g", "h", "os"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("\n<pakage>x</pakage>", "2: <pakage> is unknown here; did you mean <package>?"),
        ("<wrapper>\n<package>x</package></wrapper>", "1: <wrapper> is unknown here, and <package> would be lost"),
        ("\n<lang>C</lang>", "2: <lang> is a command of the installer; put it in <main>"),
        ("\n<file name='/a'>x</file>", "2: <file> stands in a script"),
        ("<post>a<b>c</b></post>", "<b> is unknown here; <post> holds text, <file> and <copy>"),
        ("<post>a\n<package>c</package></post>", "2: <package> is unknown here"),
        ("<main><langue>C</langue></main>", "<langue> is no kickstart command"),
        (
            "<main><lang>C\nfrench x</lang></main>",
            "2: <lang> spans several lines, and 'french' is no",
        ),
        ("<main><lang>C\n&a; x</lang></main>", "2: <lang> spans several lines, and 'a reference' is no"),
        ("<main><lang>C\u2028rootpw x</lang></main>", "<lang> holds a character that no command may have"),
        ("<main>lang C</main>", "<main> holds elements only"),
        ("<main><include>relative</include></main>", "absolute path"),
        ("<main><include>/&a;</include></main>", "absolute path"),
        ("<package type='group'>x</package>", "type='group'"),
        ("<package><b/></package>", "<b> cannot stand in <package>"),
        ('<post arg="\'">x</post>', "cannot be split"),
        ("<post interpreter='python'>x</post>", "no absolute path"),
        ("<post interpreter='/usr/bin/python3'><file name='/a'>x</file></post>", "<file> is written by the shell"),
        ("<post strict='maybe'>x</post>", "strict='maybe' of <post> is unclear"),
        ("<post><file>x</file></post>", "<file> needs name="),
        ("<post><file name='/a' vars='some'>x</file></post>", "vars='some' is unknown"),
        ("<post><copy src='/a'/></post>", "<copy> needs src=, a file of the frontend, and dst="),
        ("<boot order='later'>x</boot>", "order='later' of <boot> is unknown; choose pre or post"),
        ("\n<include/>", "2: <include> needs file="),
        ("<include file='../x'/>", "file='../x' of <include> is no path under"),
        ("<include file='x' mode='raw'/>", "mode='raw' of <include> is unknown"),
        ("\n<var val='x'/>", "2: <var> needs name="),
        ("<var name='a b'/>", "'a b' of <var> is no name"),
        ("<eval shell='perl'>x</eval>", "shell='perl' of <eval> is unknown"),
        ("<eval>a<b/></eval>", "<b> cannot stand in <eval>"),
        ("<post cond='a ='>x</post>", "condition 'a =': not understood"),
    ],
)
def test_a_wrong_node_file_is_refused_with_its_line(body: str, message: str) -> None:
    with pytest.raises((NodeFileError, ConditionError)) as caught:
        parse(body)
    assert str(caught.value).startswith("roll/nodes/a.xml:")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("<graph/>", "a node file holds <kickstart>, not <graph>"),
        ("<jumpstart/>", "<jumpstart> is for Solaris"),
        ("<stack:stack/>", "<stack:stack> is Stacki's dialect"),
        ("<kickstart", "not well-formed"),
        ("<kickstart><post></kickstart>", "mismatched tag"),
    ],
)
def test_another_document_is_no_node_file(document: str, message: str) -> None:
    with pytest.raises(NodeFileError, match=message):
        parse_nodefile(document.encode(), name="a", file="nodes/a.xml", roll="")


@pytest.mark.parametrize(
    ("body", "remarks"),
    [
        ("<package disable='0'>x</package>", ["package-disable"]),
        ("<package/>", ["package-empty"]),
        ("<package phas='x'>x</package>", ["attribute-unknown"]),
        ("<package gen='kgen'>x</package>", ["attribute-unknown"]),
        ("<post chroot='no'>x</post>", ["attribute-unknown"]),
        ("<post arg='--log=/x'>x</post>", ["arg-unknown", "arg-unknown"]),
        ("<pre arg='--nochroot'>x</pre>", []),
        ("<post><file name='/a' mode='755'>x</file></post>", ["file-mode"]),
        ("<post><file name='/a' perm='755'>x</file></post>", ["file-perm"]),
        ("<post><file name='/a' src='/b'>x</file></post>", ["file-src"]),
        ("<post os='sunos'><service name='x'/></post>", ["tag-passed-by"]),
        ("<main><url>--url=http://elsewhere/</url></main>", ["source-command"]),
        ("<main><install>%include /tmp/x\n</install></main>", ["main-lines"]),
        ("<ansible playbook='x'/><attributes/>", ["tag-passed-by", "tag-passed-by"]),
        ("<log>x</log>", ["tag-unknown"]),
        ("stray", ["text-passed-by"]),
        ("<screen><title>x</title><code><include file='x.js'/></code><variable/></screen>", []),
    ],
)
def test_what_is_odd_is_a_remark_with_its_line(body: str, remarks: list[str]) -> None:
    found = parse(f"\n{body}").remarks
    assert [remark.code for remark in found] == remarks
    assert all((remark.file, remark.line) == ("roll/nodes/a.xml", 2) for remark in found)


def test_a_condition_on_the_root_is_a_remark() -> None:
    node = parse_nodefile(b"<kickstart cond='a' os='linux'/>", name="a", file="nodes/a.xml", roll="")
    assert [remark.code for remark in node.remarks] == ["kickstart-condition", "kickstart-condition"]


def commands_of(body: str) -> list[tuple[str, str | None, int]]:
    sections = parse(f"<main>{body}</main>").sections
    return [(c.command, c.text.plain, c.line) for c in sections if isinstance(c, CommandSection)]


def test_lines_within_a_command_are_commands_and_options_belong_to_the_one_before() -> None:
    assert commands_of("<install>\n%include /tmp/x\n</install>") == [("install", "", 1), ("include", "/tmp/x", 2)]
    assert commands_of("<bootloader>--location=mbr\n  --timeout=5\n  --append=x</bootloader><skipx/>") == [
        ("bootloader", "--location=mbr --timeout=5 --append=x", 1),
        ("skipx", "", 3),
    ]
    assert commands_of("<install>\nlang C\nskipx</install>") == [
        ("install", "", 1), ("lang", "C", 2), ("skipx", "", 3),
    ]  # fmt: skip
    assert commands_of("<lang>\n  C\n</lang>") == [("lang", "C", 2)]
    assert commands_of("<lang>C\n%include /x\nkeyboard us</lang>") == [
        ("lang", "C", 1), ("include", "/x", 2), ("keyboard", "us", 3),
    ]  # fmt: skip


def test_sections_of_other_phases_are_left_out() -> None:
    node = parse(
        "<post phase='reconfigure'>a</post><configure phase='post, reconfigure'>b</configure><configure>c</configure>"
        "<package phase='reconfigure'>x</package><main phase='reconfigure'><skipx/></main>"
        "<post><file name='/a' phase='reconfigure'>x</file></post>"
    )
    assert [getattr(section, "kind", "") for section in node.sections] == ["post", "post", "post"]
    assert [len(getattr(section, "parts", ())) for section in node.sections] == [1, 1, 0]


def test_strictness_is_said_by_the_script_else_by_its_file() -> None:
    def strict(root: str) -> list[bool | None]:
        text = f"<kickstart{root}><post>a</post><post strict='yes'>b</post><boot strict='no'>c</boot></kickstart>"
        node = parse_nodefile(text.encode(), name="a", file="nodes/a.xml", roll="")
        return [section.strict for section in node.sections if isinstance(section, ScriptSection)]

    assert strict("") == [None, True, False]
    assert strict(" strict='no'") == [False, True, False]


def test_a_declaration_is_dropped_wherever_it_stands_but_in_text() -> None:
    node = parse_nodefile(
        b"\n\n<?xml version='1.0'?>\n<kickstart>\n<?xml version='1.0'?>\n"
        b"<post><![CDATA[<?xml version='1.0'?>]]></post></kickstart>",
        name="a", file="nodes/a.xml", roll="",
    )  # fmt: skip
    (script,) = node.sections
    assert isinstance(script, ScriptSection)
    assert script.line == 6
    assert script.parts == (Fragment(Text(("<?xml version='1.0'?>",)), 6),)
