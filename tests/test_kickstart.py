"""Stage 2: the rendered text, its sections, and what its scripts do when bash runs them."""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Optional

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pykickstart.constants import KS_SCRIPT_ONERROR, KS_SCRIPT_POST
from pykickstart.parser import KickstartParser

from avalanche.attributes import Attributes
from avalanche.document import Reference, Text
from avalanche.errors import KickstartRefused, UndefinedAttribute
from avalanche.judge import HANDLERS, judge_kickstart
from avalanche.kickstart import LOGS, TARGET, pre_scripts, render
from avalanche.profile import Command, Comment, FileWrite, Fragment, NodeName, PackageRequest, Profile, Script
from tests.handlers import handler_of

NODES = (NodeName("a", "nodes/a.xml", "site"), NodeName("b", "nodes/b.xml", "site"))
ATTRIBUTES = Attributes.of({"hostname": "compute-0-0", "words": "a $(id) 'b'"})
HOSTNAME, WORDS = Reference("hostname", 3), Reference("words", 9)


def text(*parts: Any) -> Text:
    return Text(tuple(parts))


def script(
    *parts: Any,
    interpreter: str = "/bin/bash",
    chroot: bool = True,
    node: str = "a",
    line: int = 5,
    strict: bool = True,
) -> Script:
    made = tuple(Fragment(text(part), 10) if isinstance(part, str) else part for part in parts)
    return Script(made, node, line, interpreter, chroot, strict)


def profile(**sections: Any) -> Profile:
    return Profile("a", "el9", NODES, **sections)


def parsed(kickstart: str) -> Any:
    made = handler_of("RHEL9")
    KickstartParser(made).readKickstartFromString(kickstart)
    return made


def bodies(kickstart: str) -> list[str]:
    """Return the bodies of the ``%post`` sections that come from the profile."""
    return [found.script for found in parsed(kickstart).scripts if found.type == KS_SCRIPT_POST][1:-1]


@cache
def set_up() -> str:
    """The first section, which makes the folder of logs."""
    first: str = parsed(render(profile(), ATTRIBUTES)).scripts[0].script
    return first


