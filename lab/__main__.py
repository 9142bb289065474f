"""``python -m lab rpms|root|demo|down``; see docs/lab.md."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from avalanche.errors import AvalancheError
from lab.cache import Cache


def rpms() -> None:
    """Make the RPM repository if the cache has none, and print its path."""
    from lab.packages.repository import rpm_repository

    print(rpm_repository(Cache.from_environment()))


COMMANDS: dict[str, Callable[[], None]] = {"rpms": rpms}


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
