"""Stage 2: from the profile to the kickstart the installer reads, on the host itself (docs/protocol.md, section 3)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from avalanche.agent.events import Events
from avalanche.agent.frontend import Frontend
from avalanche.agent.judge import ask_judge
from avalanche.agent.rundir import RunDirectory
from avalanche.agent.scripts import run_pre_scripts
from avalanche.errors import AvalancheError, VerificationFailed
from avalanche.kickstart import pre_scripts, render
from avalanche.manifest import Manifest, parse_manifest
from avalanche.profile import Installation, parse_installation


class StageFailed(AvalancheError):
    """The install cannot go on.

    Args:
        stage: the protocol's name of where.
        error: why; the message is its line.
        secrets: values the line must not show: it travels to the installer's log and to the frontend's timeline.
    """

    def __init__(self, stage: str, error: AvalancheError, *, secrets: Iterable[str] = ()) -> None:
        line = str(error)
        for secret in filter(None, secrets):
            line = line.replace(secret, "***").replace(repr(secret)[1:-1], "***")
        super().__init__(line)
        self.stage = stage


@dataclass(frozen=True)
class Plan:
    """What the frontend wants on this host."""

    installation: Installation
    manifest: Manifest


async def fetch_plan(frontend: Frontend, events: Events) -> Plan:
    """Fetch profile and manifest.

    Raises:
        StageFailed: the frontend refuses the order, or sent something that cannot be understood.
    """
    try:
        installation = parse_installation(await frontend.profile())
        manifest = await _fetch_manifest(frontend, installation)
    except AvalancheError as error:
        raise StageFailed("profile", error) from error
    events.report("profile", "ok", f"{len(installation.profile.nodes)} nodes, {len(manifest.entries)} objects to load")
    return Plan(installation, manifest)


async def _fetch_manifest(frontend: Frontend, installation: Installation) -> Manifest:
    data = await frontend.manifest(installation.manifest)
    digest = hashlib.sha256(data).hexdigest()
    if digest != installation.manifest:
        raise VerificationFailed(
            f"the manifest has the SHA-256 {digest}, and the profile asks for {installation.manifest}", path="manifest"
        )
    manifest = parse_manifest(data)
    if manifest.generation != installation.generation:
        raise VerificationFailed(
            f"the manifest is of {manifest.generation}, and the profile of {installation.generation}", path="manifest"
        )
    return manifest


async def make_kickstart(installation: Installation, run: RunDirectory, events: Events) -> None:
    """Run the ``<pre>`` scripts, render the kickstart, let pykickstart judge it, and put it where the stub includes it.

    Raises:
        StageFailed: a script failed, or the kickstart cannot be rendered or was refused; then there is no kickstart.
    """
    profile, attributes = installation.profile, installation.attributes
    try:
        scripts = pre_scripts(profile, attributes)
        await run_pre_scripts(scripts, run)
    except AvalancheError as error:
        raise StageFailed("pre", error, secrets=attributes.secrets) from None
    if scripts:
        events.report("pre", "ok", f"{len(scripts)} scripts")
    unjudged = "ks.cfg.unjudged"
    try:
        run.write(unjudged, render(profile, attributes))
        await ask_judge(run.bundle, run.path / unjudged, profile.release)
    except AvalancheError as error:
        raise StageFailed("kickstart", error, secrets=attributes.secrets) from None
    (run.path / unjudged).replace(run.kickstart)
    events.report("kickstart", "ok", f"{run.kickstart.stat().st_size} bytes, accepted by pykickstart")
