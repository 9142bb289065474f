"""Closures: which packages of a generation a set of package requests brings along.

Wraps libsolv, and asks it what dnf 4 asks it with ``install_weak_deps=0`` and ``best=1`` (libdnf's goal, dnf's base.py
and comps.py), so that the frontend knows before a host starts what the host's dnf will install, or why it could not.
"""

from __future__ import annotations

import difflib
import fnmatch
import gzip
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import solv

from avalanche.adapters.distributions import Generation
from avalanche.adapters.repodata import places
from avalanche.errors import RepositoryError, Unsatisfiable
from avalanche.manifest import Entry, Manifest
from avalanche.modules import Build, ModuleRequest, Modules, parse_modules
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
# SETARCH: who asks for ``lib.i686`` may still get ``lib.x86_64`` for somebody else.
_INSTALL = solv.Job.SOLVER_INSTALL | solv.Job.SOLVER_FORCEBEST | solv.Job.SOLVER_SETARCH
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
        self._manifest = generation.manifest
        self._world = _load(generation, arch)
        self._lock = threading.Lock()
        self._seen: dict[tuple[ModuleRequest, ...], _World] = {(): self._world}

    def __repr__(self) -> str:
        return f"<Solver {self._manifest.generation} {len(self._world.builds)} packages>"

    def solve(
        self,
        requests: Sequence[PackageRequest],
        excluded: Sequence[PackageRequest] = (),
        modules: Sequence[ModuleRequest] = (),
    ) -> Closure:
        """The closure of ``requests``, never with an ``excluded`` package.

        Args:
            requests: packages (name, pattern, ``name.arch``, capability or file) and, where ``meta`` is set, groups.
            excluded: packages (name or pattern), and groups that a requested group or environment is not to bring.
            modules: whose streams are enabled or disabled.

        Raises:
            Unsatisfiable: a request cannot be met; names what is missing, and the node file and line that asks.
        """
        with self._lock:
            world = self._seen.get(tuple(modules))
            if world is None:
                world = self._seen[tuple(modules)] = self._world.with_modules(modules)
            question = _Question(world, excluded, self._manifest.generation)
            for request in requests:
                question.ask(request)
            paths = question.answer()
        chosen = tuple(entry for entry in self._manifest.entries if entry.nevra is None or entry.path in paths)
        return Closure(Manifest(self._manifest.generation, chosen), tuple(dict.fromkeys(question.absent)))


@dataclass(frozen=True)
class _World:
    """A generation as libsolv sees it; packages are libsolv's ids, here called builds.

    Attributes:
        builds: the builds of each name that can be installed on ``arch``.
        obsoleters: which builds replace a build: dnf takes either for the old name.
        streams: the builds of module streams that nobody enabled, which dnf hides, each with its stream's name.
    """

    pool: Any
    arch: str
    comps: Comps
    builds: dict[str, list[int]]
    obsoleters: dict[int, list[int]]
    repository: Any
    modules: Modules
    streams: dict[int, str] = field(default_factory=dict)

    def with_modules(self, requests: Sequence[ModuleRequest]) -> _World:
        """What dnf sees when streams are enabled or disabled.

        Raises:
            Unsatisfiable: there is no such module or stream.
        """
        known = {build.name for build in self.modules.builds}
        enabled: dict[str, str] = {}
        for request in requests:
            stream = request.stream or self.modules.defaults.get(request.module)
            if request.disable:
                continue
            if stream is None or f"{request.module}:{stream}" not in known:
                streams = sorted(name for name in known if name.partition(":")[0] == request.module)
                has = f"the generation has {', '.join(streams)}" if streams else "the generation has no such module"
                message = f"{request.node} enables module {request.module}, stream {stream or 'by default'}: {has}"
                raise Unsatisfiable(message, file=request.file, line=request.line)
            enabled[request.module] = stream
        disabled = {request.module for request in requests if request.disable}
        hidden = _hidden(self.pool, self.repository, self.modules, self.modules.shown(enabled, disabled))
        builds: dict[str, list[int]] = {}
        for solvable in self.repository.solvables_iter():
            if solvable.installable() and solvable.id not in hidden:
                builds.setdefault(solvable.name, []).append(solvable.id)
        return replace(self, builds=builds, streams={build: stream for build, stream in hidden.items() if stream})

    def except_for(self, patterns: Sequence[str]) -> frozenset[int]:
        """All builds but those whose name matches a pattern."""
        return frozenset(
            build
            for name, builds in self.builds.items()
            if not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
            for build in builds
        )

    def meant(self, name: str) -> Iterator[tuple[list[list[int]], bool]]:
        """What ``name`` may mean, in the order in which dnf tries.

        Yields:
            For each package, what would do; and whether what replaces it would do too.
        """
        yield ([self.builds[name]] if name in self.builds else []), True
        if any(wildcard in name for wildcard in "*?["):
            yield [self.builds[known] for known in fnmatch.filter(self.builds, name)], True
        for flags in _SELECTIONS:
            yield [[solvable.id for solvable in self.pool.select(name, flags).solvables()]], False

    def members(self, member: Member) -> list[int]:
        """The builds of a group's member."""
        builds = self.builds.get(member.name, [])
        if member.is_basearch_only:
            builds = [build for build in builds if self.pool.id2solvable(build).arch == self.arch]
        return builds


