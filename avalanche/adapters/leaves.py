"""The hashes of every object's blocks, for torrents whose pieces are smaller than the manifest's.

32 bytes for 16 KiB, in a file per object beside the store. They prove themselves: what does not climb to the object's
root is made anew from its bytes, so whoever deletes the folder loses time and nothing else.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from avalanche.errors import RepositoryError
from avalanche.manifest import BLOCK, Entry, Identity, PieceHasher, climbs_to

CHUNK = 1 << 20


class Leaves:
    """Files of leaves below ``root``, each at ``ab/abcdef...``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __repr__(self) -> str:
        return f"<Leaves {self.root}>"

    def keep(self, identity: Identity, leaves: bytes) -> None:
        """Remember the leaves of an object that was just hashed. A full disk is no error: it costs one more reading."""
        if identity.size <= BLOCK:
            return  # its root is its leaf
        path = self._path(identity.sha256)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                try:
                    file.write(leaves)
                    file.close()
                    Path(file.name).chmod(0o444)  # whoever imports, the frontend reads it
                    Path(file.name).replace(path)
                except OSError:
                    Path(file.name).unlink()

    def of(self, entry: Entry, file: Path) -> bytes:
        """The leaves of an object, read, or made of its ``file``.

        Raises:
            RepositoryError: the file cannot be read, or is another one's.
        """
        if entry.size <= BLOCK:
            return bytes.fromhex(entry.root)
        with contextlib.suppress(OSError):
            leaves = self._path(entry.sha256).read_bytes()
            if climbs_to(leaves, entry):
                return leaves
        hasher = PieceHasher()
        try:
            with file.open("rb") as opened:
                while data := opened.read(CHUNK):
                    hasher.update(data)
        except OSError as error:
            raise RepositoryError(f"{file}: cannot be read: {error.strerror}; import it again") from error
        identity = hasher.identity() if hasher.size else None
        leaves = bytes(hasher.leaves)
        if identity is None or not climbs_to(leaves, entry):
            raise RepositoryError(f"{file}: is damaged; import it again")
        self.keep(identity, leaves)
        return leaves

    def forget_all_but(self, objects: set[str]) -> None:
        """Remove the leaves of other objects."""
        for path in self.root.glob("??/*"):
            if path.name not in objects:
                path.unlink(missing_ok=True)

    def _path(self, sha256: str) -> Path:
        return self.root / sha256[:2] / sha256
