"""pykickstart's verdict over a rendered kickstart, with warnings as errors. pykickstart is the installer's own."""

from __future__ import annotations

from pathlib import Path

from avalanche.errors import KickstartRefused
from avalanche.judge import judge_kickstart


def judge_file(path: Path, release: str) -> None:
    """Accept a kickstart that the installer of ``release`` takes without a warning.

    Raises:
        KickstartRefused: the first thing that is wrong with it, or pykickstart is missing.
    """
    try:
        found = judge_kickstart(path.read_text(encoding="utf-8"), release=release)
    except ImportError as error:
        raise KickstartRefused(f"pykickstart, which every installer has, cannot be imported: {error}") from error
    if found:
        raise KickstartRefused(f"pykickstart warns about the kickstart: {found[0]}")
