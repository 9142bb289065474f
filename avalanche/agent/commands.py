"""The command ``done ok|failed [TEXT]``, and ``stage2``, which the agent runs itself.

``keep`` is `keeper`, and ``agent`` is `program`: they stay for the whole install, and do without argparse.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from avalanche.agent import rundir


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run one command; return its status: 0 done, 1 failed with a reason. Wrong usage exits with 2."""
    options = _parser().parse_args(arguments)
    status: int = options.run_command(options)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agent.pyz", description="Avalanche on an installing host.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    done = commands.add_parser("done", help="tell the frontend how the install ended")
    done.add_argument("status", type=_status)
    done.add_argument("text", nargs="?", default="", help="why it failed")
    done.set_defaults(run_command=_done)
    stage2 = commands.add_parser("stage2", help="make a kickstart of a profile; the agent talks to it")
    stage2.set_defaults(run_command=_stage2)
    for command in (done, stage2):
        command.add_argument("--run", type=Path, default=rundir.DEFAULT, help="run directory (default %(default)s)")
    return parser


def _status(text: str) -> str:
    from avalanche.messages import DONE_STATUSES

    if text not in DONE_STATUSES:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(DONE_STATUSES)}")
    return text


def _done(options: argparse.Namespace) -> int:
    from avalanche.agent.done import tell_done

    is_confirmed, line = tell_done(options.run, options.status, options.text)
    print(f"avalanche: {line}", flush=True)
    return 0 if is_confirmed else 1


def _stage2(options: argparse.Namespace) -> int:
    from avalanche.agent.judge import JudgeProcess

    judge = JudgeProcess()  # before stage 2 imports what the judge has no use for
    try:
        from avalanche.agent.stage2 import run_stage2

        return run_stage2(rundir.RunDirectory(options.run), judge)
    finally:
        judge.close()
