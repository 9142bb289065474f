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
    settings = read_settings({"HOSTS": "8", "RATE": "1000", "MODE": "download", "PLANE": "http"})
    assert settings == Settings(hosts=8, rate_mbit=1000, mode="download", plane="http")


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
        ({"HOSTS": "2", "FAULTS": "kill:2@5%,slow:1@25%"}, "3 hosts are to be killed or slow, and there are 2"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(environment: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        read_settings(environment)
