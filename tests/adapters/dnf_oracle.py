"""What the real dnf 4 would install. Runs under the system's Python, which has dnf: a line of JSON in, a line out.

A question is ``{"repository": DIRECTORY, "install": [...], "exclude": [...]}``, and perhaps with
``"enable": ["MODULE:STREAM"...]`` and ``"disable"``, asked as Anaconda asks (``Base.install_specs``); an answer is
``{"packages": [NEVRA...]}`` or ``{"error": TEXT}``.
"""

import json
import logging
import sys
import tempfile

import dnf
import dnf.exceptions
import dnf.repo
from dnf.module.module_base import ModuleBase

logging.getLogger("dnf").addHandler(logging.NullHandler())
logging.getLogger("dnf").propagate = False


def nevra(package):
    # str(package) leaves an epoch of 0 out.
    return f"{package.name}-{package.epoch}:{package.version}-{package.release}.{package.arch}"


def answer(question):
    with tempfile.TemporaryDirectory() as root, dnf.Base() as base:
        base.conf.installroot = root
        base.conf.cachedir = f"{root}/cache"
        base.conf.persistdir = f"{root}/persist"
        base.conf.logdir = root
        base.conf.releasever = "9"
        base.conf.reposdir = []
        base.conf.substitutions["arch"] = base.conf.substitutions["basearch"] = "x86_64"
        base.conf.install_weak_deps = False
        base.conf.best = True
        base.conf.module_platform_id = "platform:el9"
        repository = dnf.repo.Repo("av", base.conf)
        repository.baseurl = ["file://" + question["repository"]]
        base.repos.add(repository)
        base.fill_sack(load_system_repo=False)
        base.read_comps()
        try:
            # Asked for nothing, it would complain of defaults that contradict each other, where an install does not.
            if question.get("disable"):
                ModuleBase(base).disable(question["disable"])
            if question.get("enable"):
                ModuleBase(base).enable(question["enable"])
            base.install_specs(question["install"], question["exclude"])
            base.resolve()
        except (dnf.exceptions.MarkingErrors, dnf.exceptions.DepsolveError) as error:
            return {"error": str(error)}
        return {"packages": sorted(map(nevra, base.transaction.install_set))}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
