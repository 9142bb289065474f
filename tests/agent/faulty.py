"""A frontend for tests that speaks docs/protocol.md and can be told to do it badly.

Standard library only. In a test it runs in the loop of the test; ``python -m tests.agent.faulty DIR HTTP HTTPS`` runs
it as a process that can be stopped and killed.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import hashlib
import json
import ssl
import subprocess
import sys
import urllib.parse
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable, Optional

from avalanche.manifest import Entry, Manifest, hash_stream
from avalanche.membership import Membership
from avalanche.messages import StubDocument

GENERATION = "g-0123456789abcdef"
ORDER = "0f1e2d3c4b5a6978"
SECRET = "q3v0cZb8m7w5Yk2hJf6sTnR1xLd4pGa9uEoViCyBQzM"


CA = """
[ca]
default_ca = default
[default]
certificate = ca.pem
private_key = ca.key
database = index
serial = serial
new_certs_dir = .
default_md = sha256
policy = policy
[policy]
commonName = supplied
"""


class Certificates:
    """A CA and a certificate for 127.0.0.1, made by openssl in ``folder``; it ends in ``days`` from now, or did."""

    def __init__(self, folder: Path, *, days: int = 2) -> None:
        self.folder = folder
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        self._openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=CA", "-days", "2")
        self._openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=frontend")
        (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
        (folder / "index").touch()
        (folder / "ca.cnf").write_text(CA)
        # `openssl ca` alone takes dates in the past, in every release.
        now = datetime.now(timezone.utc)
        dates = [f"{now + timedelta(days=day):%Y%m%d%H%M%SZ}" for day in (-2, days)]
        sign = ["-config", "ca.cnf", "-extfile", "names", "-startdate", dates[0], "-enddate", dates[1]]
        self._openssl("ca", "-batch", "-create_serial", "-notext", *sign, "-in", "server.csr", "-out", "server.pem")
        self.ca = (folder / "ca.pem").read_text()

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        return context


class Generation:
    """Objects and their manifest."""

    def __init__(self, objects: dict[str, bytes], *, closure: Optional[list[str]] = None) -> None:
        self.objects = objects
        self.entries = {
            path: Entry.of(hash_stream([data]), path, _nevra(number) if path.endswith(".rpm") else None)
            for number, (path, data) in enumerate(objects.items())
        }
        names = list(objects) if closure is None else closure
        self.manifest = Manifest(GENERATION, tuple(self.entries[name] for name in names))


def _nevra(number: int) -> str:
    return f"package{number}-0:1-1.noarch"


class Fault:
    """What goes wrong with one answer.

    ``status`` with ``retry_after`` answers with that; ``flip`` corrupts the byte at this offset of the object;
    ``cut`` ends the connection after so many bytes of the body; ``stall`` stops there for ever; ``length`` announces
    that many bytes too many; ``chunk`` and ``pause`` send slowly.
    """

    def __init__(
        self,
        *,
        status: int = 200,
        retry_after: Optional[str] = None,
        flip: Optional[int] = None,
        cut: Optional[int] = None,
        stall: Optional[int] = None,
        length: int = 0,
        chunk: int = 1 << 20,
        pause: float = 0.0,
    ) -> None:
        self.status = status
        self.retry_after = retry_after
        self.flip = flip
        self.cut = cut
        self.stall = stall
        self.length = length
        self.chunk = chunk
        self.pause = pause


class FaultyFrontend:
    """Serves one generation and one order, on 127.0.0.1."""

    def __init__(self, certificates: Certificates, generation: Generation, *, bundle: bytes = b"") -> None:
        self.certificates = certificates
        self.generation = generation
        self.bundle = bundle
        self.installation = b""
        self.faults: dict[str, collections.deque[Fault]] = collections.defaultdict(collections.deque)
        """Faults of a path, used up one per request; the path is an object's, or the target of another request."""
        self.always: dict[str, Fault] = {}
        """The fault of a path once its queue is empty; ``*`` is any object."""
        self.extra: dict[str, Callable[[bytes], tuple[int, bytes]]] = {}
        """What a test answers itself: paths to what makes status and body of a request's body."""
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.events: list[dict[str, Any]] = []
        self.done: list[dict[str, Any]] = []
        self.open_objects = 0
        self.gate: Optional[asyncio.Event] = None
        """When set, objects wait for it after their head."""
        self.http = 0
        self.https = 0
        self._servers: list[asyncio.AbstractServer] = []
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, http: int = 0, https: int = 0) -> None:
        plain = await asyncio.start_server(self._serve, "127.0.0.1", http or self.http)
        secure = await asyncio.start_server(
            self._serve, "127.0.0.1", https or self.https, ssl=self.certificates.context()
        )
        self._servers = [plain, secure]
        self.http, self.https = (server.sockets[0].getsockname()[1] for server in self._servers)

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        self._servers = []
        await asyncio.sleep(0.01)

    def document(self) -> StubDocument:
        return StubDocument(
            host="compute-0-0",
            order=ORDER,
            secret=SECRET,
            http=(f"http://127.0.0.1:{self.http}",),
            https=(f"https://127.0.0.1:{self.https}",),
            bundle=hashlib.sha256(self.bundle).hexdigest(),
            ca=self.certificates.ca,
        )

    def outcomes(self, stage: str) -> list[tuple[str, str]]:
        return [(event["status"], event["text"]) for event in self.events if event["stage"] == stage]

    def asked(self, path: str) -> list[dict[str, str]]:
        """The headers of every request for an object."""
        target = f"/install/packages/{GENERATION}/{path}"
        return [headers for _, asked, headers in self.requests if urllib.parse.unquote(asked) == target]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, _ = head[0].split(" ")
                fields = dict(line.split(": ", 1) for line in head[1:] if line)
                headers = {name.lower(): value for name, value in fields.items()}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.requests.append((method, target, headers))
                if not await self._answer(writer, method, target, headers, body):
                    return
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(Exception):
                await writer.wait_closed()

    async def _answer(
        self, writer: asyncio.StreamWriter, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> bool:
        parts = urllib.parse.urlsplit(target)
        prefix = f"/install/packages/{GENERATION}/"
        if parts.path.startswith(prefix):
            path = urllib.parse.unquote(parts.path[len(prefix) :])
            return await self._object(writer, path, headers)
        faults = self.faults[parts.path]
        fault = faults.popleft() if faults else self.always.get(parts.path)
        if fault is not None:
            extra = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
            return await _send(writer, fault.status, b"told to fail\n", extra)
        if parts.path in self.extra:
            return await _send(writer, *self.extra[parts.path](body))
        if parts.path == f"/install/bundle/{hashlib.sha256(self.bundle).hexdigest()}":
            return await _send(writer, 200, self.bundle)
        if headers.get("authorization") != f"Bearer {ORDER}.{SECRET}":
            return await _send(writer, 403, b"this order is not live\n")
        return await self._private(writer, parts, body)

    async def _private(self, writer: asyncio.StreamWriter, parts: urllib.parse.SplitResult, body: bytes) -> bool:
        if parts.path == "/install/profile":
            return await _send(writer, 200, self.installation)
        if parts.path == f"/install/manifest/{self.generation.manifest.digest}":
            return await _send(writer, 200, self.generation.manifest.to_bytes())
        if parts.path == "/install/object":
            path = urllib.parse.parse_qs(parts.query)["path"][0]
            entry = self.generation.entries.get(path)
            if entry is None:
                return await _send(writer, 404, b"not in this generation\n")
            return await _send(writer, 200, Manifest(GENERATION, (entry,)).to_bytes())
        if parts.path == "/install/events":
            known = {event["seq"] for event in self.events}
            self.events += [event for event in json.loads(body)["events"] if event["seq"] not in known]
            return await _send(writer, 204, b"")
        if parts.path == "/install/done":
            self.done.append(json.loads(body))
            return await _send(writer, 204, b"")
        return await _send(writer, 404, b"no such address\n")

    async def _object(self, writer: asyncio.StreamWriter, path: str, headers: dict[str, str]) -> bool:
        queue = self.faults[path]
        fault = queue.popleft() if queue else self.always.get(path) or self.always.get("*") or Fault()
        data = self.generation.objects.get(path)
        if data is None:
            return await _send(writer, 404, b"not in this generation\n")
        if fault.status != 200:
            extra = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
            return await _send(writer, fault.status, b"told to fail\n", extra)
        self.open_objects += 1
        try:
            return await self._body(writer, data, fault, headers.get("range"))
        finally:
            self.open_objects -= 1

    async def _body(self, writer: asyncio.StreamWriter, data: bytes, fault: Fault, wanted: Optional[str]) -> bool:
        offset = 0 if wanted is None else int(wanted.partition("=")[2].rstrip("-"))
        size = len(data)
        if fault.flip is not None:
            data = data[: fault.flip] + bytes([data[fault.flip] ^ 1]) + data[fault.flip + 1 :]
        status = "200 OK" if wanted is None else "206 Partial Content"
        head = f"HTTP/1.1 {status}\r\nContent-Length: {size - offset + fault.length}\r\n"
        if wanted is not None:
            head += f"Content-Range: bytes {offset}-{size - 1}/{size}\r\n"
        writer.write(head.encode() + b"\r\n")
        if self.gate is not None:
            await writer.drain()
            await self.gate.wait()
        stop = min(size, *(offset + end for end in (fault.cut, fault.stall) if end is not None), size)
        for start in range(offset, stop, fault.chunk):
            writer.write(data[start : min(stop, start + fault.chunk)])
            await writer.drain()
            await asyncio.sleep(fault.pause)
        if fault.stall is not None:
            await asyncio.sleep(3600)
        return stop == size and fault.cut is None


async def _send(writer: asyncio.StreamWriter, status: int, body: bytes, extra: Optional[dict[str, str]] = None) -> bool:
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in (extra or {}).items())]
    if status != 204:
        lines.append(f"Content-Length: {len(body)}")
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    await writer.drain()
    return True


