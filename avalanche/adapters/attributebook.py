"""Attributes in SQL: set and removed by the batch; what was set before, by whom, and when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, bindparam, delete, select, update

from avalanche.adapters import schema
from avalanche.adapters.hostbook import Hosts
from avalanche.adapters.transaction import chunks
from avalanche.cluster import Cluster, Setting, check_setting
from avalanche.errors import ClusterError
from avalanche.names import MAX_NUMBER, check_label

Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Past:
    """One change of an attribute. ``value`` is None for a removal, and for a secret: old secrets are kept nowhere."""

    at: float
    author: str
    scope: str
    owner: str
    name: str
    value: str | None = field(repr=False)
    secret: bool
    removed: bool


class AttributeVerbs(Hosts):
    """The verbs of attributes. A change bumps the inventory's revision, is in the history and in the audit."""

    def settings(self) -> tuple[Setting, ...]:
        """Every attribute that is set, by scope, owner and name."""
        table = schema.attributes
        rows = self.connection.execute(select(table).order_by(table.c.scope, table.c.owner, table.c.name))
        return tuple(_setting(row) for row in rows)

    def settings_of(self, owners: Iterable[tuple[str, str]]) -> list[Setting]:
        """The attributes that are set for some, each (scope, owner)."""
        by_scope: dict[str, list[str]] = {}
        for scope, owner in sorted(owners):
            by_scope.setdefault(scope, []).append(owner)
        table = schema.attributes
        found: list[Setting] = []
        for scope, names in by_scope.items():
            for some in chunks(names):
                rows = self.connection.execute(select(table).where(table.c.scope == scope, table.c.owner.in_(some)))
                found += [_setting(row) for row in rows]
        return found

    def set_attribute(self, setting: Setting) -> None:
        """Set one attribute. Raises as ``set_attributes``."""
        self.set_attributes([setting])

    def set_attributes(self, settings: Sequence[Setting]) -> int:
        """Set attributes, in place of the values they have at the same scopes; returns how many changed.

        Raises:
            ClusterError, ConfigError: a scope, name, value or owner is wrong, or a host is locked.
        """
        wanted = {(setting.scope, setting.owner, setting.name): check_setting(setting) for setting in settings}
        self._check_owners({(scope, owner) for scope, owner, _ in wanted})
        known = self._known_attributes(wanted)
        fresh = [setting for key, setting in wanted.items() if key not in known]
        changed = [
            (known[key].id, setting)
            for key, setting in wanted.items()
            if key in known and (known[key].value, bool(known[key].secret)) != (setting.value, setting.secret)
        ]
        table = schema.attributes
        self._insert_all(table, [self._row(setting) for setting in fresh])
        if changed:
            rows = [
                {"key": key, "value": s.value, "secret": s.secret, "author": self.author, "at": self.now}
                for key, s in changed
            ]
            self.connection.execute(update(table).where(table.c.id == bindparam("key")), rows)
        done = [*fresh, *(setting for _, setting in changed)]
        self._note(done, removed=False)
        if done:
            self._bump("attributes", {f"{setting.scope} {setting.owner}" for setting in done})
        return len(done)

    def remove_attribute(self, scope: str, owner: str, name: str) -> None:
        """Remove an attribute from a scope. Raises as ``remove_attributes``."""
        self.remove_attributes([(scope, owner, name)])

    def remove_attributes(self, keys: Sequence[Key]) -> None:
        """Remove attributes, each (scope, owner, name).

        Raises:
            ClusterError: one is not set there, or a host is locked.
        """
        known = self._known_attributes(keys)
        for scope, owner, name in keys:
            if (scope, owner, name) not in known:
                raise ClusterError(f"attribute {name} is not set for {' '.join(filter(None, (scope, owner)))}")
        self.check_unlocked({owner for scope, owner, _ in keys if scope == "host"})
        table = schema.attributes
        for some in chunks([row.id for row in known.values()]):
            self.connection.execute(delete(table).where(table.c.id.in_(some)))
        self._note([Setting(*key, "", bool(row.secret)) for key, row in known.items()], removed=True)
        self._bump("attributes", {f"{scope} {owner}" for scope, owner, _ in keys})

    def attribute_history(self, name: str, *, scope: str | None = None, owner: str | None = None) -> list[Past]:
        """What became of an attribute, oldest first."""
        table = schema.attribute_history
        query = select(table).where(table.c.name == name).order_by(table.c.id)
        if scope is not None:
            query = query.where(table.c.scope == scope)
        if owner is not None:
            query = query.where(table.c.owner == owner)
        return [
            Past(row.at, row.author, row.scope, row.owner, row.name, row.value, bool(row.secret), bool(row.removed))
            for row in self.connection.execute(query)
        ]

    # --- shared ---

    def _row(self, setting: Setting) -> dict[str, Any]:
        return {
            "scope": setting.scope,
            "owner": setting.owner,
            "name": setting.name,
            "value": setting.value,
            "secret": setting.secret,
            "author": self.author,
            "at": self.now,
        }

    def _note(self, settings: Sequence[Setting], *, removed: bool) -> None:
        rows = []
        for setting in settings:
            hidden = setting.secret or removed
            rows.append(self._row(setting) | {"value": None if hidden else setting.value, "removed": removed})
        self._insert_all(schema.attribute_history, rows)
        subjects = (f"{' '.join(filter(None, (s.scope, s.owner)))}: {s.name}" for s in settings)
        self.record("attr remove" if removed else "attr set", subjects)

    def _known_attributes(self, keys: Iterable[Key]) -> dict[Key, Any]:
        wanted = set(keys)
        table = schema.attributes
        found: dict[Key, Any] = {}
        for scope, name in sorted({(scope, name) for scope, _, name in wanted}):
            owners = sorted(owner for other, owner, known in wanted if (other, known) == (scope, name))
            for some in chunks(owners):
                mine = (table.c.scope == scope) & (table.c.name == name) & table.c.owner.in_(some)
                for row in self.connection.execute(select(table).where(mine)):
                    found[row.scope, row.owner, row.name] = row
        return found

    def _check_owners(self, owners: set[tuple[str, str]]) -> None:
        for scope, owner in owners:
            if (scope == "global") != (owner == ""):
                raise ClusterError(f"scope {scope} {'has no' if owner else 'needs an'} owner")
            if scope == "rack" and not (owner.isascii() and owner.isdigit() and str(int(owner)) == owner):
                raise ClusterError(f"{owner!r} is not a rack; it is a number up to {MAX_NUMBER}")
            if scope == "os":
                check_label("os", owner, 32)
        known = self.appliances()
        for scope, owner in owners:
            if scope == "appliance" and owner not in known:
                Cluster(0, known, {}, ()).appliance(owner)
        hosts = sorted(owner for scope, owner in owners if scope == "host")
        self._check_known(hosts)
        self.check_unlocked(hosts)


def _setting(row: Row[Any]) -> Setting:
    return Setting(row.scope, row.owner, row.name, row.value, bool(row.secret), row.author, row.at)
