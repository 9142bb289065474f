"""The evaluator: a program of a trusted roll gets what it needs, and nothing that it could abuse."""

from __future__ import annotations

import os
import re
import selectors
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avalanche.adapters.evaluator import MAX_FILE, Evaluator, Limits
from avalanche.effects import Evaluation, EvaluationFailed


def evaluation(script: str, shell: str = "sh", **more: Any) -> Evaluation:
    return Evaluation(script, shell, **{"environment": (), "roll": "site", "library": "", **more})


def evaluate(script: str, shell: str = "sh", limits: Limits | None = None, **more: Any) -> str:
    return Evaluator({"site"}, limits=limits).evaluate(evaluation(script, shell, **more))


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that nobody can reach and write in; pytest's own are for their user alone."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.mark.parametrize(
    ("shell", "script"),
    [
        ("sh", "echo one; echo two"),
        ("bash", "echo one; [[ a == a ]] && echo two"),
        ("/bin/bash", "echo one; echo two"),
        ("python", "print('one')\nprint('two')"),
        ("/usr/bin/python3", "print('one\\ntwo')"),
    ],
)
def test_what_a_program_says_is_returned(shell: str, script: str) -> None:
    assert evaluate(script, shell) == "one\ntwo\n"


def test_a_program_gets_the_variables_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVALANCHE_SECRET", "s3cr3t")
    said = evaluate("env", environment=(("greeting", "hello you"), ("PATH", "/nowhere")))
    names = {line.partition("=")[0] for line in said.splitlines()}
    assert "greeting=hello you" in said.splitlines()
    assert "PATH=/usr/sbin:/usr/bin:/sbin:/bin" in said.splitlines()
    assert names - {"PWD", "SHLVL", "_"} == {"greeting", "PATH", "HOME", "LANG"}


def test_a_program_is_nobody_without_groups_in_a_session_of_its_own() -> None:
    said = evaluate("id -u; id -G; cut -d' ' -f6 /proc/$$/stat; echo $$").split()
    if os.geteuid() == 0:
        assert evaluate("ulimit -u", "bash") == "512\n"
        assert said[:2] == ["65534", "65534"]
    else:
        assert said[0] == str(os.geteuid())
    assert said[-2] == said[-1] != str(os.getsid(0))


def test_open_files_are_not_inherited(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        said = evaluate("ls -l /proc/self/fd")
    assert "secret" not in said


def test_a_program_finds_the_modules_of_its_roll(public: Path) -> None:
    applets = public / "include" / "applets"
    applets.mkdir(parents=True)
    (applets / "cluster.py").write_text("NAME = 'alpha'\n")
    evaluator = Evaluator({"site"}, folders=lambda: {"site": public})
    assert evaluator.evaluate(evaluation("import cluster\nprint(cluster.NAME)", "python")) == "alpha\n"


@pytest.mark.parametrize(
    ("script", "shell", "why"),
    [
        ("echo one >&2; echo two >&2; exit 3", "sh", "it exited with status 3: two"),
        ("exit 3", "sh", "it exited with status 3"),
        ("kill -SEGV $$", "sh", "it was killed by SIGSEGV"),
        ("raise SystemExit('no')", "python", "it exited with status 1: no"),
        ("printf '\\377'", "sh", "not UTF-8 text"),
        ("echo", "/opt/nowhere/python", "the frontend has no /opt/nowhere/python"),
        ("printf 'a\\033[31mb' >&2; exit 1", "sh", re.escape("status 1: a [31mb")),
    ],
)
def test_a_program_that_fails_tells_why_in_one_line(script: str, shell: str, why: str) -> None:
    with pytest.raises(EvaluationFailed, match=why) as caught:
        evaluate(script, shell)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("script", "shell", "limits", "why"),
    [
        ("sleep 60", "sh", Limits(seconds=0.3), r"longer than 0\.3 seconds"),
        ("trap '' TERM INT HUP; while :; do sleep 1; done", "sh", Limits(seconds=0.3), "longer than"),
        ("while :; do :; done", "sh", Limits(processor=1), "killed by SIG(KILL|XCPU)"),
        ("while :; do echo yes; done", "sh", Limits(output=10_000), "said more than the 10000 bytes"),
        ("while :; do echo yes >&2; done", "sh", Limits(output=10_000), "said more than the 10000 bytes"),
        ("x = 'a' * (1 << 30)", "python", Limits(memory=200 << 20), "MemoryError"),
        ("exec > \"$(mktemp)\"; while :; do echo yes; done", "sh", Limits(file=4096), "SIGXFSZ|File (size|too large)"),
    ],
    ids=["time", "deaf", "processor", "output", "complaint", "memory", "file"],
)  # fmt: skip
def test_a_program_is_bounded(script: str, shell: str, limits: Limits, why: str) -> None:
    with pytest.raises(EvaluationFailed, match=why):
        evaluate(script, shell, limits)


