"""Service files from the templates of rolls and sites: made in a process of their own, within bounds.

What a template's author wrote by mistake or on purpose can neither keep a processor busy for ever nor fill the memory
of the frontend, however it goes about it: jinja2's sandbox bounds what a template may touch, this how much it may use.
Our own templates need no guard, and are rendered where they are.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from avalanche.errors import ConfigError
from avalanche.report import REPORTS, Files, Renderer, Template, TemplateError, render
from avalanche.roster import Roster

REMEDY = "mend it, or remove it to have the shipped one"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the templates of one report may use: seconds on the clock and of a processor, bytes of memory and of text.

    Ten thousand hosts take our own templates some seconds and some tens of megabytes.
    """

    seconds: float = 40.0
    processor: int = 20
    memory: int = 2 << 30
    text: int = 32 << 20


class Typesetter:
    """Renders reports; what is rendered again for the same values, dnsmasq's files of hosts, is kept.

    Args:
        templates: those that rolls or the site put in place of ours, by name.
    """

    def __init__(self, templates: Mapping[str, Template], bounds: Bounds | None = None) -> None:
        self.templates = dict(templates)
        self._bounds = bounds or Bounds()
        self._shipped = Renderer()

    def __repr__(self) -> str:
        return f"<Typesetter {', '.join(sorted(self.templates)) or 'as shipped'}>"

    def render(self, name: str, roster: Roster, folder: str) -> Files:
        """Render a report.

        Args:
            folder: where the files are put; files that name others need it.

        Raises:
            TemplateError: a template is wrong, or takes too much; names it.
            AvalancheError: the roster has not what the report needs.
        """
        mine = {key: found for key in REPORTS[name].templates if (found := self.templates.get(key)) is not None}
        if not mine:
            return render([name], roster, self._shipped, folder)
        return _answer(self._run(pickle.dumps((name, roster, folder, mine, self._bounds)), mine), mine)

    def _run(self, request: bytes, mine: Mapping[str, Template]) -> bytes:
        process = subprocess.Popen(
            [sys.executable, "-m", "avalanche.adapters.typesetting_worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        with process:
            try:
                said, _ = process.communicate(request, timeout=self._bounds.seconds)
            except subprocess.TimeoutExpired:
                raise _too_much(mine, f"takes longer than {self._bounds.seconds:g} seconds") from None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        if process.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
            raise _too_much(mine, f"takes more than {self._bounds.processor} seconds of a processor")
        if process.returncode:
            raise _too_much(mine, f"ended the process it was rendered in (status {process.returncode})")
        return said


def _answer(said: bytes, mine: Mapping[str, Template]) -> Files:
    answer = json.loads(said)
    if "too_much" in answer:
        raise _too_much(mine, answer["too_much"])
    if "wrong" in answer:
        raise TemplateError(answer["wrong"], file=answer["file"], line=answer["line"])
    if "refused" in answer:
        raise ConfigError(answer["refused"])
    files: Files = answer["files"]
    return files


def _too_much(mine: Mapping[str, Template], what: str) -> TemplateError:
    files: Sequence[str] = sorted(template.file for template in mine.values())
    return TemplateError(f"{what}; {REMEDY}", file=" or ".join(files))
