"""libtorrent, fetched when an order says so: the agent's second object, pinned by its hash as the bundle is.

docs/protocol.md, section 13.2.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import re
import shutil
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from avalanche.agent.connection import Address, Request, Sink
from avalanche.agent.frontend import Frontend
from avalanche.agent.pool import Pool
from avalanche.errors import (
    AvalancheError,
    ConfigError,
    ProtocolError,
    SourceUnavailable,
    TransferError,
    VerificationFailed,
)
from avalanche.pieces import Library

MAXIMUM_UNPACKED = 128 << 20
TRIES = 5
_MEMBER = re.compile(r"libtorrent/__init__\.[A-Za-z0-9_.-]+\.so")


class _File(Sink):
    """Writes what comes into a file and hashes it."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size
        self._room = memoryview(bytearray(65536))
        self.hash = hashlib.sha256()

    def buffer(self) -> memoryview:
        return self._room

    def received(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise ProtocolError("libtorrent: more bytes than the frontend said")
        self.hash.update(self._room[:count])
        self._file.write(self._room[:count])


async def provide_library(frontend: Frontend, http: Sequence[Address], folder: Path) -> None:
    """Fetch libtorrent for this Python and import it; nothing is left on the disk.

    Args:
        http: the frontends that serve it.
        folder: where it is for a moment; removed.

    Raises:
        ConfigError: the frontend has none for this host, or it cannot be imported here; says how to provide one.
        AvalancheError: it cannot be fetched.
    """
    if "libtorrent" in sys.modules:
        return
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    words = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
    data, reason = await frontend.library(python, platform.machine(), words[-1] if words else "")
    if data is None:
        raise ConfigError(reason)
    found = Library.parse(data)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(mode=0o700, parents=True)
        await _fetch(http, found.sha256, found.size, folder / "libtorrent.zip")
        # 26 MB to unpack: the agent's other work goes on meanwhile.
        await asyncio.get_running_loop().run_in_executor(None, _unpack, folder)
        _import(folder)
    except OSError as error:
        raise ConfigError(f"{folder}: libtorrent cannot be unpacked: {error.strerror}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _fetch(http: Sequence[Address], sha256: str, size: int, path: Path) -> None:
    pool = Pool()
    problem: AvalancheError = SourceUnavailable("libtorrent: no frontend")
    try:
        for number in range(TRIES * len(http)):
            try:
                await _fetch_from(pool, http[number % len(http)], sha256, size, path)
                return
            except (TransferError, ProtocolError, VerificationFailed) as error:
                problem = error
                await asyncio.sleep(0.2 * number)
        raise problem
    finally:
        pool.close()


async def _fetch_from(pool: Pool, address: Address, sha256: str, size: int, path: Path) -> None:
    exchange = await pool.begin(address, Request("GET", f"/install/libtorrent/{sha256}"))
    try:
        head = exchange.head
        if head.status != 200:
            raise SourceUnavailable(f"{address}: libtorrent: status {head.status}", retry_after=head.retry_after)
        with path.open("wb") as file:
            sink = _File(file, size)
            await exchange.receive(sink)
    finally:
        pool.give_back(exchange)
    if sink.hash.hexdigest() != sha256:
        raise VerificationFailed(f"{address}: libtorrent has another SHA-256 than the frontend said", path=path.name)


def _unpack(folder: Path) -> None:
    archive = folder / "libtorrent.zip"
    try:
        with zipfile.ZipFile(archive) as wheel:
            found = [info for info in wheel.infolist() if _MEMBER.fullmatch(info.filename)]
            if len(found) != 1 or found[0].file_size > MAXIMUM_UNPACKED:
                raise ConfigError(
                    "the frontend's libtorrent is no wheel of it: one libtorrent/__init__.*.so belongs in it"
                )
            wheel.extract(found[0], folder)
    except zipfile.BadZipFile as error:
        raise ConfigError(f"the frontend's libtorrent is no wheel: {error}") from None
    archive.unlink()


def _import(folder: Path) -> None:
    from avalanche.agent.client import import_libtorrent

    sys.path.insert(0, str(folder))
    try:
        import_libtorrent()
    except ImportError as error:
        raise ConfigError(f"the frontend's libtorrent cannot be imported here: {error}") from error
    finally:
        sys.path.remove(str(folder))
