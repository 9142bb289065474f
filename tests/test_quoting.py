"""Values in scripts stay the text they are. bash itself is the witness."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Union

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avalanche.document import Reference, Text
from avalanche.quoting import Refused, ansi, fill_command, fill_other, fill_script

NASTY = st.text(st.sampled_from(list("ab01 \t'\"$`\\(){}[]<>|&;#!*?~=%-^,:/.@_éE")), max_size=12) | st.sampled_from(
    ["$(touch pwned)", "`touch pwned`", "'; touch pwned; '", '"; touch pwned; "', "a b; touch pwned", "EOF", "x\\",
     "$", "&& touch pwned", "| touch pwned", "> pwned", "${IFS}", "-n", "#", "~root", "*", "$HOME",
     "\\$(touch pwned)", "!!", ""]
)  # fmt: skip

# Each template writes the value as one NUL-ended word to the file "out".
TEMPLATES = [
    "printf '%s\\0' &; > out\n",
    'printf "%s\\0" "&;" > out\n',
    "printf '%s\\0' '&;' > out\n",
    "VAR=&;\nprintf '%s\\0' \"$VAR\" > out\n",
    'VAR="&;"; printf "%s\\0" "$VAR" > out\n',
    'out() { printf "%s\\0" "$1" > out; }\nout "$(printf %s "&;x")"\n',
    'printf "%s\\0" "$(printf %s \'&;\'x)" > out\n',
    "[ -n \"&;\" ] || :\ncase x in\n  y) printf %s '&;' ;;\n  x) printf '%s\\0' \"&;\" > out ;;\nesac\n",
    "# a comment: &;\nprintf '%s\\0' &; > out # and &;\n",
    "a=( 1 &; 2 )\nprintf '%s\\0' \"${a[1]}\" > out\n",
    "if [[ x == x ]]; then ( printf '%s\\0' &; > out ); fi\n",
    "for i in 1; do (( i == 1 )) && printf '%s\\0' \"&;\" > out; done\n",
    'printf \'%s\\0\' "$(cat <<< "&;"x)" > out\n',
    "cat << 'END' > raw\n&;.\nEND\nprintf '%s\\0' \"$(cat raw)\" > out\n",
    "cat << END > raw\n&;.\nEND\nprintf '%s\\0' \"$(cat raw)\" > out\n",
    "cat <<- \\END > raw\n\t&;.\n\tEND\nprintf '%s\\0' \"$(cat raw)\" > out\n",
    "x=$((1 + 2)) y=${x:-3} z=\"${x}\"; echo $'it\\'s' \"a\\\"b\" a\\'b > /dev/null; printf '%s\\0' &; > out\n",
    "echo a\\\n#'\n'\nprintf '%s\\0' \"&;\" > out\n",
    "cat <<A <<'B' > raw\n$x\nA\n&;.\nB\nprintf '%s\\0' \"$(cat raw)\" > out\n",
]


def text_of(template: str, name: str = "x") -> Text:
    parts: list[Union[str, Reference]] = []
    for index, part in enumerate(template.split("&;")):
        parts += [Reference(name, 1), part] if index else [part]
    return Text(tuple(parts))


def run(script: str, folder: Path) -> str:
    for name in ("out", "raw"):
        folder.joinpath(name).unlink(missing_ok=True)
    done = subprocess.run(
        ["/bin/bash", "-c", script], cwd=folder, env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (script, done.stderr)
    return folder.joinpath("out").read_text()


@pytest.mark.parametrize("template", TEMPLATES)
@settings(
    max_examples=settings().max_examples // 4,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(value=NASTY)
def test_bash_sees_the_value_and_nothing_else(template: str, value: str, tmp_path: Path) -> None:
    try:
        script = fill_script(text_of(template), lambda _: value)
    except Refused:
        assert re.search(r"\[.*(\$\(|`)", value), "only what arithmetic would run is refused"
        return
    seen = run(script, tmp_path)
    kept = value.lstrip("\t") if "<<-" in template else value  # <<- takes tabs away, and says so
    suffix = "x" if "&;x" in template or "&;'x" in template or '&;"x' in template else "." if "raw" in template else ""
    assert seen == kept + suffix + "\0"
    assert sorted(path.name for path in tmp_path.iterdir()) in (["out"], ["out", "raw"])


TOKENS = [
    "'", '"', "$(", ")", "(", "((", "))", "$((", "`", "${", "}", "$", "\\", "\n", " ", ";", "#", "&;", "&;", "&;",
    "echo ", "case x in x) ", "esac", "<<E ", "<<'E' ", "<<-E ", "<<\\E ", "E\n", "\nE\n", "$'", "x", "x=", "[[ ",
    " ]]", "if true; then ", "fi", "{ ", "; }", "<<<", "&&", "|", "EOF", " -eq 1 ]]", "a[", "]=1", "let ",
    "test -v ", "unset ", "(a", "in ", "=~ ", "@(", "a=(", "$x", "<", "${x}", "$((1+1))", "cat ", ": ", "!", "\t",
    "$[", "]", "case ", "#\n",
]  # fmt: skip
PAYLOADS = [
    "$(touch pwned)", "`touch pwned`", "'; touch pwned; '", '"; touch pwned; "', "; touch pwned;",
    "\\'; touch pwned #", '\\"; touch pwned #', ") ; touch pwned; (", ")); touch pwned; ((", "}; touch pwned; {",
    "| touch pwned #", "& touch pwned &", ";; esac; touch pwned;", "'$(touch pwned)'", "\"$(touch pwned)\"",
    "(touch pwned)", "$(touch pwned", "x[$(touch pwned)]",
]  # fmt: skip


def endangers(tokens: list[str], payload: str, folder: Path) -> bool:
    """Say whether a script of these tokens runs the payload, where it would not run it as harmless text."""
    try:
        script = fill_script(text_of("".join(tokens)), lambda _: payload)
    except Refused:
        return False
    broken = fill_script(text_of("".join(tokens)), lambda _: "x")
    if subprocess.run(["/bin/bash", "-n", "-c", broken], capture_output=True, check=False).returncode:
        return False  # its author will notice
    folder.joinpath("pwned").unlink(missing_ok=True)
    subprocess.run(
        ["/bin/bash", "-c", script], cwd=folder, env={"PATH": "/usr/bin:/bin"}, stdin=subprocess.DEVNULL,
        capture_output=True, timeout=20, check=False,
    )  # fmt: skip
    return folder.joinpath("pwned").exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(tokens=st.lists(st.sampled_from(TOKENS), max_size=14), payload=st.sampled_from(PAYLOADS))
def test_no_value_runs_whatever_the_script_looks_like(tokens: list[str], payload: str, tmp_path: Path) -> None:
    assert not endangers(tokens, payload, tmp_path)


# Where a value cannot be promised to stay text: refused, unless it is made of safe characters.
UNCERTAIN = [
    "echo `echo &;`",
    "echo $((&;))",
    "echo ${x:-&;}",
    "echo $&;",
    "echo \\&;",
    'echo "\\&;"',
    "echo $'&;'",
    "echo $(case x in x) echo &;;; esac)",
    "cat << END\n$(echo &;)\nEND\n",
    "cat << END$x\n&;\nEND\n",
    "cat << 'E ND'\n&;\nE ND\n",
    "cat << &;\nx\n",
    "cat << END\nx\\\n&;\nEND\n",
    "cat << END; x=$(echo a\nb) &;",
    "echo $[x<<2]\n&;",
    'echo "${x:-"&;"}"',
]


@pytest.mark.parametrize("template", UNCERTAIN)
def test_where_the_quotation_is_uncertain_odd_values_are_refused(template: str) -> None:
    with pytest.raises(
        Refused, match="it is not certain how the shell would read it here; write it with a literal <file>"
    ):
        fill_script(text_of(template), lambda _: "a; b")
    if "<< &" not in template:
        assert "a-b" in fill_script(text_of(template), lambda _: "a-b")


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("cat << EOF\n&;\nEOF\n", "EOF"),
        ("cat << 'E'\nx\n &;\nE\n", "E"),
        ("cat <<EOF\nE&;F\nEOF\n", "O"),
        ("cat <<-X\n\t&;X\nX\n", ""),
    ],
)
def test_a_value_that_would_end_a_here_document_is_refused(template: str, value: str) -> None:
    with pytest.raises(Refused, match="ends a here-document"):
        fill_script(text_of(template), lambda _: value)


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b", "\x1b[0m", "a\u2028b", "a\x85b"])
def test_line_breaks_and_control_characters_are_refused(value: str) -> None:
    for fill in (fill_script, fill_command, fill_other):
        with pytest.raises(Refused, match="the value holds"):
            fill(text_of("echo '&;'"), lambda _: value)


@given(st.sampled_from(["a &; b", 'a "&;" b', "a '&;' b", "--x=&; b", '--x="&;" b', "--x='y&;z' b"]), NASTY)
def test_a_value_in_a_command_is_part_of_one_word(template: str, value: str) -> None:
    words = shlex.split(fill_command(text_of(template), lambda _: value), comments=True)
    expected = [word.replace("VALUE", value) for word in shlex.split(template.replace("&;", "VALUE"))]
    if value == "" and template == "a &; b":
        expected = ["a", "b"]  # as if it were not there
    assert words == expected


@pytest.mark.parametrize("template", ["a \\&;", "a # &;", 'a "\\&;"'])
def test_a_command_refuses_odd_values_after_a_backslash_or_comment_sign(template: str) -> None:
    with pytest.raises(Refused, match="after a backslash or comment sign"):
        fill_command(text_of(template), lambda _: "a b")


def test_other_languages_get_safe_characters_and_blanks_only() -> None:
    assert fill_other(text_of('x = "&;"'), lambda _: "a b-1") == 'x = "a b-1"'
    with pytest.raises(Refused, match=re.escape("""holds '"'""")):
        fill_other(text_of('x = "&;"'), lambda _: 'a"b')


@settings(max_examples=settings().max_examples // 2)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60))
def test_an_ansi_word_is_the_text_byte_for_byte_and_its_lines_are_harmless(text: str) -> None:
    word = ansi(text)
    assert all(line.startswith("$'") for line in word.splitlines())
    done = subprocess.run(["/bin/bash", "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert done.stdout == text.encode()
