"""``avalanche report``: the files of other services, made from the database."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from avalanche.cli.common import Nouns, add_command, opened_database, print_json, print_rows, site_templates, state_of
from avalanche.cli.selection import add_hosts, selected

if TYPE_CHECKING:
    from avalanche.adapters.servicefiles import Published
    from avalanche.adapters.typesetting import Typesetter
    from avalanche.cluster import Cluster
    from avalanche.report import Files
    from avalanche.roster import Roster

LOCAL, KEYS = "hosts.local", "hostkeys"
_ROCKS = {"host": "hosts", "knownhosts": "known_hosts"}  # Rocks' names; also `report host dhcpd`


def register(nouns: Nouns[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = add_command(nouns, "report", _run, "service files from the database: print, check, write")
    parser.add_argument("name", nargs="?", metavar="NAME", help="which; without it they are listed")
    add_hosts(parser, all_by_default=True)
    parser.add_argument("--check", action="store_true", help="let the program that reads the file read it first")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--write", type=Path, metavar="DIR", help="write into a folder; without NAME, all reports")
    where.add_argument("--install", action="store_true", help="write to where its program looks for it")
    parser.add_argument("--dry-run", action="store_true", help="say what --write or --install would change")


def _run(arguments: argparse.Namespace) -> None:
    from avalanche.adapters.typesetting import Typesetter
    from avalanche.report import REPORTS

    name = _name(arguments)
    partial = bool(arguments.hosts) or arguments.query is not None
    writes = arguments.write is not None or arguments.install
    if name is None and arguments.install:
        arguments.usage_error("--install needs NAME")
    if writes and partial:
        arguments.usage_error("a file is written for all hosts or not at all; leave out HOST")
    if name is None and arguments.write is None and not arguments.check:
        rows = [{"report": one.name, "place": one.place, "help": one.help} for one in REPORTS.values()]
        print_rows(arguments, rows, ("report", "place", "help"), none="")
        return
    cluster, roster = _roster(arguments)
    # Without NAME: everything that can be made here. Where no card is declared, there is no dnsmasq to make it for.
    names = [name] if name else [one for one in REPORTS if one != "dnsmasq" or roster.dhcp.interfaces]
    state = state_of(arguments)
    _make(arguments, names, roster, Typesetter(site_templates(state, state.config(), cluster)))


def _name(arguments: argparse.Namespace) -> str | None:
    from avalanche.report import REPORTS

    name: str | None = arguments.name
    if name == "host" and arguments.hosts and arguments.hosts[0] in REPORTS:
        name = arguments.hosts.pop(0)
    name = _ROCKS.get(name or "", name)
    if name is not None and name not in REPORTS:
        arguments.usage_error(f"no report is called {name!r}; there are: {', '.join(REPORTS)}")
    return name


def _make(arguments: argparse.Namespace, names: list[str], roster: Roster, typesetter: Typesetter) -> None:
    from avalanche.adapters.readers import check
    from avalanche.report import REPORTS

    made: list[tuple[str, Path, Files]] = []
    for name in names:
        folder = Path(REPORTS[name].place).parent if arguments.install else arguments.write
        shown = folder or Path(roster.dhcp.run)  # what is only printed is what the frontend's dnsmasq has
        made.append((name, shown, typesetter.render(name, roster, str(shown.absolute()))))
    # All are made and read before the first is written.
    readers = {name: check(name, files, roster) for name, _, files in made} if arguments.check else {}
    if arguments.write is None and not arguments.install:
        _print(arguments, made, readers)
        return
    rows = [
        {"report": name, "folder": str(folder), **_write(arguments, name, folder, files)}
        for name, folder, files in made
    ]
    if arguments.json:
        print_json(rows)
        return
    short = [{**row, "written": _count(row["written"]), "removed": _count(row["removed"])} for row in rows]
    print_rows(arguments, short, ("report", "folder", "written", "removed", "unchanged"), none="")


def _write(arguments: argparse.Namespace, name: str, folder: Path, files: Files) -> dict[str, object]:
    from avalanche.adapters.servicefiles import differences, publish
    from avalanche.report import HOSTS_FOLDER, REPORTS

    if arguments.install:
        main = REPORTS[name].path
        files = {Path(REPORTS[name].place).name if path == main else path: text for path, text in files.items()}
    owned = (HOSTS_FOLDER,) if name == "dnsmasq" else ()
    done: Published = (differences if arguments.dry_run else publish)(folder, files, owned=owned)
    return {"written": list(done.written), "removed": list(done.removed), "unchanged": done.unchanged}


def _count(paths: object) -> str:
    assert isinstance(paths, list)
    return ", ".join(paths) if len(paths) <= 3 else f"{len(paths)} files"


def _print(arguments: argparse.Namespace, made: list[tuple[str, Path, Files]], readers: dict[str, str]) -> None:
    if arguments.json:
        rows = [{"report": name, "read_by": readers.get(name), "files": files} for name, _, files in made]
        print_json(rows)
        return
    if arguments.name is None:
        print_rows(arguments, [{"report": name, "read_by": reader} for name, reader in readers.items()],
                   ("report", "read_by"), none="")  # fmt: skip
        return
    for _, _, files in made:
        for number, (path, text) in enumerate(sorted(files.items(), key=lambda item: "/" in item[0])):
            print(f"# {path}\n{text}" if number else text, end="")


def _roster(arguments: argparse.Namespace) -> tuple[Cluster, Roster]:
    """The inventory with the hosts a command was given alone, and their roster."""
    from avalanche.adapters.servicefiles import read_keys, read_local
    from avalanche.roster import roster_of

    state = state_of(arguments)
    config = state.config()
    with opened_database(arguments) as database:
        with database.snapshot() as transaction:
            cluster = transaction.cluster()
        hosts = selected(arguments, database, cluster)
    cluster = replace(cluster, hosts={host.name: host for host in hosts})
    keys, local = read_keys(state.root / KEYS), read_local(state.root / LOCAL)
    return cluster, roster_of(cluster, config.dhcp, keys=keys, local=local)
