"""Reading a demo's settings."""

from __future__ import annotations

import pytest

from avalanche.errors import ConfigError
from lab.settings import Settings, read_settings


def test_nothing_set_gives_the_defaults() -> None:
    assert (
        read_settings({})
        == read_settings({"HOSTS": "", "RATE": "", "MODE": "", "PLANE": "", "FAULTS": ""})
        == Settings()
    )


def test_every_setting_is_read() -> None:
    given = {"HOSTS": "8", "RATE": "1000", "MODE": "download", "PLANE": "http", "RACKS": "2", "STAGGER": "0.3"}
    expected = Settings(hosts=8, rate_mbit=1000, mode="download", plane="http", racks=2, stagger=0.3)
    assert read_settings(given) == expected


def test_packages_are_relayed_unless_somebody_says_otherwise() -> None:
    assert read_settings({}).plane == "relay"


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"HOSTS": "0"}, "HOSTS=0: must be a whole number from 1 to 250"),
        ({"HOSTS": "four"}, "HOSTS=four"),
        ({"RATE": "-1"}, "RATE=-1"),
        ({"MODE": "both"}, "MODE=both: must be one of install, download"),
        ({"PLANE": "pigeon"}, "PLANE=pigeon"),
        ({"RACKS": "17"}, "RACKS=17: must be a whole number from 1 to 16"),
        ({"STAGGER": "-1"}, "STAGGER=-1: must be seconds"),
        ({"HOSTS": "2", "FAULTS": "join:2@5%"}, "there is none that they follow"),
        ({"HOSTS": "2", "FAULTS": "kill:2@5%,slow:1@25%"}, "3 hosts are to be hit, and there are 2"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(environment: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        read_settings(environment)
