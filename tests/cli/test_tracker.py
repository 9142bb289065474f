"""``avalanche tracker``, and what the frontend tells trackers."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path

import aiohttp

from avalanche.adapters.state import State
from avalanche.cli.tracker import TrackerRegistrar, make_registrar
from avalanche.manifest import Entry, Manifest, hash_stream
from avalanche.tokens import SwarmToken, sign_token
from tests.frontend.rig import run
from tracker.registry import parse_registry

GENERATION = "g-" + "5d" * 8


def manifest(*names: str) -> Manifest:
    return Manifest(GENERATION, tuple(Entry.of(hash_stream([name.encode()]), name) for name in names))


def test_a_closure_is_known_by_its_digest() -> None:
    registrar = TrackerRegistrar()
    whole, first, second = manifest("a", "b", "c"), manifest("a"), manifest("b", "c")
    for closure in (first, second, first):
        registrar.register(whole, closure)
    registered = registrar.registry.find(GENERATION)
    assert registered is not None
    assert registered.objects == {entry.sha256: 1 for entry in whole.entries}
    assert registered.closures == {
        closure.digest: {entry.sha256 for entry in closure.entries} for closure in (first, second)
    }
    registrar.retain(())
    assert registrar.registry.find(GENERATION) is None


def test_a_tracker_elsewhere_is_told_through_a_file(tmp_path: Path) -> None:
    file = tmp_path / "tracker" / "registry.jsonl"
    registrar = TrackerRegistrar(file)
    registrar.retain(())
    assert parse_registry(file.read_bytes(), file="registry") == []
    registrar.register(manifest("a", "b"), manifest("b"))
    (registered,) = parse_registry(file.read_bytes(), file="registry")
    assert registered == registrar.registry.find(GENERATION)


def test_settings_that_are_missing_are_named(tmp_path: Path) -> None:
    result = run("tracker", "--config", tmp_path / "tracker.toml")
    assert (result.status, result.err.count("\n")) == (1, 1)
    assert "tracker.toml: No such file or directory; write the tracker's settings there" in result.err


async def test_a_host_with_an_order_is_answered_by_a_tracker_of_its_own(state: State) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    run("host", "add", "compute-0-0", "--ip", "127.0.0.1", "--state", state.root)
    (order,) = json.loads(run("order", "create", "compute-0-0", "--json", "--state", state.root).out)
    text = state.config_file.read_text()
    state.config_file.write_text(f'[tracker]\nurls = ["http://127.0.0.1:{port}"]\n\n{text}')
    registrar = make_registrar(state, state.config())
    generation, closure = _registered(state, order["generation"])
    registrar.register(generation, closure)
    config = state.root / "tracker" / "tracker.toml"
    config.write_text(f'[tracker]\nport = {port}\nregistry = "registry.jsonl"\nswarm_key = "../swarm.key"\n')
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "avalanche", "tracker", "--config", str(config), stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        while b"tracker ready" not in await asyncio.wait_for(process.stderr.readline(), 30):
            pass
        token = SwarmToken(order["order"], "compute-0-0", "0", "127.0.0.1", order["generation"], 1 << 33)
        headers = {"Authorization": f"Bearer {sign_token(state.swarm_key(), token)}"}
        row = {"version": 1, "attempt": "0" * 16, "port": 4000, "state": "fetching", "received": 0}
        row["register"] = {"manifest": closure.digest}
        row["ask"] = [[closure.entries[0].sha256, closure.entries[0].size]]
        url = f"http://127.0.0.1:{port}/lookup"
        async with aiohttp.ClientSession() as session, session.post(url, json=row, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            found = await answer.json()
        assert [found["parents"][index] for index in found["give"]] == ["frontend"]
    finally:
        process.terminate()
        await process.wait()
    assert process.returncode == 0


def _registered(state: State, generation: str) -> tuple[Manifest, Manifest]:
    from avalanche.adapters.distributions import Distributions

    found = Distributions(state.root).open(generation).manifest
    return found, found
