"""The run directory ``/run/avalanche``: what the stub, the agent and ``done`` tell each other through files."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import secrets
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from avalanche.errors import AvalancheError, ConfigError, ProtocolError
from avalanche.places import AGENT

if TYPE_CHECKING:
    from avalanche.messages import Done, StubDocument

DEFAULT = Path(AGENT).parent
log = logging.getLogger(__name__)


class AlreadyRunning(AvalancheError):
    """Another agent works in this run directory; its files are not ours to touch."""


class RunDirectory:
    """Names and forms of the files in the run directory. Everything in it is for root alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bundle = path / "agent.pyz"
        self.log = path / "agent.log"
        self.socket = path / "agent.sock"
        self.kickstart = path / "ks.cfg"

    def __repr__(self) -> str:
        return f"<RunDirectory {self.path}>"

    def order(self) -> StubDocument:
        """Read what the stub left.

        Raises:
            ConfigError: there is no order here.
            ProtocolError: the document is not one.
        """
        from avalanche.messages import StubDocument  # stage 2 has no use for messages, and no time for them

        path = self.path / "order.json"
        try:
            return StubDocument.parse(path.read_bytes())
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error}); the stub kickstart writes it") from error

    def attempt(self) -> str:
        """The token of this boot's attempt: chosen once, then kept."""
        from avalanche.messages import TOKEN

        path = self.path / "attempt"
        if path.exists():
            token = path.read_text(encoding="ascii", errors="replace").strip()
            if TOKEN.fullmatch(token):
                return token
        token = secrets.token_hex(8)
        self.write("attempt", token + "\n")
        return token

    def sequence(self) -> int:
        """Number of the last event that may have been sent in this attempt; 0 when none was."""
        path = self.path / "sequence"
        text = path.read_text(encoding="ascii", errors="replace") if path.exists() else ""
        return int(text) if re.fullmatch(r"[0-9]{1,9}\n", text) else 0

    def keep_sequence(self, number: int) -> None:
        """Remember, before they are sent, that events up to ``number`` have their numbers."""
        self.write("sequence", f"{number}\n")

    def done(self) -> Optional[Done]:
        """The last ``done`` message that was made here, or None."""
        from avalanche.messages import Done

        try:
            return Done.parse((self.path / "done.json").read_bytes())
        except (FileNotFoundError, ProtocolError):
            return None

    def keep_done(self, message: Done) -> None:
        """Keep a ``done`` message, so that a repetition is the same message."""
        self.write("done.json", message.to_json())

    def keep_plan(self, row: Mapping[str, object], manifest: bytes) -> None:
        """Keep what an agent that is started again needs to know, so that it need not ask for it again."""
        self.write("manifest", manifest.decode("utf-8"))
        self.write("plan.json", json.dumps(row))

    def plan(self) -> tuple[dict[str, Any], bytes]:
        """What was kept.

        Raises:
            ConfigError: there is nothing, or it cannot be read.
        """
        path = self.path / "plan.json"
        try:
            row = json.loads(path.read_bytes())
            return dict(row), (self.path / "manifest").read_bytes()
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(f"{path}: cannot be read ({error}); an agent that was ready has written it") from error

    def is_kept(self) -> bool:
        """Is there a keeper, which would start a new agent?"""
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(self.path / "keeper.pid", os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True
            finally:
                os.close(descriptor)
        return False

    def end_keeper(self) -> None:
        """Tell the keeper, if there is one, to start no more agents, and to end the one it has."""
        if self.is_kept():
            with contextlib.suppress(OSError, ValueError):
                os.kill(int((self.path / "keeper.pid").read_text(encoding="ascii")), signal.SIGTERM)

    def is_held(self) -> bool:
        """Does a file ``hold`` ask for no prefetch?"""
        return (self.path / "hold").exists()

    def say_ready(self) -> None:
        """Tell the stub that the kickstart is there and the proxy listens."""
        self.write("ready", "ready\n")

    def say_failed(self, reason: str) -> None:
        """Tell the stub why there is no kickstart, or whoever looks why the agent ended. The first reason stays."""
        if not (self.path / "failed").exists():
            try:
                self.write("failed", " ".join(reason.split()) + "\n")
            except ConfigError as error:
                log.error("not said reason=%s", error)  # the end of the agent says that it failed

    def write(self, name: str, text: str) -> None:
        """Write a file whole or not at all, mode 0600.

        Raises:
            ConfigError: the disk is full or broken.
        """
        path = self.path / name
        new = self.path / f"{name}.new"
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            new.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink()
            raise ConfigError(f"{path}: cannot be written ({error.strerror}); make room in {self.path}") from error

    def lock(self) -> int:
        """Make sure that this process is the only agent here, until it ends.

        Returns:
            The descriptor that holds the lock; ``agent.pid`` names the process.

        Raises:
            AlreadyRunning: another agent is.
        """
        path = self.path / "agent.pid"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise AlreadyRunning(f"{path}: another agent runs here, process {holder}") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        return descriptor
