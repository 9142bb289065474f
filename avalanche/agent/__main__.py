"""``python3 -I agent.pyz COMMAND``: what the bundle runs. What stays imports nothing that it does not need."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Optional


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Run one command and exit: 0 done, 1 failed with a reason, 2 wrong usage."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == ["keep"]:
        from avalanche.agent import keeper

        sys.exit(keeper.main(words))
    if words[:1] == ["agent"]:
        from avalanche.agent import program

        sys.exit(program.main(words))
    from avalanche.agent import commands

    sys.exit(commands.main(words))


if __name__ == "__main__":
    main()
