"""The evaluator: runs the evals of trusted rolls on this machine, and reads its files for them.

A program of a roll is run as nobody, with a bare environment, in a session of its own, which is killed when it ends or
takes too long; its processor time, memory, files and output are bounded. What it said is remembered by what it may
read, so that hosts that agree on that run it once.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from avalanche.adapters.files import TooLarge, read_bounded
from avalanche.effects import Evaluation, EvaluationFailed, distrust

INTERPRETERS = {"sh": "/bin/sh", "bash": "/bin/bash", "python": "/usr/bin/python3"}
NOBODY = 65534
REMEMBERED = 1024  # outputs
MAX_FILE = 1 << 20  # bytes of a file of the frontend
# A shell sets the limits and then becomes the interpreter: code between fork and exec is not for threads. Shells
# disagree about the letter for processes.
BOUNDED = """ulimit -c 0 && ulimit -t "$2" && ulimit -v "$3" && ulimit -f "$4" || exit 125
[ -z "$5" ] || ulimit -u "$5" 2> /dev/null || ulimit -p "$5" 2> /dev/null || exit 125
exec "$1"
"""
APPLETS = "include/applets"  # where the Python programs of a roll find its modules


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use: seconds on the clock and of a processor, bytes of memory, files and output, processes."""

    seconds: float = 10.0
    processor: int = 5
    memory: int = 512 << 20
    file: int = 1 << 20
    output: int = 1 << 20
    processes: int = 512


class Evaluator:
    """An ``Effects`` for the rolls that an administrator trusts.

    Args:
        trusted: names of rolls.
        folders: says where the rolls are, by name, for programs that use modules of their roll.
    """

    def __init__(
        self,
        trusted: Iterable[str],
        *,
        folders: Callable[[], Mapping[str, Path]] = dict,
        limits: Limits | None = None,
    ) -> None:
        self._trusted = frozenset(trusted)
        self._folders = folders
        self._limits = limits or Limits()
        self._said: OrderedDict[Evaluation, str] = OrderedDict()

    def evaluate(self, evaluation: Evaluation) -> str:
        """Run a program and return what it says.

        Raises:
            EvaluationFailed: its roll is not trusted; it cannot be run, fails, takes or says too much.
        """
        if evaluation.roll not in self._trusted:
            raise EvaluationFailed(distrust(evaluation.roll, "run programs"))
        found = self._said.get(evaluation)
        if found is None:
            found = self._said[evaluation] = self._run(evaluation)
            if len(self._said) > REMEMBERED:
                self._said.popitem(last=False)
        else:
            self._said.move_to_end(evaluation)
        return found

    def read(self, path: str, *, roll: str) -> bytes:
        """Return the content of a file of this machine.

        Raises:
            EvaluationFailed: the roll is not trusted; it is no file, too large, or cannot be read.
        """
        if roll not in self._trusted:
            raise EvaluationFailed(distrust(roll, f"read {path}"))
        try:
            return read_bounded(Path(path), MAX_FILE)
        except TooLarge as error:
            raise EvaluationFailed(f"{path} on the frontend cannot be read: {error}") from None
        except OSError as error:
            raise EvaluationFailed(f"{path} on the frontend cannot be read: {error.strerror}") from None

    def stamp(self, path: str) -> Hashable:
        """Return what changes when the file does."""
        try:
            status = Path(path).stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _run(self, evaluation: Evaluation) -> str:
        interpreter = INTERPRETERS.get(evaluation.shell, evaluation.shell)
        if not os.access(interpreter, os.X_OK):
            raise EvaluationFailed(f"the frontend has no {interpreter}; install it, or choose another shell=")
        environment = {
            **dict(evaluation.environment),
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", "LANG": "C.UTF-8",
        }  # fmt: skip
        folder = self._folders().get(evaluation.roll)
        if folder is not None:
            environment["PYTHONPATH"] = str(folder / APPLETS)
        limits = self._limits
        nobody = NOBODY if os.geteuid() == 0 else None
        bounds = [
            limits.processor,
            limits.memory // 1024,
            limits.file // 512,
            limits.processes if nobody else "",
        ]
        try:
            process = subprocess.Popen(
                ["/bin/sh", "-c", BOUNDED, "eval", interpreter, *map(str, bounds)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                cwd="/", env=environment, start_new_session=True, close_fds=True, user=nobody, group=nobody,
                extra_groups=None if nobody is None else [],
            )  # fmt: skip
        except OSError as error:
            raise EvaluationFailed(f"it cannot be started: {error.strerror}") from None
        with process:
            try:
                return _Conversation(process, evaluation.script.encode(), limits).result()
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


class _Conversation:
    """Hands a program its script, and gathers what it says until it ends."""

    def __init__(self, process: subprocess.Popen[bytes], script: bytes, limits: Limits) -> None:
        self._process = process
        self._rest = memoryview(script)
        self._limits = limits
        self._said = {"out": bytearray(), "err": bytearray()}

    def result(self) -> str:
        """Return what it said.

        Raises:
            EvaluationFailed: it failed, or used up the time or the output it may have.
        """
        deadline = time.monotonic() + self._limits.seconds
        with selectors.DefaultSelector() as selector:
            self._register(selector)
            while selector.get_map():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._too_long()
                # What it started may keep its output open: that it ended itself is looked at, too; before its output,
                # in which is then all that it said.
                has_ended = self._process.poll() is not None
                events = selector.select(0 if has_ended else min(left, 0.05))
                if not events and has_ended:
                    break
                for key, _ in events:
                    if not self._serve(key):
                        selector.unregister(key.fileobj)
        try:
            status = self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise self._too_long() from None
        if status:
            raise EvaluationFailed(_reason(status, bytes(self._said["err"])))
        try:
            return self._said["out"].decode()
        except UnicodeDecodeError:
            raise EvaluationFailed("it said something that is not UTF-8 text") from None

    def _register(self, selector: selectors.BaseSelector) -> None:
        process = self._process
        for stream, name in ((process.stdin, "in"), (process.stdout, "out"), (process.stderr, "err")):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_WRITE if name == "in" else selectors.EVENT_READ, name)

    def _serve(self, key: selectors.SelectorKey) -> bool:
        """Write or read what can be; say whether there may be more."""
        if key.data == "in":
            try:
                self._rest = self._rest[os.write(key.fd, self._rest[:65536]) :]
            except BrokenPipeError:
                self._rest = self._rest[:0]
            if not self._rest:
                assert self._process.stdin is not None
                self._process.stdin.close()
            return bool(self._rest)
        chunk = os.read(key.fd, 65536)
        said = self._said[key.data]
        said += chunk
        if len(said) > self._limits.output:
            raise EvaluationFailed(f"it said more than the {self._limits.output} bytes allowed")
        return bool(chunk)

    def _too_long(self) -> EvaluationFailed:
        return EvaluationFailed(f"it took longer than {self._limits.seconds:g} seconds")


def _reason(status: int, complaint: bytes) -> str:
    lines = complaint.decode(errors="replace").strip().splitlines()
    words = "".join(character if character.isprintable() else " " for character in lines[-1])[:300] if lines else ""
    how = f"it exited with status {status}" if status > 0 else f"it was killed by {signal.Signals(-status).name}"
    return f"{how}: {words}" if words else how
