"""Stage 2 under the oldest installer's Python: from the start of the process to a judged kickstart.

Runs the bundle itself in the root that ``make floor`` makes of Python 3.9, with the profile of a compute host of the
base roll. The limit beside it is that interpreter's own start.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from avalanche.adapters.bundle import build_bundle
from avalanche.adapters.rolls import load_rolls
from avalanche.cluster import free_attributes
from avalanche.compiler import compile_profile
from avalanche.profile import installation_document
from lab.cache import Cache
from lab.contained import CommandFailed, tail

ROUNDS = 9
_TREE = Path(__file__).parents[2]
_ENTER = (
    'root=$1; shift; mount --bind "$1" "$root/src"; shift; '
    'mount -t tmpfs tmpfs "$root/tmp"; : > "$root/tmp/avalanche-disk.ks"; '
    'mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"; '
    'exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 PYTHONPATH=/opt/site "$@"'
)

# A small process between: a program begins with the peak memory of whoever started it.
_MEASURE = """
import resource, subprocess, sys, time
begin = time.monotonic()
status = subprocess.call(sys.argv[1:], stdout=2)
print(time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def run_stage2(cache: Cache) -> dict[str, float]:
    """Measure, print, and return the figures.

    Raises:
        CommandFailed: there is no root of Python 3.9 yet, or stage 2 fails.
    """
    root = max(cache.root.glob("python-3.9-*"), key=lambda folder: folder.stat().st_mtime, default=None)
    if root is None:
        raise CommandFailed(f"{cache.root} has no root of Python 3.9; make it: make floor")
    document = _document()
    with tempfile.TemporaryDirectory(prefix="avalanche-bench-") as folder:
        (Path(folder) / "agent.pyz").write_bytes(build_bundle().data)
        given = f"{len(document)}\n".encode() + document + b"\n"
        start = [_timed(root, folder, "python3", "-I", "-c", "pass") for _ in range(ROUNDS)]
        command = ("python3", "/src/agent.pyz", "stage2", "--run", "/src")
        stage2 = [_timed(root, folder, *command, given=given) for _ in range(ROUNDS)]
        size = (Path(folder) / "ks.cfg").stat().st_size
    figures = {
        "stage 2 under Python 3.9, start to kickstart (s)": statistics.median(seconds for seconds, _ in stage2),
        "  that interpreter's own start (s)": statistics.median(seconds for seconds, _ in start),
        "  resident memory of the larger of its two processes (MiB)": max(memory for _, memory in stage2),
        "  size of the profile (kB)": len(document) / 1000,
        "  size of the kickstart (kB)": size / 1000,
    }
    for name, value in figures.items():
        print(f"{name:60} {value:10.3f}")
    return figures


def _document() -> bytes:
    attributes = free_attributes("compute", "el9", {"hostname": "compute-0-0"})
    # Without the <pre> scripts, which look at disks and take a time of their own; what they write is empty here.
    body = replace(compile_profile(load_rolls((_TREE,)), "compute", attributes), pre=()).to_xml()
    return installation_document(
        host="compute-0-0", generation="0" * 64, manifest="0" * 64, plane="http", attributes=attributes, body=body
    )


def _timed(root: Path, folder: str, *command: str, given: bytes = b"") -> tuple[float, float]:
    """Run a command in the root; return its seconds, and the memory of its largest process in MiB."""
    enter = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-euc", _ENTER, "enter")
    with Path(folder, "errors").open("w+b") as errors:
        process = subprocess.Popen(
            (sys.executable, "-I", "-S", "-c", _MEASURE, *enter, str(root), folder, *command),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(given)
        process.stdin.flush()
        # Its input stays open: the end of it ends stage 2.
        measured = process.stdout.read().split()
        process.stdin.close()
        process.stdout.close()
        if process.wait():
            errors.seek(0)
            raise CommandFailed(f"{' '.join(command)}: {tail(errors.read().decode())}")
    return float(measured[0]), int(measured[1]) / 1024
