"""Closures: which packages of a generation a set of package requests brings along.

Wraps libsolv, and asks it what dnf 4 asks it with ``install_weak_deps=0`` and ``best=1`` (libdnf's goal, dnf's base.py
and comps.py), so that the frontend knows before a host starts what the host's dnf will install, or why it could not.
"""

from __future__ import annotations

import difflib
import fnmatch
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import solv

from avalanche.adapters.distributions import Generation
from avalanche.adapters.repodata import places
from avalanche.errors import RepositoryError, Unsatisfiable
from avalanche.manifest import Entry, Manifest
from avalanche.repository import Comps, Member, parse_comps
from avalanche.sections import PackageRequest

# dnf's default `installonlypkgs`: several versions of these may stand side by side.
_INSTALL_ONLY = (
    "kernel",
    "kernel-PAE",
    "installonlypkg(kernel)",
    "installonlypkg(kernel-module)",
    "installonlypkg(vm)",
    "multiversion(kernel)",
)
# What libdnf's goal sets, and IGNORE_RECOMMENDED for install_weak_deps=0.
_FLAGS = (
    solv.Solver.SOLVER_FLAG_ALLOW_VENDORCHANGE,
    solv.Solver.SOLVER_FLAG_KEEP_ORPHANS,
    solv.Solver.SOLVER_FLAG_BEST_OBEY_POLICY,
    solv.Solver.SOLVER_FLAG_YUM_OBSOLETES,
    solv.Solver.SOLVER_FLAG_IGNORE_RECOMMENDED,
)
_INSTALL = solv.Job.SOLVER_INSTALL | solv.Job.SOLVER_FORCEBEST
# How a request may name a package when it is not just a package's name, in the order in which dnf tries them.
_SELECTIONS = (
    solv.Selection.SELECTION_NAME | solv.Selection.SELECTION_CANON | solv.Selection.SELECTION_DOTARCH,
    solv.Selection.SELECTION_PROVIDES | solv.Selection.SELECTION_REL,
    solv.Selection.SELECTION_FILELIST,
)


