"""``avalanche init``: make the state directory of a frontend, or complete one that was left half-made."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from avalanche.adapters.files import write_whole
from avalanche.adapters.state import State
from avalanche.cli.common import Nouns, add_command, print_json, split_url, state_of
from avalanche.cluster import DEFAULT_ATTRIBUTES, Appliance, Distribution, Setting
from avalanche.config import RELEASES, Config, check_address, parse_config
from avalanche.errors import ConfigError

if TYPE_CHECKING:
    from avalanche.adapters.database import Transaction

DEFAULT_APPLIANCE = Appliance("compute", "compute")

_CONFIG = """\
# Settings of this frontend; docs/configuration.md explains each. Restart the frontend after a change.

[frontend]
# Addresses and names under which installing hosts reach this machine, the preferred one first.
address = {address}
# Roll folders; later ones override earlier ones.
rolls = {rolls}

[cluster]
name = {name}
release = {release}

[database]
# "" is the SQLite file avalanche.db of this directory. A password of a server is in database.password.
url = {database}
"""


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the command."""
    help = "make a frontend's state directory: settings, database, certificate authority, keys"
    parser = add_command(nouns, "init", _run, help)
    parser.add_argument("--address", action="append", metavar="ADDRESS", help="how hosts reach us; repeatable")
    parser.add_argument("--roll", action="append", metavar="DIR", help="roll folder; repeatable")
    parser.add_argument("--name", default="cluster", help="the cluster's name")
    parser.add_argument(
        "--database",
        metavar="URL",
        help="a MariaDB database, mysql+pymysql://USER:PASSWORD@HOST/NAME ('-' reads it from standard input, where ps "
        "does not show it; default: a SQLite file in the state directory)",
    )
    parser.add_argument("--release", choices=RELEASES, default=RELEASES[0], help="the installer's release")


def _run(arguments: argparse.Namespace) -> None:
    state = state_of(arguments)
    made: list[str] = []
    kept: list[str] = []
    with _undone_on_failure(state):
        _folder(state, made, kept)
        config = _config(state, arguments, made, kept)
        _database(state, config, made, kept)
    _keys(state, config, made, kept)
    if arguments.json:
        print_json({"state": str(state.root), "made": made, "kept": kept})
        return
    for word, things in (("made", made), ("kept", kept)):
        for thing in things:
            print(f"{word}  {thing}")


@contextmanager
def _undone_on_failure(state: State) -> Iterator[None]:
    """Remove what a run made that came to nothing: the next one, told better, must not find the old settings."""
    database = state.database_file
    files = [state.config_file, state.database_password_file, database]
    files += [database.with_name(f"{database.name}{end}") for end in ("-wal", "-shm")]
    folders = [state.root, *state.root.parents]
    there = {path for path in (*files, *folders) if path.exists()}
    try:
        yield
    except BaseException:
        for path in files:
            if path not in there:
                path.unlink(missing_ok=True)
        for path in folders:
            if path not in there:
                with suppress(OSError):
                    path.rmdir()
        raise


def _folder(state: State, made: list[str], kept: list[str]) -> None:
    if not state.root.is_dir():
        state.root.mkdir(parents=True, mode=0o700)
        made.append(f"state directory {state.root}")
    elif state.root.stat().st_mode & 0o077:
        state.root.chmod(0o700)
        made.append(f"state directory {state.root}: closed to other users (mode 0700)")
    else:
        kept.append(f"state directory {state.root}")


def _config(state: State, arguments: argparse.Namespace, made: list[str], kept: list[str]) -> Config:
    if state.config_file.exists():
        kept.append(f"settings {state.config_file}")
        config = state.config()
        if arguments.address and tuple(arguments.address) != config.frontend.address:
            print(f"{state.config_file} is there; edit it to change the addresses", file=sys.stderr)
        if arguments.database is not None:
            _check_same_database(state, config, arguments.database)
        if not config.frontend.address:
            raise ConfigError(f"{state.config_file}: frontend.address is missing: how do hosts reach this machine?")
        return config
    if not arguments.address:
        raise ConfigError("say how installing hosts reach this machine: avalanche init --address ADDRESS")
    try:
        addresses = [check_address(address) for address in arguments.address]
    except ValueError as error:
        raise ConfigError(f"--address: {error}") from error
    url, password = split_url(arguments.database, what="--database") if arguments.database else ("", None)
    text = _CONFIG.format(
        address=_toml(addresses),
        database=_toml(url),
        rolls=_toml([str(path) for path in _rolls(arguments.roll)]),
        name=_toml(arguments.name),
        release=_toml(arguments.release),
    )
    config = parse_config(text, file="avalanche init")
    if password is not None:
        write_whole(state.database_password_file, f"{password}\n".encode())
        made.append(f"password {state.database_password_file}")
    write_whole(state.config_file, text.encode())
    made.append(f"settings {state.config_file}")
    return config


