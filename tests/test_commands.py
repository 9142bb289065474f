"""Kickstart commands: the table says what pykickstart says."""

from __future__ import annotations

import warnings

import pytest
from pykickstart.base import DeprecatedCommand, RemovedCommand
from pykickstart.version import makeVersion

from avalanche.commands import COMMANDS, RELEASES, SOURCES, Standing, is_command, standing
from avalanche.judge import HANDLERS, judge_kickstart

# What pykickstart takes and warns of, though its class is not called deprecated.
WARNED = {"auth": "--enableshadow", "authconfig": "--enableshadow"}


@pytest.mark.parametrize("release", RELEASES)
def test_what_is_known_is_what_pykickstart_takes_without_complaint(release: str) -> None:
    handler = makeVersion(HANDLERS[release])
    taken = {
        name for name, command in handler.commands.items()
        if not isinstance(command, (DeprecatedCommand, RemovedCommand))
    }  # fmt: skip
    for name, arguments in WARNED.items():
        if name in taken:
            with warnings.catch_warnings():
                if judge_kickstart(f"{name} {arguments}\n", release=release):
                    taken.discard(name)
    assert {name for name in COMMANDS if standing(name, release) is Standing.KNOWN} == taken - SOURCES


@pytest.mark.parametrize("release", RELEASES)
def test_what_pykickstart_calls_deprecated_or_removed_is_left_out(release: str) -> None:
    handler = makeVersion(HANDLERS[release])
    for name, command in handler.commands.items():
        if isinstance(command, (DeprecatedCommand, RemovedCommand)):
            assert standing(name, release) in (Standing.GONE, Standing.SOURCE), name


def test_every_command_of_every_release_is_one() -> None:
    assert all(is_command(name) for handler in HANDLERS.values() for name in makeVersion(handler).commands)
    assert not is_command("langue")


def test_what_only_other_releases_know_is_told_apart_from_what_none_knows() -> None:
    assert standing("rdp", "el9") is Standing.LATER
    assert standing("timesource", "el8") is Standing.LATER
    assert standing("interactive", "el9") is Standing.GONE
    assert standing("auth", "el7") is Standing.KNOWN
    assert standing("frobnicate", "el9") is Standing.UNKNOWN
