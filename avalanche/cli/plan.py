"""A planner made from a state directory: what the frontend would answer, for the commands that have to know."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from avalanche.cluster import intrinsic_attributes
from avalanche.errors import ConfigError

if TYPE_CHECKING:
    from avalanche.adapters.distributions import Distributions
    from avalanche.adapters.state import State
    from avalanche.config import Config
    from avalanche.frontend.planner import Planner


def intrinsic_of(config: Config) -> dict[str, str]:
    """The attributes that every host of a frontend has."""
    return intrinsic_attributes(
        release=config.cluster.release,
        distribution=config.frontend.distribution,
        frontend=next(iter(config.frontend.address), None),
    )


def rolls_of(state: State, config: Config) -> tuple[Path, ...]:
    """The roll folders of a frontend: those of its settings, then those of its inventory that are enabled.

    Relative ones are meant from where the settings are.

    Raises:
        ConfigError: none is configured.
        DatabaseUnavailable: the inventory cannot be read now.
    """
    from avalanche.adapters.database import Database

    configured = _configured(state, config)
    database = Database.open(state.database())
    try:
        with database.snapshot() as transaction:
            added = [roll.folder for roll in transaction.rolls() if roll.enabled]
    finally:
        database.close()
    return tuple(state.root / folder for folder in (*configured, *added))


def _configured(state: State, config: Config) -> tuple[str, ...]:
    if not config.frontend.rolls:
        raise ConfigError(f"{state.config_file}: frontend.rolls is empty; name the folder of the base roll")
    return config.frontend.rolls


def make_planner(state: State, config: Config, distributions: Distributions) -> Planner:
    """Make a planner with the rolls and the intrinsic attributes of a frontend.

    Raises:
        ConfigError: no roll is configured.
    """
    from avalanche.adapters.evaluator import Evaluator
    from avalanche.adapters.rolls import FrontendRolls
    from avalanche.frontend.planner import Planner

    rolls = FrontendRolls(state.root, _configured(state, config))
    return Planner(
        rolls,
        distributions,
        release=config.cluster.release,
        intrinsic=intrinsic_of(config),
        effects=Evaluator(config.rolls.trusted, folders=rolls.folders) if config.rolls.trusted else None,
        lax=frozenset(config.rolls.lax),
    )
