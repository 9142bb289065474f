"""docs/baseroll.md is true: of attributes, defaults, modules, and the keys of the disks' policy."""

from __future__ import annotations

import re

import pytest

from avalanche.cluster import free_attributes
from avalanche.compiler import compile_profile
from avalanche.profile import Profile
from tests.baseroll import documented
from tests.baseroll.appliances import APPLIANCES, planner, rolls

ROWS = documented.rows()


def test_every_attribute_that_the_roll_reads_is_documented_with_its_readers():
    assert {name: row.readers for name, row in ROWS.items()} == documented.readers()


def test_every_module_is_documented_in_its_own_words():
    assert documented.modules() == {name: documented.sentence(name) for name in rolls().names}


def content(profile: Profile) -> tuple[object, ...]:
    commands = [(command.command, command.node) for command in profile.commands]
    return [node.name for node in profile.nodes], commands, profile.requested, profile.excluded


@pytest.mark.parametrize("appliance", APPLIANCES)
def test_setting_a_default_changes_nothing(appliance: str):
    """Neither modules nor packages nor commands."""
    unset = content(compile_profile(rolls(), appliance, free_attributes(appliance, "el9", {})))
    tried = 0
    for name, row in ROWS.items():
        value = row.default_of(appliance)
        if value is None:
            continue
        tried += 1
        given = free_attributes(appliance, "el9", {name: value})
        assert content(compile_profile(rolls(), appliance, given)) == unset, (name, value)
    assert tried > 35


def test_defaults_of_disks_are_the_planner_s():
    keys = planner().DEFAULTS
    for name, default in keys.items():
        if name in ROWS:
            assert ROWS[name].default == (f"`{default}`" if default else "none")
    page = documented.page()
    told = re.search(r"with the keys (.*?): the first line", page, re.DOTALL)
    assert told is not None
    assert re.findall(r"`(\w+)`", told[1]) == list(keys)


@pytest.mark.parametrize("appliance", APPLIANCES)
def test_hosts_of_a_rack_share_one_profile(appliance: str) -> None:
    """A profile is compiled once for them all: nothing that differs from host to host is weighed."""
    assert not rolls().weighed(appliance) & {"hostname", "rank", "hostaddr", "mac", "ib_addr"}
