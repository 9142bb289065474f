"""Node files: what they may hold, and clear words for what they may not."""

from __future__ import annotations

import pytest
from pykickstart.version import makeVersion

from avalanche.commands import COMMANDS
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
        ("\n<pakage>x</pakage>", "2: <pakage> is unknown here; a node file holds main"),
        ("<eval>date</eval>", "<eval> is not supported yet"),
        ("<var name='a'/>", "<var> is not supported yet"),
        ("<post>a<b>c</b></post>", "<b> is unknown here; <post> holds text and <file>"),
        ("<post>a\n<eval>c</eval></post>", "2: <eval> is not supported yet"),
        ("<main><langue>C</langue></main>", "<langue> is no kickstart command"),
        ("<main><url>--url=http://elsewhere/</url></main>", "packages come from the distribution"),
        ("<main><lang>C\nrootpw x</lang></main>", "spans several lines"),
        ("<main><lang>C\u2028rootpw x</lang></main>", "spans several lines"),
        ("<main>lang C</main>", "<main> holds elements only"),
        ("<main><include>relative</include></main>", "absolute path"),
        ("<main><include>/&a;</include></main>", "absolute path"),
        ("<package type='group'>x</package>", "type='group'"),
        ("<package disable='0'>x</package>", "disable='0' is unclear"),
        ("<package><b/></package>", "<b> cannot stand in <package>"),
        ("<package phase='post'>x</package>", "phase= of <package> is not supported yet"),
        ("<post arg='--log=/x'>x</post>", "'--log' has no place in arg="),
        ("<pre arg='--nochroot'>x</pre>", "'--nochroot' has no place in arg="),
        ('<post arg="\'">x</post>', "cannot be split"),
        ("<post interpreter='python'>x</post>", "no absolute path"),
        ("<post interpreter='/usr/bin/python3'><file name='/a'>x</file></post>", "<file> is written by the shell"),
        ("<post><file>x</file></post>", "<file> needs name="),
        ("<post><file name='/a' mode='755'>x</file></post>", "mode='755' is unknown; choose create or append"),
        ("<post><file name='/a' mode='pipe'>x</file></post>", "mode='pipe' is not supported yet"),
        ("<post><file name='/a' perm='755'>x</file></post>", "no attribute 'perm'; it takes name, mode, owner, perms"),
        ("<post><file name='/a' expr='date'>x</file></post>", "expr= of <file> is not supported yet"),
        ("<post><file name='/a' vars='some'>x</file></post>", "vars='some' is unknown"),
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
        ("<kickstart cond='a'/>", "put it on the edge"),
        ("<kickstart", "not well-formed"),
        ("<kickstart><post></kickstart>", "mismatched tag"),
    ],
)
def test_another_document_is_no_node_file(document: str, message: str) -> None:
    with pytest.raises(NodeFileError, match=message):
        parse_nodefile(document.encode(), name="a", file="nodes/a.xml", roll="")


def test_the_commands_are_those_of_pykickstart() -> None:
    known = set()
    for release in ("RHEL9", "RHEL10", "F43"):
        commands = makeVersion(release).commands
        known |= {name for name in commands if type(commands[name]).__mro__[1].__name__ != "RemovedCommand"}
    assert known - {"method"} == COMMANDS