class _Question:
    """One question to the solver, and whose wish each part of it is."""

    def __init__(self, world: _World, excluded: Sequence[PackageRequest], generation: str) -> None:
        self._world = world
        self._excluded = [request for request in excluded if not request.meta]
        self._unwanted_groups = {request.name for request in excluded if request.meta}
        self._allowed = world.except_for([request.name for request in self._excluded])
        self._generation = generation
        self._jobs: list[Any] = []
        self._askers: list[tuple[PackageRequest, str] | None] = []
        self.absent: list[str] = []
        for name in _INSTALL_ONLY:
            how = solv.Job.SOLVER_MULTIVERSION | solv.Job.SOLVER_SOLVABLE_PROVIDES
            self._add(how, world.pool.str2id(name), None)

    def ask(self, request: PackageRequest) -> None:
        """Add what a node file asks for.

        Raises:
            Unsatisfiable: there is no such thing.
        """
        if request.meta:
            self._ask_group(request)
        else:
            self._ask_package(request)

    def answer(self) -> frozenset[str]:
        """The paths of the packages to install.

        Raises:
            Unsatisfiable: the question has no answer.
        """
        pool = self._world.pool
        pool.set_considered_list(sorted(self._allowed))
        try:
            solver = pool.Solver()
            for flag in _FLAGS:
                solver.set_flag(flag, 1)
            problems = solver.solve(self._jobs)
            if problems:
                raise self._unsatisfiable(problems)
            return frozenset(solvable.lookup_location()[0] for solvable in solver.transaction().newsolvables())
        finally:
            pool.set_considered_list(sorted(self._world.except_for(())))

    def _ask_package(self, request: PackageRequest) -> None:
        hidden: list[int] = []
        for meaning, is_replaceable in self._world.meant(request.name):
            candidates = [builds for builds in map(self._allowed.intersection, meaning) if builds]
            for builds in candidates:
                self._ask_one_of(self._with_obsoleters(builds) if is_replaceable else builds, request, request.name)
            if candidates:
                return
            hidden += [build for builds in meaning for build in builds]
        culprit = self._keeping_out(hidden)
        streams = sorted({self._world.streams[build] for build in hidden if build in self._world.streams})
        if culprit is None and streams:
            message = f"{request.node} asks for package {request.name}, which only module {' and '.join(streams)} has:"
            message += " it is no default stream, so dnf does not see it"
            raise Unsatisfiable(message, file=request.file, line=request.line)
        if culprit is None:
            raise self._unknown(request, "package", self._world.builds)
        message = f"{request.node} asks for package {request.name}, which {culprit.file}:{culprit.line} keeps out"
        raise Unsatisfiable(message, file=request.file, line=request.line)

    def _ask_group(self, request: PackageRequest) -> None:
        groups = self._world.comps.find(request.name)
        if groups is None:
            raise self._unknown(request, "group", self._world.comps.names)
        wanted = [group for group in groups if group.id not in self._unwanted_groups]
        for member in dict.fromkeys(member for group in wanted for member in group.installed):
            builds = self._world.members(member)
            allowed = self._allowed.intersection(builds)
            what = f"group {request.name} with {member.name}"
            if not builds:
                self.absent.append(member.name)
            elif not allowed:
                continue
            elif member.requires:
                which = self._world.pool.parserpmrichdep(f"({member.name} if {member.requires})").id
                self._add(_INSTALL | solv.Job.SOLVER_SOLVABLE_PROVIDES, which, (request, what))
            else:
                self._ask_one_of(self._with_obsoleters(allowed), request, what)

    def _with_obsoleters(self, builds: frozenset[int]) -> frozenset[int]:
        obsoleters = (self._world.obsoleters.get(build, ()) for build in builds)
        return builds.union(*(self._allowed.intersection(others) for others in obsoleters))

    def _ask_one_of(self, builds: frozenset[int], request: PackageRequest, what: str) -> None:
        which = self._world.pool.towhatprovides(sorted(builds))
        self._add(_INSTALL | solv.Job.SOLVER_SOLVABLE_ONE_OF, which, (request, what))

    def _add(self, how: int, which: int, asker: tuple[PackageRequest, str] | None) -> None:
        self._jobs.append(self._world.pool.Job(how, which))
        self._askers.append(asker)

    def _unknown(self, request: PackageRequest, kind: str, known: Iterable[str]) -> Unsatisfiable:
        closest = difflib.get_close_matches(request.name.removeprefix("^"), tuple(known), n=3)
        hint = f"; closest: {', '.join(closest)}" if closest else ""
        message = f"{request.node} asks for {kind} {request.name}, which generation {self._generation} does not have"
        return Unsatisfiable(message + hint, file=request.file, line=request.line)

    def _unsatisfiable(self, problems: Sequence[Any]) -> Unsatisfiable:
        """The first problem, in words of the node file whose wish it is."""
        problem = problems[0]
        askers = [
            self._askers[element.jobidx]
            for solution in problem.solutions()
            for element in solution.elements()
            if element.type == solv.Solver.SOLVER_SOLUTION_JOB
        ]
        request, what = next(asker for asker in askers if asker is not None)
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        message = f"{request.node} asks for {what}: {self._reason(problem)}{more}"
        return Unsatisfiable(message, file=request.file, line=request.line)

    def _reason(self, problem: Any) -> str:
        """What is missing or in conflict, and who needs it, up to the package that was asked for."""
        infos = [info for rule in problem.findallproblemrules() for info in rule.allinfos()]
        for info in infos:
            if info.type == solv.Solver.SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP:
                return f"nothing provides {info.dep} needed by {info.solvable}{_chain(info.solvable, infos)}"
        for info in infos:
            if info.type == solv.Solver.SOLVER_RULE_PKG_NOT_INSTALLABLE:
                culprit = self._keeping_out([info.solvable.id])
                if culprit is not None:
                    return f"{culprit.file}:{culprit.line} keeps out {info.solvable}{_chain(info.solvable, infos)}"
        return str(problem.findproblemrule().info().problemstr())

    def _keeping_out(self, builds: Iterable[int]) -> PackageRequest | None:
        """The exclusion that hides one of ``builds``."""
        names = {self._world.pool.id2solvable(build).name for build in builds}
        matches = (item for item in self._excluded if any(fnmatch.fnmatchcase(name, item.name) for name in names))
        return next(matches, None)


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


