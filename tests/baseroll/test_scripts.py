"""Scripts: right in their language, and made of programs that are there where they run."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from avalanche.nodesections import FileSection, ScriptSection
from avalanche.sections import SHELLS
from tests.baseroll.appliances import CASES, ROOT, SITES, Rendered, node, profile_of, rolls, scripts_of
from tests.baseroll.shell import commands, words_after

LISTS = ROOT / "tests" / "golden" / "names"


def rows(name: str) -> list[list[str]]:
    lines = (LISTS / name).read_text().splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


IN_THE_INSTALLER = {program for program, _ in rows("installer.txt") if program != "-"}
NOT_IN_THE_INSTALLER = {program for mark, program in rows("installer.txt") if mark == "-"}
# What the renderer itself defines before a script begins.
OURS = set(re.findall(r"^(\w+)\(\)", (ROOT / "avalanche/templates/trace.sh").read_text(), re.MULTILINE))
PACKAGES = {program: set(packages.split()) for program, packages in rows("commands.txt")}


@cache
def scripts() -> dict[str, Rendered]:
    """Every script of every appliance, release and site once."""
    return {
        script.body: script
        for site in SITES
        for appliance, release in CASES
        for script in scripts_of(appliance, release, site)
    }


def shells() -> list[Rendered]:
    return [script for script in scripts().values() if not script.interpreter.endswith("python3")]


def pythons() -> list[Rendered]:
    return [script for script in scripts().values() if script.interpreter.endswith("python3")]


def test_all_scripts_of_all_nodes_are_looked_at():
    """A node whose scripts no site of these tests turns on would not be tested at all."""
    seen = " ".join(script.where for script in scripts().values())
    for name in rolls().names:
        for section in node(name).sections:
            if isinstance(section, ScriptSection) and section.kind == "post":
                assert f"nodes/{name}.xml line {section.line} " in seen
            elif isinstance(section, ScriptSection):
                assert f"nodes/{name}.xml <pre>" in seen
    assert not [script for script in scripts().values() if "eval $'" in script.body]  # would hide it from these tests


def test_shellcheck_has_nothing_to_say(tmp_path: Path):
    (tmp_path / "trace.sh").write_text((ROOT / "avalanche/templates/trace.sh").read_text())
    where = {}
    for number, script in enumerate(shells()):
        path = tmp_path / f"{number}.sh"
        where[str(path)] = script.where
        path.write_text(re.sub(r"^source /\S*trace\.sh .*$", "source trace.sh", script.body, flags=re.MULTILINE))
    assert len(where) > 150
    command = ["shellcheck", "--external-sources", f"--source-path={tmp_path}", "--shell=bash", "--format=json", *where]
    found = json.loads(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout)
    # The trace that goes before every script has variables that the script itself never reads.
    problems = [finding for finding in found if not re.match(r"avalanche_(shift|status) ", finding["message"])]
    assert [f"{where[finding['file']]}: {finding['line']}: {finding['message']}" for finding in problems] == []


def test_shellcheck_would_find_something(tmp_path: Path):
    path = tmp_path / "script.sh"
    path.write_text("cd $1\n")
    command = ["shellcheck", "--shell=bash", str(path)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


def test_python_is_that_of_release_nine_and_clean(tmp_path: Path):
    assert len(pythons()) >= 3
    for number, script in enumerate(pythons()):
        ast.parse(script.body, filename=script.where, feature_version=(3, 9))
        (tmp_path / f"script{number}.py").write_text(script.body)
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--target-version=py39", "--line-length=160"]
    done = subprocess.run(
        [*command, "--select=E,F,W,B,UP,SIM,PL,RUF", "--ignore=PLR,B905", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_scripts_in_the_installer_run_only_what_its_image_has():
    for script in scripts().values():
        if script.chroot:
            continue
        used = set(programs(script.body)) if script.interpreter.endswith("python3") else commands(script.body)
        assert used - looked_for(script) - OURS <= IN_THE_INSTALLER, script.where
    assert not IN_THE_INSTALLER & NOT_IN_THE_INSTALLER


def test_scripts_in_the_installer_import_only_python_itself():
    for script in pythons():
        for found in ast.walk(ast.parse(script.body)):
            if isinstance(found, ast.Import):
                assert {alias.name.partition(".")[0] for alias in found.names} <= sys.stdlib_module_names, script.where
            assert not isinstance(found, ast.ImportFrom), script.where


def programs(source: str) -> Iterator[str]:
    """What a Python script starts: the first words of literal lists given to subprocess."""
    for found in ast.walk(ast.parse(source)):
        if isinstance(found, ast.Call) and isinstance(found.func, ast.Attribute):
            assert found.func.attr not in ("system", "popen", "Popen"), ast.unparse(found)
            if ast.unparse(found.func).startswith("subprocess."):
                assert isinstance(found.args[0], ast.List)
                assert isinstance(found.args[0].elts[0], ast.Constant)
                yield str(found.args[0].elts[0].value)


def looked_for(script: Rendered) -> set[str]:
    """The programs that a script looks for before it runs them."""
    return set(re.findall(r"command -v (\S+)", script.body))


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize(("appliance", "release"), CASES)
def test_scripts_on_the_host_run_what_its_packages_bring(appliance: str, release: str, site: str):
    asked = {package.name for package in profile_of(appliance, release, site).requested} | {"core"}
    for script in scripts_of(appliance, release, site):
        if not script.chroot or script.interpreter.endswith("python3"):
            continue
        used = commands(script.body) | set(words_after(script.body, "timeout"))
        for program in used - looked_for(script) - OURS:
            assert program in PACKAGES, f"{script.where} runs {program}: add it to commands.txt"
            assert PACKAGES[program] & asked, f"{script.where} runs {program} of {PACKAGES[program]}"


def test_a_list_of_commands_has_what_a_script_runs():
    script = """
    for x in $(list a); do one "$(two | three)" > file; done  # four
    if ! five; then A=1 six <<< "$x"; elif [ -n "$x" ] && seven; then :; fi
    cat << 'WORD'
    eight
    WORD
    nine() { ten; }
    nine ${x:-$y} 'eleven; twelve' || { thirteen & }
    """
    expected = {"list", "one", "two", "three", "five", "six", "seven", "cat", "ten", "thirteen"}
    assert commands(script) == expected


def test_every_post_of_the_shell_says_what_it_does():
    for name in rolls().names:
        for section in node(name).sections:
            if not isinstance(section, ScriptSection) or section.kind != "post" or section.interpreter not in SHELLS:
                continue
            shell = [part.text for part in section.parts if not isinstance(part, FileSection)]
            lines = "".join(str(piece) for text in shell for piece in text.parts).splitlines()
            assert any(line.lstrip().startswith("# ") for line in lines), f"nodes/{name}.xml:{section.line}"


def test_no_script_names_a_device():
    for script in scripts().values():
        assert not re.search(r"/dev/(sd|vd|hd|nvme|mmcblk)|\b(sda|vda|nvme0n1|eth0|eno1)\b", script.body), script.where


def test_no_script_installs_packages_or_starts_services():
    for script in shells():
        if not script.chroot:
            continue
        for word in ("dnf install", "yum ", "rpm -i", "rpm -U", "systemctl start", "systemctl restart", "--now"):
            assert word not in script.body, script.where
