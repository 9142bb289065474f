"""``python -m lab rpms|root|demo|bench|down``; see docs/lab.md."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from avalanche.errors import AvalancheError
from lab.cache import Cache
from lab.preflight import require_machine
from lab.settings import read_settings


def rpms() -> None:
    """Make the RPM repository if the cache has none, and print its path."""
    from lab.packages.repository import rpm_repository

    require_machine()
    print(rpm_repository(Cache.from_environment()))


def root() -> None:
    """Make the installer root if the cache has none, and print its layers, the upper one first."""
    from lab.demo import roots_of

    require_machine()
    print(roots_of(Cache.from_environment()).lower)


def demo() -> None:
    """Install hosts; settings come from the environment."""
    from lab.demo import run_demo

    run_demo(read_settings(os.environ), _var(), Cache.from_environment())


def bench() -> None:
    """Measure data planes beside other people's, and what profiles and service files cost; see docs/lab.md."""
    from lab.bench.driver import run_bench

    require_machine()
    run_bench(os.environ, _var(), Cache.from_environment())


def down() -> None:
    """End a run of this checkout, and remove hosts' folders and the demo's state. Nothing else outlives a run."""
    from lab.cluster import take_down

    take_down(_var())


def _var() -> Path:
    return Path(os.environ.get("VAR") or Path(__file__).parent.parent / "var").absolute()


COMMANDS: dict[str, Callable[[], None]] = {"rpms": rpms, "root": root, "demo": demo, "bench": bench, "down": down}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of the lab; 0: done, 1: failed with a reason, 2: wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    parser.add_argument("command", choices=sorted(COMMANDS))
    options = parser.parse_args(arguments)
    try:
        COMMANDS[options.command]()
    except AvalancheError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
