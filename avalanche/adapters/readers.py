"""The programs that read service files, asked whether they can read what we wrote."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from avalanche.errors import ConfigError
from avalanche.report import HOSTS_FOLDER, REPORTS, Files
from avalanche.roster import Roster

SECONDS = 60.0


class ReportRefused(ConfigError):
    """A program refuses the file that a report made for it."""


def check(name: str, files: Files, roster: Roster) -> str:
    """Let the program that reads a report's files read them; returns its name.

    Args:
        files: what the report made of ``roster``.

    Raises:
        ReportRefused: it refuses them, or reads something else; says what it said.
        ConfigError: it is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="avalanche-check-") as folder:
        return _READERS[name](Path(folder), files, roster)


def _dnsmasq(folder: Path, files: Files, roster: Roster) -> str:
    # --test reads no folder of hosts, so their lines are tried as settings.
    lines = [text for path, text in files.items() if path.startswith(f"{HOSTS_FOLDER}/")]
    hosts = "".join(f"dhcp-host={line}\n" for text in lines for line in text.splitlines())
    path = _put(folder, "dnsmasq.conf", files["dnsmasq.conf"] + hosts)
    _run("dnsmasq", roster.dhcp.program, "--test", f"--conf-file={path}")
    return "dnsmasq"


def _dhcpd(folder: Path, files: Files, roster: Roster) -> str:
    path, leases = _put(folder, "dhcpd.conf", files["dhcpd.conf"]), _put(folder, "leases", "")
    program = _borrowed(folder, "dhcpd", "isc-dhcp-server")
    _run("dhcpd", program, "-4", "-t", "-cf", str(path), "-lf", str(leases), "-pf", str(folder / "pid"))
    return "dhcpd"


def _kea(folder: Path, files: Files, roster: Roster) -> str:
    path = _put(folder, "kea-dhcp4.conf", files["kea-dhcp4.conf"])
    program = _borrowed(folder, "kea-dhcp4", "kea-dhcp4-server")
    _run("kea-dhcp4", program, "-t", str(path), environment={"KEA_LOCKFILE_DIR": "none"})
    return "kea-dhcp4"


def _hosts(folder: Path, files: Files, roster: Roster) -> str:
    # The list that getent prints has IPv4 alone; the others are asked for one by one.
    sixth = "".join(f"{one.ip}\n" for one in roster.named if ":" in one.ip)
    script = "getent hosts && while read -r ip; do getent hosts $ip || true; done < /etc/sixth"
    said = _getent(folder, {"hosts": files["hosts"], "sixth": sixth}, script)
    read = {(words[0], name) for line in said.splitlines() if (words := line.split()) for name in words[1:]}
    for one in roster.named:
        for name in one.names:
            if (one.ip, name) not in read:
                raise ReportRefused(f"hosts: the C library does not read that {name} is {one.ip}")
    return "getent"


def _ethers(folder: Path, files: Files, roster: Roster) -> str:
    wanted = {name for _, name in (line.split() for line in files["ethers"].splitlines() if not line.startswith("#"))}
    script = 'while read -r name; do getent ethers "$name" || { echo "no $name" >&2; exit 2; }; done < /etc/names'
    said = _getent(folder, {"ethers": files["ethers"], "names": "".join(f"{n}\n" for n in sorted(wanted))}, script)
    read = {line.split()[1] for line in said.splitlines()}
    if read != wanted:
        raise ReportRefused(f"ethers: the C library does not find {', '.join(sorted(wanted - read))}")
    return "getent"


def _clustershell(folder: Path, files: Files, roster: Roster) -> str:
    (folder / "groups.d").mkdir()
    _put(folder / "groups.d", "avalanche.yaml", files["clustershell.yaml"])
    settings = _put(folder, "groups.conf", f"[Main]\ndefault: avalanche\nautodir: {folder}/groups.d\n")
    nodeset = [sys.executable, "-c", "import sys; from ClusterShell.CLI.Nodeset import main; sys.exit(main())"]
    said = _run("nodeset", *nodeset, "--groupsconf", str(settings), "-e", "-S", "\\n", "@*")
    read, wanted = set(said.split()), {host.name for host in roster.hosts}
    if read != wanted:
        raise ReportRefused(f"clustershell: nodeset reads {len(read)} hosts instead of {len(wanted)}")
    return "nodeset"


def _known_hosts(folder: Path, files: Files, roster: Roster) -> str:
    path = _put(folder, "known_hosts", files["known_hosts"])
    lines = [line for line in files["known_hosts"].splitlines() if line and not line.startswith("#")]
    if lines:
        said = _run("ssh-keygen", "ssh-keygen", "-l", "-f", str(path))
        if len(said.splitlines()) != len(lines):
            raise ReportRefused(f"known_hosts: ssh-keygen reads {len(said.splitlines())} keys instead of {len(lines)}")
    return "ssh-keygen"


def _getent(folder: Path, etc: Mapping[str, str], script: str) -> str:
    """Run a script where /etc holds these files alone; nobody else sees that."""
    # Read-only mounts of the machine go on being there; the name service is the files, whatever the machine uses.
    source = folder / "etc"
    source.mkdir(mode=0o755)
    for name, text in {**etc, "nsswitch.conf": "hosts: files\nethers: files\n"}.items():
        _put(source, name, text)
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    inside = f'mount --bind "$0" /etc && {script}'
    return _run("getent", "unshare", *user, "--mount", "sh", "-c", inside, str(source))


def _borrowed(folder: Path, program: str, package: str) -> str:
    """A copy of a program: at its own place, a security profile of the machine may keep it to files in /etc."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise ConfigError(f"{program} is not there to check its file; install {package}")
    return shutil.copy(found, str(folder / program))


def _put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def _run(name: str, program: str, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    command: Sequence[str] = [program, *arguments]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
            env={**os.environ, "LC_ALL": "C", **(environment or {})},
        )
    except FileNotFoundError:
        raise ConfigError(f"{program} is not there to check its file; install it") from None
    except subprocess.TimeoutExpired:
        raise ReportRefused(f"{name}: does not end within {SECONDS:g} seconds") from None
    if done.returncode:
        raise ReportRefused(f"{name} cannot read its file: {_reason(done.stderr or done.stdout)}")
    return done.stdout


def _reason(said: str) -> str:
    """What a person needs of what a program said: the lines before its farewell, without its banner."""
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    noise = ("Internet Systems", "Copyright", "All rights", "For info", "WARNING", "Configuration file errors")
    telling = [line for line in lines if not line.startswith(noise)]
    end = next((number for number, line in enumerate(telling) if line.startswith("If you think")), len(telling))
    return " | ".join(telling[:end][-3:]) or "it says nothing"


Reader = Callable[[Path, Files, Roster], str]
_READERS: Mapping[str, Reader] = {
    "dnsmasq": _dnsmasq,
    "dhcpd": _dhcpd,
    "kea": _kea,
    "hosts": _hosts,
    "ethers": _ethers,
    "clustershell": _clustershell,
    "known_hosts": _known_hosts,
}
assert _READERS.keys() == REPORTS.keys()
