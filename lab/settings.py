"""What a demo runs: read from the environment, where ``make demo HOSTS=4 ...`` puts it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from avalanche.errors import ConfigError
from lab.faults import Fault, parse_faults

_MODES = ("install", "download")
PLANES = ("relay", "swarm", "http", "auto")
_MAX_HOSTS = 250
_MAX_RACKS = 16


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a demo.

    Attributes:
        hosts: installing hosts.
        rate_mbit: rate of every link, both ways, in Mbit/s; the frontend's too.
        mode: ``install``, or ``download`` (dnf downloads and installs nothing).
        plane: how bytes travel.
        faults: what goes wrong.
        racks: the hosts stand in so many racks in turns, behind trunks as fast as a link; the frontend in the first.
        stagger: seconds from one host's start to the next one's.
    """

    hosts: int = 4
    rate_mbit: int = 100
    mode: str = "install"
    plane: str = "relay"
    faults: tuple[Fault, ...] = ()
    racks: int = 1
    stagger: float = 0.0


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read HOSTS, RATE, MODE, PLANE, FAULTS, RACKS and STAGGER; what is missing or empty has its default.

    Raises:
        ConfigError: one of them makes no sense; says what would.
    """
    plane = environment.get("PLANE") or PLANES[0]
    settings = Settings(
        hosts=_number(environment, "HOSTS", 4, 1, _MAX_HOSTS),
        rate_mbit=_number(environment, "RATE", 100, 1, 10_000),
        mode=_choice("MODE", environment.get("MODE") or "install", _MODES),
        plane=_choice("PLANE", plane, PLANES),
        faults=parse_faults(environment.get("FAULTS", "")),
        racks=_number(environment, "RACKS", 1, 1, _MAX_RACKS),
        stagger=_seconds(environment, "STAGGER"),
    )
    check_faults(settings.faults, settings.hosts)
    return settings


def check_faults(faults: Sequence[Fault], hosts: int) -> None:
    """No host is hit twice, and one starts at the barrier.

    Raises:
        ConfigError: there are too few hosts.
    """
    hit = sum(fault.hosts for fault in faults)
    if hit > hosts:
        raise ConfigError(f"FAULTS: {hit} hosts are to be hit, and there are {hosts}: raise HOSTS")
    if sum(fault.hosts for fault in faults if fault.kind == "join") == hosts:
        raise ConfigError("FAULTS: all hosts are to join later than the others, and there is none that they follow")


def _number(environment: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise ConfigError(f"{name}={text}: must be a whole number from {least} to {most}")
    return int(text)


def _seconds(environment: Mapping[str, str], name: str) -> float:
    text = environment.get(name) or "0"
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?", text):
        raise ConfigError(f"{name}={text}: must be seconds, like 0.3")
    return float(text)


def _choice(name: str, text: str, choices: tuple[str, ...]) -> str:
    if text not in choices:
        raise ConfigError(f"{name}={text}: must be one of {', '.join(choices)}")
    return text