def _check_same_database(state: State, config: Config, url: str) -> None:
    plain, password = split_url(url, what="--database")
    if plain != config.database.url:
        raise ConfigError(
            f"{state.config_file} names another database; avalanche database move --to URL takes everything along"
        )
    file = state.database_password_file
    if password is not None and (not file.exists() or file.read_text(encoding="utf-8") != f"{password}\n"):
        print(f"{file} has another password, or none; edit it to change the password", file=sys.stderr)


def _rolls(given: list[str] | None) -> list[Path]:
    """The roll folders: those given, else the working directory if it is one, else the installed base roll."""
    if given:
        folders = [Path(folder).absolute() for folder in given]
        missing = [folder for folder in folders if not _is_roll(folder)]
        if missing:
            raise ConfigError(f"{missing[0]} is not a roll: it needs graphs/default/*.xml and nodes/*.xml")
        return folders
    for folder in (Path.cwd(), Path(sys.prefix) / "share" / "avalanche"):
        if _is_roll(folder):
            return [folder]
    raise ConfigError("no roll found here; say where the base roll is: avalanche init --address ADDRESS --roll DIR")


def _is_roll(folder: Path) -> bool:
    return (folder / "graphs" / "default").is_dir() and (folder / "nodes").is_dir()


def _toml(value: str | list[str]) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _database(state: State, config: Config, made: list[str], kept: list[str]) -> None:
    from avalanche.adapters.database import Database

    database = Database(state.database())
    try:
        done = database.migrate()
        if not config.database.url:
            state.database_file.chmod(0o600)
        (made if done else kept).extend(done or [f"database {database.name}"])
        with database.transaction() as transaction:
            # The first revision is that of an inventory nobody has touched: what was removed on purpose stays removed.
            if transaction.revision() == 1:
                transaction.add_appliance(DEFAULT_APPLIANCE)
                appliances = [DEFAULT_APPLIANCE.name, *_offered(state, config, transaction)]
                transaction.add_distribution(Distribution(config.frontend.distribution))
                for name, value in DEFAULT_ATTRIBUTES.items():
                    transaction.set_attribute(Setting("global", "", name, value))
                made.append(f"appliances {', '.join(appliances)}; {len(DEFAULT_ATTRIBUTES)} global attributes")
    finally:
        database.close()


def _offered(state: State, config: Config, transaction: Transaction) -> list[str]:
    """Add the kinds of hosts that the rolls of the settings offer; returns their names."""
    from avalanche.adapters.rolls import load_rolls
    from avalanche.cli.appliance import add_offered, offered

    if not config.frontend.rolls:
        return []
    rolls = load_rolls([state.root / folder for folder in config.frontend.rolls])
    names = offered(transaction.appliances(), rolls)
    add_offered(transaction, names)
    return names


def _keys(state: State, config: Config, made: list[str], kept: list[str]) -> None:
    from avalanche.adapters.authority import Authority
    from avalanche.adapters.signing import SigningKey

    if state.order_key_file.exists():
        state.order_key()
        kept.append(f"order key {state.order_key_file}")
    else:
        state.create_order_key()
        made.append(f"order key {state.order_key_file}")
    if state.swarm_key_file.exists():
        state.swarm_key()
        kept.append(f"swarm key {state.swarm_key_file}")
    else:
        state.create_swarm_key()
        made.append(f"swarm key {state.swarm_key_file}")
    if Authority.exists(state.authority):
        authority = Authority.open(state.authority)
        kept.append(f"certificate authority {state.authority}")
    else:
        authority = Authority.create(state.authority, name=config.cluster.name, now=time.time())
        made.append(f"certificate authority {state.authority}")
    reason = authority.renew_server(config.frontend.address, time.time())
    names = ", ".join(config.frontend.address)
    (kept if reason is None else made).append(f"server certificate for {names}")
    had_key = state.signing_home.is_dir()
    key = SigningKey.create(state.signing_home)
    (kept if had_key else made).append(f"signing key {key.fingerprint}")
