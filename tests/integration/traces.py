"""What a run of the lab has left on the machine."""

from __future__ import annotations

from pathlib import Path


def processes_naming(folder: Path) -> list[str]:
    """Return the command lines of this machine's processes that name a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended meanwhile
        if str(folder) in line:
            found.append(line)
    return found


def listening(process: str, address: str) -> set[str]:
    """What listens in the network namespace of a process: ``proxy``, ``peer port``, or the address as it is."""
    try:
        lines = Path(f"/proc/{process}/net/tcp").read_text().splitlines()[1:]
        lines += Path(f"/proc/{process}/net/tcp6").read_text().splitlines()[1:]
    except OSError:
        return set()
    own = bytes(map(int, reversed(address.split(".")))).hex().upper()
    found = set()
    for place, port in (line.split()[1].split(":") for line in lines if line.split()[3] == "0A"):
        known = {("0100007F", "1B9E"): "proxy"}.get((place, port))
        found.add(known or ("peer port" if place == own else f"{place}:{port}"))
    return found