def run(body: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a post with its log folder in another place; the first section of the kickstart has made that folder."""
    logs = folder / "logs"
    for program in (set_up(), body):
        moved = program.replace(TARGET + LOGS, LOGS).replace(LOGS, str(logs))
        done = subprocess.run(
            ["/bin/bash", "-c", moved], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=30, check=False,
        )  # fmt: skip
    return done


def said(folder: Path) -> Optional[str]:
    failed = folder / "logs" / "failed"
    return failed.read_text().strip() if failed.exists() else None


def test_the_sections_stand_in_the_installer_s_order() -> None:
    found = render(
        profile(
            commands=(
                Command("lang", text("C"), "a", 2),
                Command("network", text("--hostname=", HOSTNAME), "a", 3),
                Command("skipx", text(), "b", 4),
                Command("include", text("/tmp/disk.ks"), "b", 5),
            ),
            packages=(
                PackageRequest("z", False, False, "a", "nodes/a.xml", 6),
                PackageRequest("core", True, False, "a", "nodes/a.xml", 6),
                PackageRequest("y", False, True, "a", "nodes/a.xml", 6),
                PackageRequest("fonts", True, True, "a", "nodes/a.xml", 6),
            ),
            post=(script("true\n"), script("true\n", chroot=False, node="b")),
        ),
        ATTRIBUTES,
    )
    assert judge_kickstart(found, release="el9", follow=False) == ()
    assert "url --url=http://127.0.0.1:7070/\n" in found
    assert (
        "lang C\nnetwork --hostname=compute-0-0\n# from b: nodes/b.xml (roll site)\nskipx\n%include /tmp/disk.ks\n"
        in found
    )
    assert "%packages --exclude-weakdeps --timeout=60 --retries=10\n@core\nz\n-@fonts\n-y\n%end\n" in found
    headers = re.findall(r"^%(?!end|packages|include).*", found, re.MULTILINE)
    assert headers == [
        "%post --interpreter=/bin/bash --erroronfail",
        "%post --interpreter=/bin/bash --erroronfail --log=/var/log/avalanche/01-a.log",
        "%post --nochroot --interpreter=/bin/bash --erroronfail --log=/mnt/sysroot/var/log/avalanche/02-b.log",
        "%onerror --interpreter=/usr/bin/python3",
        "%post --nochroot --interpreter=/usr/bin/python3 --erroronfail",
    ]
    assert found.endswith('"/run/avalanche/agent.pyz", "done", "ok"], check=True)\n%end\n')


def test_core_is_installed_only_when_the_graph_asks_for_it() -> None:
    found = render(profile(packages=(PackageRequest("z", False, False, "a", "nodes/a.xml", 6),)), ATTRIBUTES)
    assert "%packages --exclude-weakdeps --timeout=60 --retries=10 --nocore\nz\n%end\n" in found
    assert judge_kickstart(found, release="el9") == ()


def test_the_text_depends_on_profile_and_attributes_only() -> None:
    made = profile(post=(script("echo\n", FileWrite("/a", text(HOSTNAME, "\n"), 3)),))
    assert render(made, ATTRIBUTES) == render(made, Attributes.of({**ATTRIBUTES, "other": "x"}))


def test_pre_scripts_are_handed_out_and_never_written() -> None:
    made = profile(
        pre=(
            script("echo &\n", FileWrite("/tmp/x", text(HOSTNAME, "\n"), 12)),
            script("print(1)\n", interpreter="/usr/bin/python3", node="b", line=20),
        )
    )
    assert "%pre" not in render(made, ATTRIBUTES)
    first, second = pre_scripts(made, ATTRIBUTES)
    assert (first.node, first.file, first.line, first.interpreter) == ("a", "nodes/a.xml", 5, "/bin/bash")
    assert (second.interpreter, second.body, second.line) == ("/usr/bin/python3", "print(1)\n", 20)


def test_a_failing_line_is_told_in_its_author_s_words(tmp_path: Path) -> None:
    made = profile(post=(script("echo one\n\necho two\nfalse\necho never\n", line=9),))
    done = run(bodies(render(made, ATTRIBUTES))[0], tmp_path)
    assert (done.returncode, done.stdout.splitlines()) == (
        1, ["one", "two", "nodes/a.xml:13: the script failed with status 1"],
    )  # fmt: skip
    assert said(tmp_path) == "nodes/a.xml:13: the script failed with status 1"


@pytest.mark.parametrize(
    ("program", "line", "status"),
    [
        ("exit 3\n", 5, 3),  # the line of the script's tag: bash does not tell where it left
        ("f() {\n  false\n}\nf\n", 11, 1),
        ("true | false | true\n", 10, 1),
        ("x=$(\nfalse\n)\n", None, 1),
        ("echo ${unset}\n", 5, 1),
        ("cat << 'X'\n%end\nX\nfalse\n", 13, 1),
    ],
)
def test_whatever_way_a_script_fails_it_is_told(program: str, line: Optional[int], status: int, tmp_path: Path) -> None:
    done = run(bodies(render(profile(post=(script(program),)), ATTRIBUTES))[0], tmp_path)
    assert done.returncode == status
    told = said(tmp_path)
    assert told is not None
    assert re.fullmatch(rf"nodes/a\.xml:{line or '[0-9]+'}: the script failed with status {status}", told)


def test_a_script_for_another_interpreter_is_run_by_it_and_traced(tmp_path: Path) -> None:
    program = "import sys\nprint('on', '&'.join(['x']))\nsys.exit(4)\n"
    done = run(
        bodies(render(profile(post=(script(program, interpreter="/usr/bin/python3"),)), ATTRIBUTES))[0], tmp_path
    )
    assert (done.returncode, done.stdout.splitlines()[0]) == (4, "on x")
    assert said(tmp_path) == "nodes/a.xml:5: the script failed with status 4"


def test_a_file_gets_its_folder_mode_and_place_in_the_script(tmp_path: Path) -> None:
    name = f"{tmp_path}/deep/er/file"
    made = profile(
        post=(
            script(
                "if true; then\n",
                FileWrite(name, text("one\n"), 11, perms="0640"),
                "else\n",
                FileWrite(name, text("never\n"), 13),
                f"fi\ngrep -q one {name} &&\n",
                FileWrite(name, text("two $HOME\n"), 15, mode="append", vars="expanded"),
                f"cp {name} {tmp_path}/copy\n",
                FileWrite(name, text(), 17),
            ),
        )
    )
    done = run(bodies(render(made, ATTRIBUTES))[0], tmp_path)
    assert done.returncode == 0, done.stdout
    assert re.fullmatch(r"one\ntwo /.*\n", tmp_path.joinpath("copy").read_text())
    assert Path(name).read_text() == ""
    assert Path(name).stat().st_mode & 0o777 == 0o640


def test_a_file_that_cannot_be_written_is_told_with_its_line(tmp_path: Path) -> None:
    for owner, folder in (("nobody-of-this-name", tmp_path / "x"), (None, tmp_path / "logs" / "trace.sh")):
        made = profile(
            post=(script("true\n\n", FileWrite(f"{folder}/y", text("1\n2\n3\n"), 21, owner=owner, perms="0600")),)
        )
        assert run(bodies(render(made, ATTRIBUTES))[0], tmp_path).returncode == 1
        assert said(tmp_path) == "nodes/a.xml:21: the script failed with status 1"


CONTENT = st.text(
    st.sampled_from(list("ab%$`'\"\\ \t\n\r&<>é\u2028\x85#-"))
    | st.characters(exclude_categories=["Cs"], exclude_characters=[chr(code) for code in range(32)]),
    max_size=40,
) | st.lists(
    st.sampled_from(["EOF", "AVALANCHE_EOF", "AVALANCHE_EOF1", "%end", " %end", "%include /etc/passwd", "$(id)"])
).map("\n".join)  # fmt: skip


@settings(
    max_examples=settings().max_examples // 2,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(first=CONTENT, value=CONTENT)
def test_a_literal_file_arrives_byte_for_byte(first: str, value: str, tmp_path: Path) -> None:
    attributes = Attributes.of({"value": value.replace("\ufffe", "").replace("\uffff", "")})
    first = first.replace("\ufffe", "").replace("\uffff", "")
    content = text(first, Reference("value", 4), "\n" if len(first) % 2 else "")
    made = profile(post=(script("true\n", FileWrite(f"{tmp_path}/x", content, 3)),))
    (body,) = bodies(render(made, attributes))
    done = run(body, tmp_path)
    assert done.returncode == 0, done.stdout
    assert tmp_path.joinpath("x").read_bytes() == content.fill(lambda _: attributes["value"]).encode()


@given(st.lists(st.tuples(CONTENT, CONTENT, st.sampled_from(["/bin/bash", "/usr/bin/perl"])), min_size=1, max_size=4))
def test_no_body_breaks_out_of_its_section(found: list[tuple[str, str, str]]) -> None:
    clean = [tuple(part.replace("\ufffe", "").replace("\uffff", "") for part in parts) for parts in found]
    posts = []
    for index, (before, after, interpreter) in enumerate(clean):
        parts: list[Any] = [before]
        if interpreter == "/bin/bash":
            parts.append(FileWrite("/x", text(after), 3))
        posts.append(script(*parts, interpreter=interpreter, chroot=index % 2 == 0))
    handler = parsed(render(profile(post=tuple(posts)), ATTRIBUTES))
    assert [(found.inChroot, found.errorOnFail, found.type) for found in handler.scripts] == [
        (True, True, KS_SCRIPT_POST),
        *((post.chroot, True, KS_SCRIPT_POST) for post in posts),
        (False, False, KS_SCRIPT_ONERROR),
        (False, True, KS_SCRIPT_POST),
    ]  # fmt: skip
    assert handler.packages.packageList == []


def test_a_lax_script_goes_on_and_tells_what_failed(tmp_path: Path) -> None:
    for program in ("false\necho went on $unset\n(exit 4)\n", "false || true\nfalse\necho went on\nexit 4\n"):
        made = profile(post=(script(program, line=9, strict=False),))
        done = run(bodies(render(made, ATTRIBUTES))[0], tmp_path)
        assert done.returncode == 0
        assert "went on" in done.stdout
        assert said(tmp_path) is None
    lapses = tmp_path.joinpath("logs", "lapses").read_text().splitlines()
    assert lapses == [
        "nodes/a.xml:10: a command failed with status 1", "nodes/a.xml:12: a command failed with status 4",
        "nodes/a.xml:9: a command failed with status 4", "nodes/a.xml:11: a command failed with status 1",
        "nodes/a.xml:9: a command failed with status 4",
    ]  # fmt: skip


def test_a_lax_script_for_another_interpreter_goes_on_too(tmp_path: Path) -> None:
    made = profile(post=(script("raise SystemExit(4)\n", interpreter="/usr/bin/python3", strict=False),))
    assert run(bodies(render(made, ATTRIBUTES))[0], tmp_path).returncode == 0
    assert said(tmp_path) is None
    assert "nodes/a.xml:5: a command failed with status 4" in tmp_path.joinpath("logs", "lapses").read_text()


def test_files_are_written_in_every_mode(tmp_path: Path) -> None:
    def at(name: str) -> str:
        return f"{tmp_path}/{name}"

    tmp_path.joinpath("p").write_text("b\na\n")
    tmp_path.joinpath("q").write_text("d\nc\n")
    tmp_path.joinpath("p").chmod(0o640)
    made = profile(
        post=(
            script(
                FileWrite(at("a"), text("T\n"), 3),
                FileWrite(at("a"), text("U\n"), 4, mode="append"),
                FileWrite(at("e"), text(), 5),
                FileWrite(at("c"), text("echo ", WORDS), 6, mode="output"),
                FileWrite(at("a"), text("echo V"), 7, mode="append-output"),
                FileWrite(at("p"), text("sort\n"), 8, mode="pipe"),
                FileWrite(at("r"), text("sort |\nhead -n1"), 9, mode="pipe", source=at("q"), perms="u=rw,go="),
                FileWrite(at("same"), text(), 10, mode="pipe", source=at("q")),
                FileWrite(at("k"), text("AP8=\n"), 11, encoding="base64"),
            ),
        )
    )
    done = run(bodies(render(made, ATTRIBUTES))[0], tmp_path)
    assert done.returncode == 0, done.stdout
    found = {name: tmp_path.joinpath(name).read_bytes() for name in ("a", "e", "c", "p", "r", "same", "k")}
    assert found == {
        "a": b"T\nU\nV\n", "e": b"", "c": b"a $(id) 'b'\n", "p": b"a\nb\n", "r": b"c\n", "same": b"d\nc\n",
        "k": b"\x00\xff",
    }  # fmt: skip
    assert tmp_path.joinpath("p").stat().st_mode & 0o777 == 0o640
    assert tmp_path.joinpath("r").stat().st_mode & 0o777 == 0o600


def test_what_makes_a_file_may_fail_and_is_told(tmp_path: Path) -> None:
    for mode, commands in (("output", "false"), ("pipe", "false"), ("pipe", "cat > /dev/null; false")):
        tmp_path.joinpath("x").write_text("x\n")
        made = profile(post=(script(FileWrite(f"{tmp_path}/x", text(commands), 21, mode=mode)),))
        assert run(bodies(render(made, ATTRIBUTES))[0], tmp_path).returncode == 1, (mode, commands)
        told = said(tmp_path)
        assert told is not None
        assert re.fullmatch(r"nodes/a\.xml:2[0-9]: the script failed with status 1", told)
        tmp_path.joinpath("logs", "failed").unlink()


def test_the_original_of_a_file_is_kept_once(tmp_path: Path) -> None:
    for name in ("old", "left"):
        tmp_path.joinpath(name).write_text("as packaged\n")
    tmp_path.joinpath("old").chmod(0o600)
    names = [f"{tmp_path}/{name}" for name in ("old", "new", "left")]
    made = profile(
        post=tuple(
            script(
                FileWrite(names[0], text(f"{number}\n"), 3),
                FileWrite(names[1], text(f"{number}\n"), 4, mode="append"),
                FileWrite(names[2], text(f"{number}\n"), 5, keep=False),
            )
            for number in (1, 2)
        )
    )
    for body in bodies(render(made, ATTRIBUTES)):
        assert run(body, tmp_path).returncode == 0
    kept = tmp_path / "logs" / "originals" / str(tmp_path).lstrip("/")
    assert sorted(path.name for path in kept.iterdir()) == ["new.new", "old"]
    assert kept.joinpath("old").read_text() == "as packaged\n"
    assert kept.joinpath("old").stat().st_mode & 0o777 == 0o600
    assert tmp_path.joinpath("logs", "originals").stat().st_mode & 0o077 == 0


def test_boot_scripts_run_once_at_the_first_boot_and_again_when_they_fail(tmp_path: Path) -> None:
    made = profile(
        boot_pre=(
            script(f"echo pre $(id -u) >> {tmp_path}/out\n", FileWrite(f"{tmp_path}/%end", text("%end\nEOF\n"), 4)),
        ),
        boot_post=(
            script(f"echo post '$HOME' >> {tmp_path}/out\n", node="b"),
            script(f"echo again >> {tmp_path}/out\ntest -e {tmp_path}/ready\n"),
        ),
    )
    rendered = render(made, ATTRIBUTES)
    assert judge_kickstart(rendered, release="el9") == ()
    (install,) = bodies(rendered)
    root = tmp_path / "root"
    (root / "etc/systemd/system").mkdir(parents=True)
    moved = install.replace("/usr/lib/avalanche", f"{root}/usr/lib/avalanche").replace(
        "/etc/systemd", f"{root}/etc/systemd"
    )
    program = f'systemctl() {{ echo systemctl "$@"; }}\n{moved}'
    done = subprocess.run(["/bin/bash", "-c", program], stdout=subprocess.PIPE, text=True, check=True, timeout=30)
    assert done.stdout.split() == [
        "systemctl", "enable", "avalanche-boot-pre.service", "systemctl", "enable", "avalanche-boot-post.service",
    ]  # fmt: skip
    assert not tmp_path.joinpath("out").exists()

    def boot() -> list[int]:
        statuses = []
        for order in ("pre", "post"):
            unit = root.joinpath("etc/systemd/system", f"avalanche-boot-{order}.service").read_text()
            command = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)[0].split()
            statuses.append(subprocess.run(command, check=False, timeout=30, stderr=subprocess.DEVNULL).returncode)
        return statuses

    assert boot() == [0, 1]
    assert tmp_path.joinpath("out").read_text() == "pre 0\npost $HOME\nagain\n".replace("pre 0", f"pre {os.getuid()}")
    assert tmp_path.joinpath("%end").read_text() == "%end\nEOF\n"
    tmp_path.joinpath("ready").touch()
    assert boot() == [0, 0]
    assert boot() == [0, 0]
    assert tmp_path.joinpath("out").read_text().splitlines()[3:] == ["again"]


def test_comments_stand_at_the_top_and_nothing_in_them_is_more(tmp_path: Path) -> None:
    attributes = Attributes.of({"words": "x\n%packages\nevil\u2028rootpw x", "hostname": "h"})
    made = profile(comments=(Comment(text("one\n  two ", WORDS), "a", 3),))
    rendered = render(made, attributes)
    assert "# one\n# two x\n# %packages\n# evil\n# rootpw x\n" in rendered
    assert judge_kickstart(rendered, release="el9") == ()


@pytest.mark.parametrize("release", HANDLERS)
def test_every_release_s_installer_takes_what_is_written_for_it(release: str) -> None:
    made = Profile(
        "a", release, NODES,
        commands=(Command("lang", text("C"), "a", 2), Command("bootloader", text("--location=mbr"), "a", 3)),
        packages=(PackageRequest("z", False, False, "a", "nodes/a.xml", 6),),
        post=(script("true\n"), script("true\n", chroot=False, strict=False)),
        boot_pre=(script("true\n"),),
    )  # fmt: skip
    assert judge_kickstart(render(made, ATTRIBUTES), release=release) == ()


def test_a_reference_without_a_value_that_need_not_have_one_is_nothing() -> None:
    made = profile(
        commands=(Command("lang", text("C", Reference("nix", 3, optional=True)), "a", 3),),
        post=(script(Fragment(text("echo [", Reference("nix", 4, optional=True), "]\n"), 4)),),
    )
    rendered = render(made, ATTRIBUTES)
    assert "\nlang C\n" in rendered
    assert "echo [" in rendered


def test_a_command_that_is_one_reference_takes_its_value_as_options() -> None:
    attributes = Attributes.of({"words": '--location=mbr --append="a b"', "hostname": "-x 'y"})
    command = Command("bootloader", text(WORDS), "a", 9)
    assert parsed(render(profile(commands=(command,)), attributes)).bootloader.appendLine == "a b"
    with pytest.raises(KickstartRefused, match="cannot be split into options"):
        render(profile(commands=(Command("bootloader", text(HOSTNAME), "a", 9),)), attributes)


SCRIPT_LINES = st.lists(
    st.sampled_from(["echo", "%end", "%post", "  %packages", "", "EOF", "#x", "%include /x", "%", "a\\\\", "é\u2028%"])
    | CONTENT.map(lambda found: found.replace("\ufffe", "").replace("\uffff", "")),
    max_size=6,
).map("\n".join)  # fmt: skip


@given(
    programs=st.lists(st.tuples(SCRIPT_LINES, st.booleans(), st.booleans()), max_size=4),
    boots=st.lists(SCRIPT_LINES, max_size=1),
    packages=st.lists(st.tuples(st.sampled_from(["a", "b-c", "c++"]), st.booleans()), max_size=5),
    languages=st.lists(st.sampled_from(["C", "en_US.UTF-8"]), max_size=3),
)
def test_what_pykickstart_reads_is_what_the_profile_says(
    programs: list[tuple[str, bool, bool]],
    boots: list[str],
    packages: list[tuple[str, bool]],
    languages: list[str],
) -> None:
    made = profile(
        commands=tuple(Command("lang", text(language), "a", 2) for language in languages),
        packages=tuple(PackageRequest(name, False, disable, "a", "nodes/a.xml", 3) for name, disable in packages),
        post=tuple(script(found, chroot=chroot, strict=strict) for found, chroot, strict in programs if found),
        boot_pre=tuple(script(found) for found in boots if found),
        comments=tuple(Comment(text(found), "a", 4) for found in boots),
    )
    handler = parsed(render(made, ATTRIBUTES))
    assert handler.lang.lang == (languages[-1] if languages else "")
    assert sorted(handler.packages.packageList) == sorted(package.name for package in made.requested)
    assert sorted(handler.packages.excludedList) == sorted(package.name for package in made.excluded)
    _, *posts, _, last = handler.scripts
    boot = [posts.pop()] if made.boot_pre else []
    assert [(post.inChroot, post.type, post.errorOnFail) for post in posts] == [
        (wanted.chroot, KS_SCRIPT_POST, True) for wanted in made.post
    ]
    assert last.interp == "/usr/bin/python3"
    wanted_bodies = [f"{wanted.parts[0].text.plain}" for wanted in (*made.post, *made.boot_pre[:1])]
    for post, wanted_body in zip((*posts, *boot), wanted_bodies):
        assert wanted_body in plain(post.script)


ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"\\": b"\\", b"'": b"'"}


def plain(body: str) -> str:
    """Return a section's program, decoded if it is written as one ``eval $'...'``."""
    _, encoded, words = body.partition("eval $")
    if not encoded:
        return body
    lines = ("$" + words).splitlines()
    joined = "".join(re.sub(r"^\$'(.*)'\\?$", r"\1", line) for line in lines).encode()
    decoded = re.sub(
        rb"\\(x..|.)",
        lambda found: bytes([int(found[1][1:], 16)]) if found[1].startswith(b"x") else ESCAPES[found[1]],
        joined,
    )
    return decoded.decode()


def test_a_value_that_cannot_stand_where_it_is_referred_to_is_refused_with_its_line() -> None:
    attributes = Attributes.of({"words": "a\nb", "hostname": "x"})
    for sections in (
        {"post": (script(Fragment(text("echo ", WORDS), 8)),)},
        {"post": (script(Fragment(text("print(", WORDS, ")"), 8), interpreter="/usr/bin/python3"),)},
        {"commands": (Command("lang", text(WORDS), "a", 9),)},
    ):
        with pytest.raises(KickstartRefused) as caught:
            render(profile(**sections), attributes)
        assert str(caught.value) == (
            "nodes/a.xml:9: the attribute words cannot stand here: the value holds a line break; "
            "write it with a literal <file> and read that file"
        )
    with pytest.raises(KickstartRefused, match=r"^nodes/a\.xml:9: the attribute words"):
        pre_scripts(profile(pre=(script(Fragment(text(WORDS), 8)),)), attributes)


def test_values_stay_text_in_commands_and_scripts(tmp_path: Path) -> None:
    made = profile(
        commands=(Command("bootloader", text('--append="x ', WORDS, '"'), "a", 9),),
        post=(script(Fragment(text("printf %s ", WORDS, f" > {tmp_path}/out\n"), 9)),),
    )
    rendered = render(made, ATTRIBUTES)
    assert parsed(rendered).bootloader.appendLine == "x a $(id) 'b'"
    assert run(bodies(rendered)[0], tmp_path).returncode == 0
    assert tmp_path.joinpath("out").read_text() == "a $(id) 'b'"


def test_a_missing_attribute_is_refused_before_anything_is_rendered() -> None:
    made = profile(pre=(script(Fragment(text(Reference("hostnam", 4)), 4)),))
    for stage in (render, pre_scripts):
        with pytest.raises(UndefinedAttribute, match=r"nodes/a\.xml:4: the attribute hostnam .* did you mean hostname"):
            stage(made, ATTRIBUTES)
