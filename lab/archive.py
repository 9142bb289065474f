"""Where this machine's apt gets Debian from. The lab takes the same way, and knows no address of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from avalanche.errors import ConfigError
from lab.contained import dependent, run

SUITE = "bookworm"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_TARGETS = "$(ORIGIN)\t$(REPO_URI)\t$(RELEASE)\t$(COMPONENT)"
# How to reach the archive is the machine's knowledge too: proxies, certificates, snapshots without a valid date.
_OPTIONS = re.compile(r"^Acquire::(http|https|Check-|Retries|ForceIPv)", re.IGNORECASE)


def debian_sources(targets: Iterable[str], *, keyring: Path | None) -> str:
    """Return a ``sources.list`` with the Debian archive's own entries among apt's index targets, no other vendor's."""
    option = f"[signed-by={keyring}] " if keyring else ""
    lines = []
    for target in targets:
        origin, _, rest = target.partition("\t")
        address, release, component = rest.split("\t")
        # `bookworm`, `bookworm-updates`, `bookworm-security`; backports would change what gets installed.
        suite = re.split(r"[-/]", release)
        if (
            origin == "Debian"
            and suite[0] == SUITE
            and suite[-1] in (SUITE, "updates", "security")
            and component == "main"
        ):
            lines.append(f"deb {option}{address} {release} {component}\n")
    return "".join(dict.fromkeys(lines))


def sources_list() -> str:
    """Return the machine's Debian sources.

    Raises:
        ConfigError: apt has none for the suite.
    """
    keyring = _KEYRING if _KEYRING.exists() else None
    command = dependent("apt-get", "indextargets", "--format", _TARGETS, "Created-By: Packages")
    found = debian_sources(run(command).splitlines(), keyring=keyring)
    if not found:
        # The lists are often deleted from images; only with them apt knows whose archive it is.
        run(dependent("apt-get", "-qq", "update"))
        found = debian_sources(run(command).splitlines(), keyring=keyring)
    if f" {SUITE} main" not in found:
        raise ConfigError(
            f"apt on this machine has no source for Debian {SUITE} main: add it under /etc/apt/sources.list.d"
        )
    return found


def apt_options() -> list[str]:
    """Return the machine's apt settings that decide how the archive is reached, one ``Name "value";`` each."""
    dump = run(dependent("apt-config", "dump", "--no-empty", "--format", '%f "%v";%n'))
    return [line for line in dump.splitlines() if _OPTIONS.match(line)]