@dataclass(frozen=True)
class Closure:
    """What a host fetches for a set of requests.

    Attributes:
        manifest: repository data and packages, in the generation's canonical order.
        absent: members of requested groups that the generation does not have; dnf passes over them, with a warning.
    """

    manifest: Manifest
    absent: tuple[str, ...] = ()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every object, in canonical order."""
        return self.manifest.entries

    @property
    def packages(self) -> tuple[Entry, ...]:
        """The packages among the objects, in canonical order."""
        return tuple(entry for entry in self.manifest.entries if entry.nevra is not None)


class Solver:
    """Solves requests against one generation. Any number of threads may call `solve`; they take turns.

    Args:
        generation: whose packages and groups are meant.
        arch: the hosts' architecture.

    Raises:
        RepositoryError: the generation's repository data cannot be read.
    """

    def __init__(self, generation: Generation, *, arch: str = "x86_64") -> None:
        self._generation = generation
        self._arch = arch
        self._lock = threading.Lock()
        self._pool, self._comps = _load(generation, arch)
        self._by_name: dict[str, list[int]] = {}
        for solvable in self._pool.solvables_iter():
            if solvable.installable():
                self._by_name.setdefault(solvable.name, []).append(solvable.id)
        self._everything = self._allowed(())
        self._obsoleters = self._find_obsoleters()

    def __repr__(self) -> str:
        return f"<Solver {self._generation.id} {sum(map(len, self._by_name.values()))} packages>"

    def solve(self, requests: Sequence[PackageRequest], excluded: Sequence[PackageRequest] = ()) -> Closure:
        """The closure of ``requests``, never with an ``excluded`` package.

        Args:
            requests: packages (name, pattern, ``name.arch``, capability or file) and, where ``meta`` is set, groups.
            excluded: packages (name or pattern), and groups that a requested group or environment is not to bring.

        Raises:
            Unsatisfiable: a request cannot be met; names what is missing, and the node file and line that asks.
        """
        with self._lock:
            allowed = self._allowed(excluded)
            jobs = _Jobs(self._pool)
            absent: list[str] = []
            for request in requests:
                if request.meta:
                    absent += self._ask_group(request, excluded, jobs, allowed)
                else:
                    self._ask_package(request, excluded, jobs, allowed)
            paths = self._install(jobs, excluded, allowed)
        manifest = self._generation.manifest
        chosen = tuple(entry for entry in manifest.entries if entry.nevra is None or entry.path in paths)
        return Closure(Manifest(manifest.generation, chosen), tuple(dict.fromkeys(absent)))

    def _allowed(self, excluded: Sequence[PackageRequest]) -> frozenset[int]:
        patterns = [request.name for request in excluded if not request.meta]
        return frozenset(
            solvable
            for name, solvables in self._by_name.items()
            if not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
            for solvable in solvables
        )

    def _ask_package(
        self, request: PackageRequest, excluded: Sequence[PackageRequest], jobs: _Jobs, allowed: frozenset[int]
    ) -> None:
        found = list(self._matches(request.name))
        if not found:
            raise self._unknown(request, "package", self._by_name)
        for matches in found:
            candidates = [solvable for solvable in matches if solvable in allowed]
            if candidates:
                jobs.install_one_of(candidates, request)
            elif len(found) == 1:
                raise _excluded(request, [self._pool.id2solvable(solvable).name for solvable in matches], excluded)

    def _matches(self, name: str) -> Iterator[list[int]]:
        """For each package that ``name`` asks for: what would do."""
        if name in self._by_name:
            yield self._with_obsoleters(self._by_name[name])
        elif any(wildcard in name for wildcard in "*?["):
            for known in fnmatch.filter(self._by_name, name):
                yield self._with_obsoleters(self._by_name[known])
        else:
            for flags in _SELECTIONS:
                solvables = [solvable.id for solvable in self._pool.select(name, flags).solvables()]
                if solvables:
                    yield solvables
                    return

    def _ask_group(
        self, request: PackageRequest, excluded: Sequence[PackageRequest], jobs: _Jobs, allowed: frozenset[int]
    ) -> Iterator[str]:
        """Ask for the members of a group; returns those that the generation does not have."""
        groups = self._comps.find(request.name)
        if groups is None:
            raise self._unknown(request, "group", self._comps.names)
        unwanted = {item.name for item in excluded if item.meta}
        members = {member: None for group in groups if group.id not in unwanted for member in group.installed}
        for member in members:
            candidates = [solvable for solvable in self._builds(member) if solvable in allowed]
            if not candidates:
                if not self._builds(member):
                    yield member.name
            elif member.requires:
                jobs.install_provider(f"({member.name} if {member.requires})", request)
            else:
                jobs.install_one_of(candidates, request)

    def _builds(self, member: Member) -> list[int]:
        builds = self._by_name.get(member.name, [])
        if member.is_basearch_only:
            builds = [solvable for solvable in builds if self._pool.id2solvable(solvable).arch == self._arch]
        return self._with_obsoleters(builds)

    def _with_obsoleters(self, solvables: Iterable[int]) -> list[int]:
        return sorted({other for solvable in solvables for other in (solvable, *self._obsoleters.get(solvable, ()))})

    def _find_obsoleters(self) -> dict[int, list[int]]:
        """Which packages replace which: dnf takes either for the old name."""
        obsoleters: dict[int, list[int]] = {}
        for solvable in self._pool.solvables_iter():
            for dependency in solvable.lookup_deparray(solv.SOLVABLE_OBSOLETES):
                name = str(dependency).split()[0]
                for old in self._pool.whatprovides(dependency):
                    if old.name == name and old.id != solvable.id:
                        obsoleters.setdefault(old.id, []).append(solvable.id)
        return obsoleters

    def _install(self, jobs: _Jobs, excluded: Sequence[PackageRequest], allowed: frozenset[int]) -> frozenset[str]:
        self._pool.set_considered_list(sorted(allowed))
        try:
            solver = self._pool.Solver()
            for flag in _FLAGS:
                solver.set_flag(flag, 1)
            problems = solver.solve(jobs.all)
            if problems:
                raise _unsatisfiable(problems, jobs, excluded)
            return frozenset(solvable.lookup_location()[0] for solvable in solver.transaction().newsolvables())
        finally:
            self._pool.set_considered_list(sorted(self._everything))

    def _unknown(self, request: PackageRequest, kind: str, known: Iterable[str]) -> Unsatisfiable:
        closest = difflib.get_close_matches(request.name.removeprefix("^"), tuple(known), n=3)
        hint = f"; closest: {', '.join(closest)}" if closest else ""
        message = f"{request.node} asks for {kind} {request.name}, which generation {self._generation.id} does not have"
        return Unsatisfiable(message + hint, file=request.file, line=request.line)


class _Jobs:
    """What the solver is asked, and whose wish each question is."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._askers: list[PackageRequest | None] = []
        self.all: list[Any] = []
        for name in _INSTALL_ONLY:
            how = solv.Job.SOLVER_MULTIVERSION | solv.Job.SOLVER_SOLVABLE_PROVIDES
            self._add(how, pool.str2id(name), None)

    def install_one_of(self, solvables: Sequence[int], request: PackageRequest) -> None:
        what = self._pool.towhatprovides(list(solvables))
        self._add(_INSTALL | solv.Job.SOLVER_SOLVABLE_ONE_OF, what, request)

    def install_provider(self, capability: str, request: PackageRequest) -> None:
        what = self._pool.parserpmrichdep(capability)
        self._add(_INSTALL | solv.Job.SOLVER_SOLVABLE_PROVIDES, what.id, request)

    def asker(self, position: int) -> PackageRequest | None:
        return self._askers[position]

    def _add(self, how: int, what: int, request: PackageRequest | None) -> None:
        self.all.append(self._pool.Job(how, what))
        self._askers.append(request)


