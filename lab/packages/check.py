"""Is the repository coherent? libsolv's answer."""

from __future__ import annotations

from pathlib import Path

import solv

from avalanche.errors import RepositoryError


def check_closed(repository: Path) -> int:
    """Check that all packages can be installed together, and return how many there are.

    Raises:
        RepositoryError: a requirement that nothing meets, or packages that exclude each other; the first few are named.
    """
    pool = solv.Pool()
    pool.setarch("x86_64")
    packages = pool.add_repo("lab")
    for primary in sorted((repository / "repodata").glob("*primary.xml*")):
        packages.add_rpmmd(solv.xfopen(str(primary)), None)
    # File lists: some requirements name files that are not in the primary data.
    for filelists in sorted((repository / "repodata").glob("*filelists.xml*")):
        packages.add_rpmmd(solv.xfopen(str(filelists)), "FL", solv.Repo.REPO_EXTEND_SOLVABLES)
    pool.addfileprovides()
    pool.createwhatprovides()
    problems = [f"{solvable} needs {need}" for solvable in packages.solvables for need in _unmet(pool, solvable)]
    if not problems:
        jobs = [
            pool.Job(solv.Job.SOLVER_INSTALL | solv.Job.SOLVER_SOLVABLE, solvable.id) for solvable in packages.solvables
        ]
        solver = pool.Solver()  # its problems do not keep it alive
        problems = [str(problem) for problem in solver.solve(jobs)]
    if problems:
        raise RepositoryError(
            f"the repository is not coherent: {len(problems)} problems, first: {'; '.join(problems[:3])}"
        )
    return int(packages.nsolvables)


def _unmet(pool: solv.Pool, solvable: solv.XSolvable) -> list[str]:
    needs = solvable.lookup_deparray(solv.SOLVABLE_REQUIRES)
    return [str(need) for need in needs if not str(need).startswith("rpmlib(") and not pool.whatprovides(need)]
