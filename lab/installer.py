"""The mini installer: Anaconda's steps in Anaconda's order, without a screen and without disks.

Runs as first process of a lab host, inside the installer root, with that root's Python and pykickstart. In order: fetch
the kickstart as dracut does; parse it for ``%pre`` alone (a missing include is no error yet) and run those; parse the
whole; mount the target; ``%pre-install``; dnf; ``%post``; and ``%onerror`` when something fails. Left out: partitioning
and the boot loader, which only a machine with disks can prove. The lab adds one thing: a start barrier, the file
``hold`` (docs/protocol.md, section 2).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LAB = Path("/mnt/lab")
"""The host's own folder on the machine's disk: settings in, status, logs and result out."""
SYSROOT = Path("/mnt/sysroot")
HOLD = Path("/run/avalanche/hold")
KICKSTART = Path("/run/install/ks.cfg")
KEYS = ("RPM-GPG-KEY-avalanche", "RPM-GPG-KEY-packages")
_REBOOT_SECONDS = 10
_SHOWN = 4000  # characters of a script's output that a message may hold


class InstallFailed(Exception):
    """The installation cannot go on; the text is the reason."""


@dataclass
class Installation:
    """One run of the installer.

    Args:
        frontend: base URL of the frontend.
        interface: the network interface's name, and ``mac`` its address: what dracut sends.
        mode: ``install``, or ``download``: dnf installs nothing, and only the closing ``%post`` runs.
        release: pykickstart's name of the release.
        barrier_seconds: how long to wait for the lab's start.
    """

    frontend: str
    interface: str
    mac: str
    mode: str
    release: str = "RHEL9"
    barrier_seconds: float = 900.0
    times: dict[str, float] = field(default_factory=dict)
    scripts: list[Any] = field(default_factory=list)

    def run(self) -> None:
        """Install. Raises InstallFailed."""
        self.enter("stub")
        self.fetch()
        self.enter("pre")
        self.run_pre_scripts()
        self.enter("kickstart")
        handler = self.parse()
        self.enter("storage")
        mount_target()
        self.run_scripts("KS_SCRIPT_PREINSTALL")
        self.enter("waiting")
        self.wait_for_start()
        self.enter("packages")
        self.install_packages(handler)
        self.enter("post")
        self.run_post_scripts()
        self.enter("done")

    def enter(self, stage: str, detail: str = "") -> None:
        """Write down which stage begins."""
        self.times.setdefault(stage, time.time())
        put("status.json", {"stage": stage, "detail": detail, "at": time.time()})

    def fetch(self) -> None:
        KICKSTART.parent.mkdir(parents=True, exist_ok=True)
        header = f"X-RHN-Provisioning-MAC-0: {self.interface} {self.mac}"
        # As dracut's kickstart fetcher: three more tries, then the machine would stand still.
        retries = ("--location", "--retry", "3", "--retry-connrefused", "--fail-with-body", "--silent", "--show-error")
        url = f"{self.frontend}/install/stub"
        done = run_program(["curl", *retries, "--header", header, "--output", str(KICKSTART), url])
        if done.returncode:
            body = KICKSTART.read_text(errors="replace") if KICKSTART.exists() else ""
            raise InstallFailed(f"{url}: {done.stdout.strip()} {body.strip()}".strip())

    def run_pre_scripts(self) -> None:
        from pykickstart.parser import KickstartParser
        from pykickstart.version import makeVersion

        class PreParser(KickstartParser):  # type: ignore[misc]
            """Looks at ``%pre`` alone, as Anaconda's first pass."""

            def handleCommand(self, lineno: int, args: list[str]) -> None:
                pass

        parser = PreParser(makeVersion(self.release), missingIncludeIsFatal=False)
        with refused():
            parser.readKickstart(str(KICKSTART))
        self.scripts = parser.handler.scripts
        self.run_scripts("KS_SCRIPT_PRE")

    def parse(self) -> Any:
        from pykickstart.parser import KickstartParser
        from pykickstart.version import makeVersion

        handler = makeVersion(self.release)
        with refused():
            KickstartParser(handler).readKickstart(str(KICKSTART))
        self.scripts = handler.scripts
        return handler

    def run_scripts(self, kind: str) -> None:
        for script in self.scripts_of(kind):
            run_script(script)

    def scripts_of(self, kind: str) -> list[Any]:
        from pykickstart import constants

        return [script for script in self.scripts if script.type == getattr(constants, kind)]

    def run_post_scripts(self) -> None:
        # Not before: it is read-only in the lab, and RPM sets the mode of the folder.
        mount_inside("sys")
        scripts = self.scripts_of("KS_SCRIPT_POST")
        if self.mode == "download":
            # Nothing is installed that a script could change; the last one says to the frontend that we are done.
            scripts = [script for script in scripts[-1:] if not script.inChroot]
        for script in scripts:
            run_script(script)

    def run_error_scripts(self) -> None:
        """Run ``%onerror``; what fails there has no further consequence, as in Anaconda."""
        for script in self.scripts_of("KS_SCRIPT_ONERROR"):
            with contextlib.suppress(InstallFailed):
                run_script(script)

    def wait_for_start(self) -> None:
        deadline = time.monotonic() + self.barrier_seconds
        while HOLD.exists():
            if time.monotonic() > deadline:
                raise InstallFailed(f"the lab gave no start within {self.barrier_seconds:g} s")
            time.sleep(0.02)

    def install_packages(self, handler: Any) -> None:
        config = Path("/run/install/dnf.conf")
        config.write_text(dnf_config(handler))
        command = ["dnf", "-y", "--config", str(config), f"--installroot={SYSROOT}", "--releasever=9"]
        if self.mode == "download":
            command.append("--downloadonly")
        with (LAB / "dnf.log").open("w") as log:
            process = subprocess.Popen(
                [*command, "install", *requests(handler)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, errors="replace",
            )  # fmt: skip
            assert process.stdout is not None
            for line in process.stdout:
                log.write(line)
                counted = _COUNTED.search(line)
                if counted:
                    verb = "installed" if "Installing" in line else "fetched"
                    self.enter("packages", f"{counted['done']}/{counted['total']} {verb}")
        if process.wait():
            raise InstallFailed(f"dnf: exit {process.returncode}: {dnf_errors()}")


_COMPLAINT = re.compile(r"\berror\b|\bproblem\b|\bfailed\b|nothing provides|not correct", re.IGNORECASE)
_COMPLAINTS = 5
# `(12/408): bash-5.2.rpm ...` and `  Installing : bash-5.2.x86_64   12/408`.
_COUNTED = re.compile(r"^\s*(?:\(|Installing\s+:.*\s)(?P<done>\d+)/(?P<total>\d+)\)?")


def put(name: str, document: object) -> None:
    """Write a JSON file of the host's folder in one step."""
    new = LAB / f"{name}.new"
    new.write_text(json.dumps(document) + "\n")
    new.replace(LAB / name)


def run_program(command: list[str], *, root: str = "/") -> subprocess.CompletedProcess[str]:
    """Run a program as Anaconda does: output and errors into one pipe that is read until everybody has closed it."""
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", check=False, preexec_fn=(lambda: os.chroot(root)) if root != "/" else None, cwd="/",
    )  # fmt: skip