def _load(generation: Generation, arch: str) -> tuple[Any, Comps]:
    pool = solv.Pool()
    pool.setdisttype(solv.Pool.DISTTYPE_RPM)
    pool.setarch(arch)
    # Excluded packages are hidden per question; the index of what provides what must know them all the same.
    pool.set_flag(solv.Pool.POOL_FLAG_WHATPROVIDESWITHDISABLED, 1)
    repository = pool.add_repo(generation.name)
    files = places(generation.path)
    for kind, flags in (("primary", 0), ("filelists", solv.Repo.REPO_EXTEND_SOLVABLES)):
        file = solv.xfopen(str(files[kind]))
        if file is None or not repository.add_rpmmd(file, None, flags):
            raise RepositoryError(f"{files[kind]} cannot be read: {pool.errstr}: import its folder again")
    pool.addfileprovides()
    pool.createwhatprovides()
    comps = parse_comps(files["group"].read_bytes(), file=str(files["group"])) if "group" in files else Comps()
    return pool, comps


def _unsatisfiable(problems: Sequence[Any], jobs: _Jobs, excluded: Sequence[PackageRequest]) -> Unsatisfiable:
    """The first problem, in words of the node file whose wish it is."""
    problem = problems[0]
    askers = [
        jobs.asker(element.jobidx)
        for solution in problem.solutions()
        for element in solution.elements()
        if element.type == solv.Solver.SOLVER_SOLUTION_JOB
    ]
    request = next(asker for asker in askers if asker is not None)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    message = f"{request.node} asks for {request.name}: {_reason(problem, excluded)}{more}"
    return Unsatisfiable(message, file=request.file, line=request.line)


def _reason(problem: Any, excluded: Sequence[PackageRequest]) -> str:
    """What is missing or in conflict, and who needs it, up to the package that was asked for."""
    infos = [info for rule in problem.findallproblemrules() for info in rule.allinfos()]
    for info in infos:
        if info.type == solv.Solver.SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP:
            return f"nothing provides {info.dep} needed by {info.solvable}{_chain(info.solvable, infos)}"
    for info in infos:
        culprit = _keeping_out([info.solvable.name], excluded) if info.solvable is not None else None
        if info.type == solv.Solver.SOLVER_RULE_PKG_NOT_INSTALLABLE and culprit is not None:
            return f"{culprit.file}:{culprit.line} keeps out {info.solvable}{_chain(info.solvable, infos)}"
    return str(problem.findproblemrule().info().problemstr())


def _chain(package: Any, infos: Sequence[Any]) -> str:
    """Who needs ``package``, who needs that one, and so on."""
    text = ""
    seen = {package.id}
    parents = [package]
    while parents:
        parents = [
            info.solvable
            for info in infos
            if info.type == solv.Solver.SOLVER_RULE_PKG_REQUIRES
            and info.solvable.id not in seen
            and parents[0].matchesdep(solv.SOLVABLE_PROVIDES, info.dep)
        ]
        if parents:
            seen.add(parents[0].id)
            text += f", needed by {parents[0]}"
    return text


def _keeping_out(names: Sequence[str], excluded: Sequence[PackageRequest]) -> PackageRequest | None:
    patterns = [request for request in excluded if not request.meta]
    return next((item for item in patterns if any(fnmatch.fnmatchcase(name, item.name) for name in names)), None)


def _excluded(request: PackageRequest, names: Sequence[str], excluded: Sequence[PackageRequest]) -> Unsatisfiable:
    culprit = _keeping_out(names, excluded)
    assert culprit is not None, "a package is only hidden by an exclusion"
    return Unsatisfiable(
        f"{request.node} asks for package {request.name}, which {culprit.file}:{culprit.line} keeps out",
        file=request.file,
        line=request.line,
    )
