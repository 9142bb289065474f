"""Which commands there are: all for who asks or errs, and only the one that is named is made ready."""

from __future__ import annotations

import subprocess
import sys

import pytest

from avalanche.cli import NOUNS
from tests.frontend.rig import run


@pytest.mark.parametrize(("words", "status"), [(("--help",), 0), (("nonsense",), 2), (("Host", "list"), 2)])
def test_who_asks_or_errs_is_told_of_every_noun(words: tuple[str, ...], status: int) -> None:
    found = run(*words)
    assert found.status == status
    assert all(noun in found.out + found.err for noun in NOUNS)


@pytest.mark.parametrize("noun", NOUNS)
def test_a_noun_that_is_named_is_ready(noun: str) -> None:
    found = run(noun, "--help")
    assert (found.status, found.err) == (0, "")
    assert found.out.startswith(f"usage: avalanche {noun} ")


def test_a_command_imports_no_other_noun_s() -> None:
    script = "import sys; from avalanche.cli import main\ntry: main(['audit', '--help'])\n"
    script += "finally: print(*[name for name in sys.modules if name.startswith('avalanche.cli.')], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert set(done.stderr.split()) == {"avalanche.cli.audit", "avalanche.cli.common"}
