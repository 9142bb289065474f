"""Effects: what a compile asks of the machine it runs on, behind a port, so that the compiler itself stays pure.

``<eval>`` runs a program of the roll on the frontend; ``<copy>`` and ``<file include=>`` read its files. Both are for
rolls that the administrator trusts.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

from avalanche.errors import DefinitionError


class EvaluationFailed(DefinitionError):
    """The frontend did not do what a node file asks for."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A program of an ``<eval>``. Equal ones have equal output: they may be run once for all hosts.

    Attributes:
        script: its text, references filled in; it is given on standard input.
        shell: ``shell=`` of the tag: ``sh``, ``bash``, ``python``, or the path of an interpreter.
        environment: the node file's ``<var>``s.
        roll: the roll it comes from, which has to be trusted.
        library: a fingerprint of the roll's ``include/``, which the program may read.
    """

    script: str
    shell: str
    environment: tuple[tuple[str, str], ...]
    roll: str
    library: str


class Effects(Protocol):
    """What may be asked of the frontend.

    All methods raise EvaluationFailed, with a reason in one line.
    """

    def evaluate(self, evaluation: Evaluation) -> str:
        """Return what the program says on its standard output."""

    def read(self, path: str, *, roll: str) -> bytes:
        """Return the content of a file of the frontend."""

    def stamp(self, path: str) -> Hashable:
        """Return what changes when the file does; raises nothing."""


class Untrusted:
    """Refuses everything: no roll is trusted."""

    def evaluate(self, evaluation: Evaluation) -> str:
        raise EvaluationFailed(distrust(evaluation.roll, "run programs"))

    def read(self, path: str, *, roll: str) -> bytes:
        raise EvaluationFailed(distrust(roll, f"read {path}"))

    def stamp(self, path: str) -> Hashable:
        return None


class LeftOut:
    """Leaves everything out, to look at a roll without trusting it: ``--no-eval``."""

    def evaluate(self, evaluation: Evaluation) -> str:
        return ""

    def read(self, path: str, *, roll: str) -> bytes:
        return b""

    def stamp(self, path: str) -> Hashable:
        return None


def distrust(roll: str, what: str) -> str:
    """Say that a roll is not trusted, and what to do about it."""
    return (
        f"the roll {roll} is not trusted to {what} on the frontend; add it to [rolls] trusted in avalanche.toml, "
        f"or give --trust {roll}, or leave such things out with --no-eval"
    )
