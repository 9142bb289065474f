"""The judge: pykickstart's word, in one line that names the node file and shows no secret."""

from __future__ import annotations

import pytest

from avalanche.errors import KickstartRefused
from avalanche.judge import HANDLERS, judge_kickstart

GOOD = "# from base: nodes/base.xml (roll base)\nlang C\n%packages\n@core\n%end\n"


@pytest.mark.parametrize("release", HANDLERS)
def test_a_good_kickstart_passes_without_a_warning(release: str) -> None:
    assert judge_kickstart(GOOD, release=release) == ()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("timezone --foo x", r"line 2 \(timezone, from nodes/base\.xml\): unrecognized arguments: --foo"),
        ("frobnicate", r"line 2 \(frobnicate, from nodes/base\.xml\): Unknown command"),
        ("autopart --type=zfs", r"line 2 \(autopart, .*Invalid autopart type"),
        ("%post\necho", "does not end with %end"),
        ("lang 'x", "No closing quotation"),
        ("%include /does/not/exist", "Unable to open"),
    ],
)
def test_a_bad_kickstart_is_refused_in_one_line_that_names_the_place(line: str, message: str) -> None:
    with pytest.raises(KickstartRefused, match=message) as caught:
        judge_kickstart(f"# from base: nodes/base.xml (roll base)\n{line}\n", release="el9")
    assert "\n" not in str(caught.value)


def test_the_node_file_is_the_one_above_the_line() -> None:
    text = "# from a: nodes/a.xml (roll r)\nskipx\n# from b: nodes/b.xml line 3 (roll r)\nskipx --x\n"
    with pytest.raises(KickstartRefused, match=r"line 4 \(skipx, from nodes/b\.xml\)"):
        judge_kickstart(text, release="el9")


def test_no_secret_is_shown() -> None:
    with pytest.raises(KickstartRefused) as caught:
        judge_kickstart("rootpw --iscrypted x $6$secret\n", release="el9", secrets=["$6$secret", ""])
    assert "secret" not in str(caught.value)
    assert "***" in str(caught.value)


def test_warnings_are_collected() -> None:
    (warning,) = judge_kickstart("auth --enableshadow\n", release="el9")
    assert "deprecated" in warning


def test_includes_are_left_alone_when_they_cannot_be_there() -> None:
    assert judge_kickstart("%include /does/not/exist\n", release="el9", follow=False) == ()


def test_an_unknown_release_is_refused_with_the_known_ones() -> None:
    with pytest.raises(KickstartRefused, match="unknown release 'el6'; choose one of el9, el10, fedora"):
        judge_kickstart(GOOD, release="el6")