def test_what_a_program_leaves_running_ends_with_it(public: Path) -> None:
    begun = time.monotonic()
    # The child keeps the program's output open, and must not keep us.
    assert evaluate(f"sleep 600 & echo $! > {public}/child; echo done") == "done\n"
    assert time.monotonic() - begun < 300
    child = Path("/proc", public.joinpath("child").read_text().strip())
    for _ in range(500):
        if not child.exists() or "Z" in (child / "stat").read_text().split()[2]:
            break
        time.sleep(0.01)
    else:
        pytest.fail("the child outlived its program")


def test_what_a_program_says_is_heard_by_who_stands_still_meanwhile(
    public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def select(selector: selectors.DefaultSelector, timeout: float | None = None) -> list[object]:
        found: list[object] = real(selector, timeout)
        if not found and not (public / "go").exists():
            (public / "go").touch()  # it speaks and ends after we have looked, and before we look again
            while not is_over():
                time.sleep(0.01)
        return found

    def is_over() -> bool:
        pid = public / "pid"
        return pid.exists() and Path("/proc", pid.read_text().strip() or "self", "stat").read_text().split()[2] == "Z"

    real = selectors.DefaultSelector.select
    monkeypatch.setattr(selectors.DefaultSelector, "select", select)
    script = f"echo $$ > {public}/pid; until [ -e {public}/go ]; do sleep 0.01; done; echo said"
    assert evaluate(script) == "said\n"
    assert (public / "go").exists()


def test_a_long_script_is_read_to_its_end() -> None:
    assert evaluate("echo begin\n" + ": filler\n" * 100_000 + "echo end\n") == "begin\nend\n"
    assert evaluate("exit 0\n" + ": filler\n" * 100_000) == ""


def test_equal_programs_are_run_once(public: Path) -> None:
    evaluator = Evaluator({"site", "other"})
    script = f"echo x >> {public}/runs; echo said"
    for _ in range(3):
        assert evaluator.evaluate(evaluation(script)) == "said\n"
    evaluator.evaluate(evaluation(script, library="changed"))
    evaluator.evaluate(evaluation(script, environment=(("a", "b"),)))
    evaluator.evaluate(evaluation(script, "bash"))
    assert public.joinpath("runs").read_text() == "x\n" * 4


def test_a_roll_without_trust_gets_nothing(tmp_path: Path) -> None:
    evaluator = Evaluator({"other"})
    (tmp_path / "file").write_text("x")
    with pytest.raises(EvaluationFailed, match="the roll site is not trusted to run programs"):
        evaluator.evaluate(evaluation("echo"))
    with pytest.raises(EvaluationFailed, match="the roll site is not trusted to read"):
        evaluator.read(str(tmp_path / "file"), roll="site")


def test_files_are_read_within_bounds(tmp_path: Path) -> None:
    evaluator = Evaluator({"site"})
    (tmp_path / "file").write_bytes(b"\x00\xff")
    assert evaluator.read(str(tmp_path / "file"), roll="site") == b"\x00\xff"
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "big").open("wb") as big:
        big.truncate(1 << 30)
    for name, why in (("pipe", "no regular file"), ("big", f"more than the {MAX_FILE}"), ("none", "No such file")):
        with pytest.raises(EvaluationFailed, match=why):
            evaluator.read(str(tmp_path / name), roll="site")


def test_a_stamp_changes_with_its_file(tmp_path: Path) -> None:
    evaluator, path = Evaluator(()), tmp_path / "file"
    assert evaluator.stamp(str(path)) is None
    path.write_text("a")
    first = evaluator.stamp(str(path))
    assert evaluator.stamp(str(path)) == first
    path.write_text("ab")
    assert evaluator.stamp(str(path)) != first
