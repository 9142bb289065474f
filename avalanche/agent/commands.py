"""The commands ``agent`` and ``done ok|failed [TEXT]``; ``stage2`` the agent runs itself, and ``keep`` is `keeper`."""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from avalanche.agent import rundir
from avalanche.agent.keeper import CRASHED
from avalanche.errors import AvalancheError

log = logging.getLogger(__name__)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run one command; return its status: 0 done, 1 failed with a reason. Wrong usage exits with 2."""
    options = _parser().parse_args(arguments)
    status: int = options.run_command(options)
    return status


class _Help(argparse.HelpFormatter):
    """Of a fixed width: to ask the terminal's, argparse imports what takes half a megabyte of the cache's memory."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=100)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="agent.pyz", description="Avalanche on an installing host.", formatter_class=_Help
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    agent = commands.add_parser(
        "agent", help="render the kickstart and serve packages until done", formatter_class=_Help
    )
    agent.add_argument("--listener", type=int, help="descriptor of the keeper's socket, on which the proxy listens")
    agent.add_argument("--again", default="", help="why the agent is started again; it goes on where it was")
    agent.set_defaults(run_command=_agent)
    done = commands.add_parser("done", help="tell the frontend how the install ended", formatter_class=_Help)
    done.add_argument("status", type=_status)
    done.add_argument("text", nargs="?", default="", help="why it failed")
    done.set_defaults(run_command=_done)
    stage2 = commands.add_parser(
        "stage2", help="make a kickstart of a profile; the agent talks to it", formatter_class=_Help
    )
    stage2.set_defaults(run_command=_stage2)
    for command in (agent, done, stage2):
        command.add_argument("--run", type=Path, default=rundir.DEFAULT, help="run directory (default %(default)s)")
    return parser


def _status(text: str) -> str:
    from avalanche.messages import DONE_STATUSES

    if text not in DONE_STATUSES:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(DONE_STATUSES)}")
    return text


def _agent(options: argparse.Namespace) -> int:
    from avalanche.agent.log import open_log
    from avalanche.agent.program import Agent

    run = rundir.RunDirectory(options.run)
    open_log(run.log)

    async def work() -> int:
        return await Agent(run, listener=options.listener, again=options.again).work()

    try:
        return asyncio.run(work())
    except rundir.AlreadyRunning as error:
        log.error("%s", error)
    except AvalancheError as error:
        log.error("%s", error)
        run.say_failed(str(error))
    except Exception as error:
        log.exception("the agent crashed")
        run.say_failed(f"the agent crashed ({type(error).__name__}: {error}); see {run.log}")
        return CRASHED
    return 1


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
