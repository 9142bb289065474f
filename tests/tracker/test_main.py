"""``python -m tracker`` as an operator runs it."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.tracker.worlds import KEY, REGISTERED
from tracker.__main__ import main
from tracker.registry import write_registry

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "registry.jsonl").write_bytes(write_registry([REGISTERED]))
    (tmp_path / "swarm.key").touch(mode=0o600)
    (tmp_path / "swarm.key").write_text(KEY.hex())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = f'[tracker]\naddress = "127.0.0.1"\nport = {port}\nregistry = "registry.jsonl"\nswarm_key = "swarm.key"\n'
    (tmp_path / "tracker.toml").write_text(text)
    return tmp_path / "tracker.toml"


@pytest.fixture
async def process(config: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tracker", "--config", str(config), stderr=asyncio.subprocess.PIPE, cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    yield started
    if started.returncode is None:
        started.kill()
    await started.wait()


async def read_line(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async with asyncio.timeout(30):
        return (await process.stderr.readline()).decode()


async def test_it_says_when_it_is_ready_reads_its_registry_again_and_ends_on_a_signal(
    config: Path, process: asyncio.subprocess.Process
) -> None:
    assert "tracker ready address=127.0.0.1" in await read_line(process)
    (config.parent / "registry.jsonl").write_bytes(b"nonsense")
    assert "registry kept" in await read_line(process)
    (config.parent / "registry.jsonl").write_bytes(write_registry([]))
    assert "registry read again" in await read_line(process)
    process.terminate()
    assert "tracker stopped" in await read_line(process)
    assert await process.wait() == 0


def test_what_it_cannot_run_with_is_one_line_and_exit_1(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (config.parent / "swarm.key").chmod(0o644)
    assert main(["--config", str(config)]) == 1
    error = capsys.readouterr().err
    assert "chmod 0600" in error and error.count("\n") == 1


async def test_a_taken_address_is_one_line_and_exit_1(config: Path, process: asyncio.subprocess.Process) -> None:
    await read_line(process)
    second = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tracker", "--config", str(config), stderr=asyncio.subprocess.PIPE, cwd=ROOT
    )
    _, error = await second.communicate()
    assert second.returncode == 1
    assert error.decode().startswith("cannot listen on 127.0.0.1:")
