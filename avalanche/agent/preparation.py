"""What happens before packages: profile, manifest, ``<pre>`` scripts and kickstart.

Most of it happens in another process, `avalanche.agent.stage2`; this is the other end.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from avalanche.agent.deadline import within
from avalanche.agent.events import Events
from avalanche.agent.frontend import Frontend
from avalanche.agent.rundir import RunDirectory
from avalanche.errors import AvalancheError, KickstartRefused, ProtocolError, VerificationFailed
from avalanche.manifest import Manifest, parse_manifest
from avalanche.membership import Membership

PLAN_SECONDS = 120.0
JUDGE_SECONDS = 120.0
"""So long rendering and judging may take once the last script has ended; scripts have their own bounds."""
END_SECONDS = 2.0
"""So long stage 2 has to end its scripts."""
LINE_BYTES = 1 << 20


class StageFailed(AvalancheError):
    """The install cannot go on; the message says why.

    Args:
        stage: the protocol's name of where.
    """

    def __init__(self, stage: str, reason: object) -> None:
        super().__init__(str(reason))
        self.stage = stage


@dataclass(frozen=True)
class Plan:
    """What the frontend wants on this host. ``membership`` is None when it fetches from the frontend alone."""

    manifest: Manifest
    membership: Optional[Membership]
    plane: str

    def to_row(self) -> dict[str, Any]:
        """The JSON object of everything but the manifest."""
        found = self.membership
        membership = found and {"trackers": found.trackers, "token": found.token, "peer_key": found.peer_key}
        return {"digest": self.manifest.digest, "membership": membership, "plane": self.plane}

    @classmethod
    def from_row(cls, row: Mapping[str, Any], manifest: bytes) -> Plan:
        """Read what was kept.

        Raises:
            ProtocolError: it is not what `to_row` wrote.
            VerificationFailed: the manifest is another one.
        """
        try:
            digest, found, plane = row["digest"], row["membership"], str(row["plane"])
            membership = found and Membership(tuple(found["trackers"]), found["token"], found["peer_key"])
        except (KeyError, TypeError) as error:
            raise ProtocolError(f"the plan that was kept cannot be read: {error!r}") from error
        if hashlib.sha256(manifest).hexdigest() != digest:
            raise VerificationFailed("the manifest that was kept is not the plan's", path="manifest")
        # What a client of a swarm had is on the disk, not in its memory; the relay plane takes it from there.
        return cls(parse_manifest(manifest), membership, "relay" if plane == "swarm" else plane)


class Preparation:
    """Stage 2 of one install, as an asynchronous context: its process ends with it."""

    def __init__(self, frontend: Frontend, run: RunDirectory, events: Events) -> None:
        self._frontend = frontend
        self._run = run
        self._events = events
        self._process: Optional[asyncio.subprocess.Process] = None

    def __repr__(self) -> str:
        return f"<Preparation {self._process}>"

    async def __aenter__(self) -> Preparation:
        # Before the profile is asked for: it needs some tenths of a second until it can read.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            str(self._run.bundle),
            "stage2",
            "--run",
            str(self._run.path),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
        )
        return self

    async def __aexit__(self, *reason: object) -> None:
        process = self._process
        assert process is not None and process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(asyncio.TimeoutError):
            await within(END_SECONDS, process.wait())
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def fetch_plan(self) -> Plan:
        """Fetch profile and manifest.

        Raises:
            StageFailed: the frontend refuses the order, or sent something that cannot be understood.
        """
        try:
            document = await self._frontend.profile()
            await self._write(b"%d\n" % len(document), document)
            row = (await self._read("plan", PLAN_SECONDS))["plan"]
            manifest = await self._fetch_manifest(row["manifest"], row["generation"])
        except StageFailed:
            raise
        except AvalancheError as error:
            raise StageFailed("profile", error) from error
        found = row["membership"]
        membership = found and Membership(tuple(found["trackers"]), found["token"], found["peer_key"])
        self._events.report("profile", "ok", f"{row['nodes']} nodes, {len(manifest.entries)} objects to load")
        return Plan(manifest, membership, row["plane"])

    async def make_kickstart(self) -> None:
        """Run the ``<pre>`` scripts, render the kickstart, have it judged, and put it where the stub includes it.

        Raises:
            StageFailed: a script failed, or the kickstart cannot be rendered or was refused; then there is none.
        """
        await self._write(b"go\n")
        scripts = (await self._read("pre", None))["pre"]
        if scripts:
            self._events.report("pre", "ok", f"{scripts} scripts")
        size = (await self._read("kickstart", JUDGE_SECONDS))["kickstart"]
        self._events.report("kickstart", "ok", f"{size} bytes, accepted by pykickstart")

    async def _fetch_manifest(self, wanted: str, generation: str) -> Manifest:
        data = await self._frontend.manifest(wanted)
        digest = hashlib.sha256(data).hexdigest()
        if digest != wanted:
            raise VerificationFailed(
                f"the manifest has the SHA-256 {digest}, and the profile asks for {wanted}", path="manifest"
            )
        manifest = parse_manifest(data)
        if manifest.generation != generation:
            raise VerificationFailed(
                f"the manifest is of {manifest.generation}, and the profile of {generation}", path="manifest"
            )
        return manifest

    async def _write(self, *data: bytes) -> None:
        assert self._process is not None and self._process.stdin is not None
        # If it has ended, what it says, or does not say, is better than a broken pipe.
        with contextlib.suppress(ConnectionError):
            self._process.stdin.writelines(data)
            await self._process.stdin.drain()

    async def _read(self, name: str, seconds: Optional[float]) -> dict[str, Any]:
        """The next line, which is about ``name``, the stage's name or nearly so."""
        assert self._process is not None and self._process.stdout is not None
        stage = "profile" if name == "plan" else name
        reading = self._process.stdout.readline()
        try:
            line = await (reading if seconds is None else within(seconds, reading))
        except asyncio.TimeoutError:
            raise StageFailed(stage, KickstartRefused(f"no answer of stage 2 within {seconds:g} s")) from None
        if not line:
            status = await self._process.wait()
            raise StageFailed(stage, f"stage 2 ended with status {status} and no word; see {self._run.log}")
        row: dict[str, Any] = json.loads(line)
        if "failed" in row:
            raise StageFailed(row["failed"], row["text"])
        assert name in row, row
        return row