def installation_of(generation: Generation, *, profile: str = "", membership: Optional[Membership] = None) -> bytes:
    """An installation document around a profile that names nothing."""
    profile = profile or (
        '<profile version="1" root="compute" release="el9">\n'
        '<node name="base" file="nodes/base.xml" roll="base"/>\n'
        '<main command="lang" node="base" line="4">en_US.UTF-8</main>\n'
        "</profile>\n"
    )
    plane = 'plane="http"'
    if membership is not None:
        trackers = " ".join(membership.trackers)
        plane = f'plane="relay" trackers="{trackers}" token="{membership.token}" peer-key="{membership.peer_key}"'
    return (
        f'<installation version="1" host="compute-0-0" generation="{GENERATION}" '
        f'manifest="{generation.manifest.digest}" {plane}>\n'
        '<attributes version="1">\n<attribute name="hostname" scope="intrinsic">compute-0-0</attribute>\n'
        f"</attributes>\n{profile}</installation>\n"
    ).encode()


async def _main(folder: Path, http: int, https: int) -> None:
    objects = {
        str(path.relative_to(folder / "objects")): path.read_bytes()
        for path in sorted((folder / "objects").rglob("*"))
        if path.is_file()
    }
    certificates = Certificates.__new__(Certificates)
    certificates.folder, certificates.ca = folder, (folder / "ca.pem").read_text()
    frontend = FaultyFrontend(certificates, Generation(objects))
    frontend.always["*"] = Fault(chunk=65536, pause=0.01)
    await frontend.start(http, https)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
