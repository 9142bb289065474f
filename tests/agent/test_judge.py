"""The judge's process: its word is pykickstart's, and it ends with stage 2 whatever it is doing."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.floor import ROOT

GOOD = "# from base: nodes/base.xml (roll base)\nlang C\n%packages\n@core\n%end\n"

# Judges in a process of its own, as stage 2 is one: forking is for processes with a single thread.
JUDGE = """
import asyncio, pathlib, sys
from avalanche.agent.judge import JudgeProcess
{before}
judge = JudgeProcess()
judge.prepare(sys.argv[1])
try:
    asyncio.run(judge.judge(pathlib.Path(sys.argv[2])))
    print("accepted")
except Exception as error:
    print(f"{{type(error).__name__}}: {{error}}")
judge.close()
"""


def judged(path: Path, text: str, *, release: str = "el9", before: str = "") -> str:
    (path / "ks.cfg").write_text(text)
    command = [sys.executable, "-c", JUDGE.format(before=before), release, str(path / "ks.cfg")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_a_good_kickstart_is_accepted(tmp_path: Path) -> None:
    assert judged(tmp_path, GOOD) == "accepted"


@pytest.mark.parametrize(
    ("text", "release", "answer"),
    [
        (
            GOOD + "frobnicate\n",
            "el9",
            "KickstartRefused: pykickstart refuses line 6 (frobnicate, from nodes/base.xml)",
        ),
        (GOOD + "auth --enableshadow\n", "el9", "KickstartRefused: pykickstart warns about the kickstart: "),
        (GOOD, "el6", "KickstartRefused: unknown release 'el6'"),
    ],
)
def test_what_pykickstart_dislikes_is_refused(text: str, release: str, answer: str, tmp_path: Path) -> None:
    assert judged(tmp_path, text, release=release).startswith(answer)


def test_an_installer_without_pykickstart_is_told(tmp_path: Path) -> None:
    answer = judged(tmp_path, GOOD, before="sys.modules['pykickstart'] = None")
    assert answer.startswith("KickstartRefused: pykickstart, which every installer has, cannot be imported")


def test_a_crash_of_pykickstart_is_told(tmp_path: Path) -> None:
    before = "import pykickstart.version as v; v.makeVersion = lambda name: 1 / 0"
    assert judged(tmp_path, GOOD, before=before) == "RuntimeError: pykickstart: ZeroDivisionError: division by zero"


def test_a_judge_that_dies_is_told(tmp_path: Path) -> None:
    before = "import os, pykickstart.version as v; v.makeVersion = lambda name: os._exit(9)"
    assert judged(tmp_path, GOOD, before=before) == "RuntimeError: pykickstart's process ended without a word"


def test_what_pykickstart_prints_stays_off_the_standard_output(tmp_path: Path) -> None:
    before = "import pykickstart.version as v; w = v.makeVersion; v.makeVersion = lambda n: print('noise') or w(n)"
    assert judged(tmp_path, GOOD, before=before) == "accepted"


@pytest.mark.parametrize("how", ["close", "kill"])
def test_a_judge_that_never_ends_ends_with_its_parent(how: str, tmp_path: Path) -> None:
    # The judge holds the write end of a pipe for as long as it lives.
    end = "judge.close()" if how == "close" else "os.kill(os.getpid(), 9)"
    code = f"""
import os, re, sys
import pykickstart.version as v
def forever(name):
    os.write(int(sys.argv[1]), b"busy")
    re.match("(a+)+$", "a" * 64 + "b")  # one call that no other thread interrupts
v.makeVersion = forever
from avalanche.agent.judge import JudgeProcess
judge = JudgeProcess()
judge.prepare("el9")
sys.stdin.read(1)
{end}
"""
    read, write = os.pipe()
    command = [sys.executable, "-c", code, str(write)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, pass_fds=[write]) as process:
        os.close(write)
        assert os.read(read, 4) == b"busy"
        assert process.stdin is not None
        process.stdin.write(b"x")
        process.stdin.flush()
        assert select.select([read], [], [], 30)[0], "the judge goes on"
        assert os.read(read, 1) == b""
        process.stdin.close()
    os.close(read)