def _load(generation: Generation, arch: str) -> _World:
    files = places(generation.path)
    pool = solv.Pool()
    pool.setdisttype(solv.Pool.DISTTYPE_RPM)
    pool.setarch(arch)
    # Excluded packages are hidden per question; the index of what provides what must know them all the same.
    pool.set_flag(solv.Pool.POOL_FLAG_WHATPROVIDESWITHDISABLED, 1)
    # As the libsolv of distributions with dnf is built: builds for two architectures may stand side by side.
    pool.set_flag(solv.Pool.POOL_FLAG_IMPLICITOBSOLETEUSESCOLORS, 1)
    repository = pool.add_repo(generation.name)
    for kind, flags in (("primary", 0), ("filelists", solv.Repo.REPO_EXTEND_SOLVABLES)):
        file = solv.xfopen(str(files[kind]))
        if file is None or not repository.add_rpmmd(file, None, flags):
            reason = " ".join(pool.errstr.split())
            raise RepositoryError(f"{files[kind]} cannot be read: {reason}: import its folder again")
    pool.addfileprovides()
    pool.createwhatprovides()
    comps = parse_comps(files["group"].read_bytes(), file=str(files["group"])) if "group" in files else Comps()
    file = files.get("modules")
    modules = parse_modules(_unpacked(file), file=str(file)) if file is not None else Modules()
    return _World(pool, arch, comps, {}, _obsoleters(pool, repository), repository, modules).with_modules(())


def _unpacked(file: Path) -> bytes:
    try:
        return gzip.decompress(file.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise RepositoryError(f"{file} cannot be read: {error}: import its folder again") from error


def _hidden(pool: Any, repository: Any, modules: Modules, shown: Iterable[Build]) -> dict[int, str]:
    """What dnf hides, as libdnf's setModuleExcludes does: builds of streams that are not shown, each with its stream's
    name; and whatever else goes by the name of a package of a stream that is shown ("").
    """
    seen = {nevra for build in shown for nevra in build.packages}
    streams = {nevra: build.name for build in modules.builds for nevra in build.packages if nevra not in seen}
    found: dict[int, str] = {}
    for solvable in repository.solvables_iter() if modules.builds else ():
        nevra = _nevra(solvable)
        if nevra in streams:
            found[solvable.id] = streams[nevra]
    # What a source package is called is nobody's name.
    binary = (nevra for nevra in seen if nevra.rpartition(".")[2] not in ("src", "nosrc"))
    for name in {nevra.rsplit("-", 2)[0] for nevra in binary}:
        for solvable in pool.whatprovides(pool.str2id(name)):
            if _nevra(solvable) not in seen:
                found.setdefault(solvable.id, "")
    return found


def _nevra(solvable: Any) -> str:
    evr = solvable.evr if ":" in solvable.evr else f"0:{solvable.evr}"
    return f"{solvable.name}-{evr}.{solvable.arch}"


def _obsoleters(pool: Any, repository: Any) -> dict[int, list[int]]:
    obsoleters: dict[int, list[int]] = {}
    for solvable in repository.solvables_iter():
        for dependency in solvable.lookup_deparray(solv.SOLVABLE_OBSOLETES):
            name = str(dependency).split()[0]
            for old in pool.whatprovides(dependency):
                if old.name == name and old.id != solvable.id:
                    obsoleters.setdefault(old.id, []).append(solvable.id)
    return obsoleters
