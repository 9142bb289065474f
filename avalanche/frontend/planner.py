"""What a host will install: its attributes, its compiled profile, and the closure of its packages in a generation.

Everything is cached by content, so a host that asks costs lookups; a node file or an attribute that changes shows in
the next request. Used by the server, on one thread, and by the commands that have to know the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from avalanche.adapters.closure import Solver
from avalanche.adapters.distributions import Distributions
from avalanche.adapters.rolls import FrontendRolls
from avalanche.attributes import Attributes
from avalanche.cluster import Cluster, Host, RollEntry
from avalanche.compiler import compile_rolls
from avalanche.effects import Effects, Untrusted
from avalanche.manifest import Manifest
from avalanche.membership import Membership
from avalanche.modules import requested_modules
from avalanche.orders import Order
from avalanche.profile import Profile, installation_document

PROFILES_KEPT = 256
CLOSURES_KEPT = 64
SOLVERS_KEPT = 4

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Compiled:
    """A profile, its bytes, the attributes the host must have to render it, and the frontend's files it is made of."""

    profile: Profile
    body: bytes
    references: frozenset[str]
    reads: tuple[tuple[str, Hashable], ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What the host of an order will install."""

    attributes: Attributes
    compiled: Compiled
    closure: Manifest

    def document(self, order: Order, plane: str, membership: Membership | None) -> bytes:
        """Write the installation document; packages travel by ``plane``."""
        return installation_document(
            host=order.host,
            generation=order.generation,
            manifest=self.closure.digest,
            plane=plane,
            attributes=self.attributes,
            body=self.compiled.body,
            membership=membership,
        )


class _Recent(Generic[K, V]):
    """The values that were used last."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: K, value: V) -> V:
        self._values[key] = value
        if len(self._values) > self._size:
            self._values.popitem(last=False)
        return value


class Planner:
    """Compiles and solves for hosts of a cluster, with the rolls as they were at the last look. Not for several threads
    at once.

    Args:
        intrinsic: attributes that every host of this frontend has.
        effects: this machine, for the evals of trusted rolls; without it no roll is trusted.
        lax: the rolls whose scripts go on when a command fails.
    """

    def __init__(
        self,
        rolls: FrontendRolls,
        distributions: Distributions,
        *,
        release: str,
        intrinsic: Mapping[str, str],
        effects: Effects | None = None,
        lax: frozenset[str] = frozenset(),
    ) -> None:
        self._effects = effects or Untrusted()
        self._lax = lax
        self._rolls = rolls
        self._distributions = distributions
        self._release = release
        self._intrinsic = intrinsic
        self._compiled: _Recent[Hashable, Compiled] = _Recent(PROFILES_KEPT)
        self._closures: _Recent[Hashable, Manifest] = _Recent(CLOSURES_KEPT)
        self._solvers: _Recent[str, Solver] = _Recent(SOLVERS_KEPT)
        self._attributes: dict[str, Attributes] = {}
        self._revision = -1
        self._copied: set[str] = set()

    def look(self, rolls: Iterable[RollEntry]) -> Hashable:
        """Look at the rolls of an inventory on disk and at the files that their profiles copied, and name what they
        hold.

        Raises:
            ConfigError, GraphError, ConditionError: they cannot be read.
        """
        return self._rolls.of(rolls).current().fingerprint, tuple(
            (path, self._effects.stamp(path)) for path in sorted(self._copied)
        )

    def attributes(self, cluster: Cluster, host: Host) -> Attributes:
        """A host's attributes at a revision of the inventory."""
        if cluster.revision != self._revision:
            self._attributes, self._revision = {}, cluster.revision
        found = self._attributes.get(host.name)
        if found is None:
            found = self._attributes[host.name] = cluster.attributes(host, self._intrinsic)
        return found

    def compiled(self, cluster: Cluster, root: str, attributes: Attributes) -> Compiled:
        """Compile the profile of ``root`` under a host's attributes, from the rolls of an inventory.

        Raises:
            DefinitionError: a roll is wrong, or refers to an attribute the host does not have; names file and line.
            ConfigError: a roll cannot be read.
        """
        rolls = self._rolls.of(cluster.rolls).latest
        weighed = rolls.weighed(root)
        values = tuple(
            (name, attributes[name] if name in weighed else None, attributes.attribute(name).secret)
            for name in sorted(rolls.mentioned(root))
            if name in attributes
        )
        key = (rolls.fingerprint, root, self._release, values)
        found = self._compiled.get(key)
        if found is None or any(self._effects.stamp(path) != stamp for path, stamp in found.reads):
            compilation = compile_rolls(
                rolls, root, attributes, release=self._release, effects=self._effects, lax=self._lax
            )
            profile = compilation.profile
            self._copied.update(path for path, _ in compilation.reads)
            names = frozenset(reference.name for _, reference in profile.references() if not reference.optional)
            found = self._compiled.put(key, Compiled(profile, profile.to_xml(), names, compilation.reads))
        elif not all(name in attributes for name in found.references):
            found.profile.check_references(attributes)
        return found

    def closure(self, generation_id: str, profile: Profile) -> Manifest:
        """Solve what a profile asks for: the packages, and what they need, in canonical order.

        Raises:
            Unsatisfiable: a package cannot be had; names the node file and line that ask for it.
            RepositoryError: the generation is not there or damaged.
        """
        wanted = frozenset((request.name, request.meta) for request in profile.requested)
        unwanted = frozenset((request.name, request.meta) for request in profile.excluded)
        modules = requested_modules(profile)
        key = (generation_id, wanted, unwanted, modules)
        found = self._closures.get(key)
        if found is None:
            solver = self._solvers.get(generation_id)
            if solver is None:
                solver = self._solvers.put(generation_id, Solver(self._distributions.open(generation_id)))
            solved = solver.solve(profile.requested, excluded=profile.excluded, modules=modules)
            found = self._closures.put(key, solved.manifest)
        return found

    def plan(self, cluster: Cluster, order: Order) -> Plan:
        """What the host of an order will install.

        Raises:
            UnknownHost: it was removed.
            DefinitionError, ConfigError, RepositoryError: as ``compiled`` and ``closure``.
        """
        attributes, compiled = self.profile_of(cluster, order.host)
        return Plan(attributes, compiled, self.closure(order.generation, compiled.profile))

    def manifest(self, cluster: Cluster, order: Order, digest: str) -> bytes | None:
        """The manifest of this digest, when the order's host's profile names it; None otherwise. Raises as ``plan``."""
        manifest = self.plan(cluster, order).closure
        return manifest.to_bytes() if manifest.digest == digest else None

    def profile_of(self, cluster: Cluster, name: str) -> tuple[Attributes, Compiled]:
        """A host's attributes and profile.

        Raises:
            UnknownHost: there is no such host.
            DefinitionError, ConfigError: as ``compiled``.
        """
        host = cluster.host(name)
        attributes = self.attributes(cluster, host)
        return attributes, self.compiled(cluster, cluster.appliance(host.appliance).root, attributes)
