"""What a demo runs: read from the environment, where ``make demo HOSTS=4 ...`` puts it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from avalanche.errors import ConfigError
from lab.faults import Fault, parse_faults

_MODES = ("install", "download")
_PLANES = ("relay", "swarm", "http", "auto")
_MAX_HOSTS = 250


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a demo.

    Attributes:
        hosts: installing hosts.
        rate_mbit: rate of every link, both ways, in Mbit/s; the frontend's too.
        mode: ``install``, or ``download`` (dnf downloads and installs nothing).
        plane: how bytes travel.
        faults: what goes wrong.
    """

    hosts: int = 4
    rate_mbit: int = 100
    mode: str = "install"
    plane: str = "relay"
    faults: tuple[Fault, ...] = ()


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read HOSTS, RATE, MODE, PLANE and FAULTS; what is missing or empty has its default.

    Raises:
        ConfigError: one of them makes no sense; says what would.
    """
    plane = environment.get("PLANE") or _PLANES[0]
    settings = Settings(
        hosts=_number(environment, "HOSTS", 4, 1, _MAX_HOSTS),
        rate_mbit=_number(environment, "RATE", 100, 1, 10_000),
        mode=_choice("MODE", environment.get("MODE") or "install", _MODES),
        plane=_choice("PLANE", plane, _PLANES),
        faults=parse_faults(environment.get("FAULTS", "")),
    )
    hit = sum(int(fault.amount) for fault in settings.faults if fault.is_on_hosts)
    if hit > settings.hosts:
        raise ConfigError(f"FAULTS: {hit} hosts are to be killed or slow, and there are {settings.hosts}: raise HOSTS")
    return settings


def _number(environment: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise ConfigError(f"{name}={text}: must be a whole number from {least} to {most}")
    return int(text)


def _choice(name: str, text: str, choices: tuple[str, ...]) -> str:
    if text not in choices:
        raise ConfigError(f"{name}={text}: must be one of {', '.join(choices)}")
    return text