def run_script(script: Any) -> None:
    """Run one script section of the kickstart: its interpreter, its root, its log."""
    root = str(SYSROOT) if script.inChroot else "/"
    descriptor, path = tempfile.mkstemp(prefix="ks-script-", dir=os.path.join(root, "tmp"))  # noqa: PTH118 - `root` may be /
    with os.fdopen(descriptor, "w") as file:
        file.write(script.script)
    Path(path).chmod(0o700)
    done = run_program([*script.interp.split(), f"/tmp/{Path(path).name}"], root=root)
    log = Path(root + script.logfile) if script.logfile else LAB / "scripts.log"
    with log.open("a") as file:
        file.write(done.stdout)
    Path(path).unlink(missing_ok=True)
    if done.returncode and script.errorOnFail:
        said = done.stdout.strip()[-_SHOWN:]
        raise InstallFailed(f"script at line {script.lineno}: exit {done.returncode}: {said}")


@contextlib.contextmanager
def refused() -> Iterator[None]:
    """Turn pykickstart's refusal into our reason."""
    from pykickstart.errors import KickstartError

    try:
        yield
    except KickstartError as error:
        raise InstallFailed(f"pykickstart refuses the kickstart: {error}") from error


def mount_target() -> None:
    """Mount the host's install root, and what programs need inside it."""
    SYSROOT.mkdir(exist_ok=True)
    mount("--bind", str(LAB / "root"), str(SYSROOT))
    for name in ("proc", "dev", "run"):
        mount_inside(name)


def mount_inside(name: str) -> None:
    """Show one of the installer's own file systems inside the target."""
    (SYSROOT / name).mkdir(exist_ok=True)
    mount("--rbind", f"/{name}", str(SYSROOT / name))


def mount(*arguments: str) -> None:
    done = run_program(["mount", *arguments])
    if done.returncode:
        raise InstallFailed(done.stdout.strip())


def dnf_config(handler: Any) -> str:
    """Return dnf's configuration for the kickstart's ``url``: packages and repository data must be signed."""
    url = handler.url.url
    if not url:
        raise InstallFailed("the kickstart names no url to install from")
    base = url.rstrip("/")
    options = {
        "reposdir": "/none",
        "install_weak_deps": int(not handler.packages.excludeWeakdeps),
        "tsflags": "nodocs" if handler.packages.excludeDocs else "",
        **{name: value for name in ("timeout", "retries") if (value := getattr(handler.packages, name)) is not None},
        # The lab checks what dnf got against the manifest.
        "keepcache": 1,
        "plugins": 0,
    }
    repository = {
        "name": "avalanche",
        "baseurl": base,
        "gpgcheck": 1,
        "repo_gpgcheck": 1,
        "gpgkey": " ".join(f"{base}/{key}" for key in KEYS),
    }
    if handler.url.proxy:
        repository["proxy"] = handler.url.proxy
    return _section("main", options) + _section("avalanche", repository)


def _section(name: str, options: dict[str, Any]) -> str:
    return f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in options.items()) + "\n"


def requests(handler: Any) -> list[str]:
    """Return dnf's arguments for ``%packages``. Like Anaconda, ``@core`` comes along unless ``--nocore`` is given."""
    packages = handler.packages
    if packages.excludedGroupList:
        raise InstallFailed("the mini installer cannot leave out groups of %packages")
    groups = [group.name for group in packages.groupList]
    if not packages.nocore and "core" not in groups:
        groups.insert(0, "core")
    environment = [f"@^{packages.environment}"] if packages.environment else []
    excluded = [f"--exclude={name}" for name in packages.excludedList]
    return [*excluded, *environment, *(f"@{name}" for name in groups), *packages.packageList]


def dnf_errors() -> str:
    """Return what dnf complained about first, else its last line."""
    lines = [line.strip() for line in (LAB / "dnf.log").read_text().splitlines() if line.strip()]
    found = list(dict.fromkeys(line for line in lines if _COMPLAINT.search(line))) or lines[-1:]
    return " | ".join(found[:_COMPLAINTS])[:_SHOWN]


def end_others() -> None:
    """End what still runs, as the reboot does: everybody is asked first, and those who do not listen die with us."""
    deadline = time.monotonic() + _REBOOT_SECONDS
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGTERM)
    # The first process inherits every orphan.
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            os.waitpid(-1, os.WNOHANG)
            time.sleep(0.02)


def main() -> int:
    installation = Installation(**json.loads((LAB / "installer.json").read_text()))
    HOLD.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    HOLD.touch()
    problem = ""
    try:
        installation.run()
    except InstallFailed as error:
        problem = str(error)
        installation.run_error_scripts()
    # The kickstart that was used, for the lab to compare, and the agent's own words.
    for name in ("ks.cfg", "agent.log"):
        source = HOLD.with_name(name)
        if source.exists():
            (LAB / name).write_bytes(source.read_bytes())
    put("result.json", {"problem": problem, "times": installation.times, "ended": time.time()})
    end_others()
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
