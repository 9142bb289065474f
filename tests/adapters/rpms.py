"""Real RPMs, made by rpmbuild and signed by rpmsign."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

COMPS = b"""<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE comps PUBLIC "-//Red Hat, Inc.//DTD Comps info//EN" "comps.dtd">
<comps>
  <group><id>core</id><name>Core</name><name xml:lang="it">Nucleo</name>
    <packagelist>
      <packagereq type="mandatory">alpha</packagereq>
      <packagereq type="mandatory">ghost</packagereq>
      <packagereq type="optional">gcc-c++</packagereq>
    </packagelist>
  </group>
</comps>
"""


def build_rpm(
    folder: Path, name: str, *, tags: str = "", files: Mapping[str, bytes] | None = None, rpm: str = ""
) -> Path:
    """Build a noarch RPM ``name-1.0-1`` unless ``tags`` say otherwise; ``rpm`` renames the file."""
    files = files or {f"/usr/share/{name}/readme": name.encode()}
    with tempfile.TemporaryDirectory() as top:
        root = Path(top, "files")
        for path, data in files.items():
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        lines = [f"Name: {name}", f"Summary: {name}", "License: none", "BuildArch: noarch", "AutoReqProv: no", tags]
        for default in ("Version: 1.0", "Release: 1"):
            if default.split()[0] not in tags:
                lines.append(default)
        lines += ["%description", name, "%install", f"cp -a {root}/. %{{buildroot}}", "%files", *files]
        spec = Path(top, "package.spec")
        spec.write_text("\n".join(lines) + "\n")
        built = Path(top, "built")
        subprocess.run(
            ["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {top}", "--define", f"_rpmdir {built}", str(spec)],
            check=True,
            capture_output=True,
        )
        (made,) = built.rglob("*.rpm")
        folder.mkdir(parents=True, exist_ok=True)
        return Path(made.replace(folder / (rpm or made.name)))


@dataclass(frozen=True)
class Vendor:
    """Someone who signs packages."""

    home: Path
    public_key: Path

    def sign(self, *packages: Path) -> None:
        subprocess.run(
            ["rpmsign", "--define", "_gpg_name Vendor", "--define", "__gpg /usr/bin/gpg", "--addsign", *packages],
            check=True,
            capture_output=True,
            env={**os.environ, "GNUPGHOME": str(self.home)},
        )


def make_vendor(directory: Path) -> Vendor:
    """A vendor with a new key; the caller ends its agent."""
    home = Path(tempfile.mkdtemp(prefix="vendor-"))  # short: an agent's socket is in it
    environment = {**os.environ, "GNUPGHOME": str(home)}
    gpg = ["gpg", "--batch", "--quiet", "--no-tty", "--passphrase", "", "--pinentry-mode", "loopback"]
    subprocess.run([*gpg, "--quick-gen-key", "Vendor <vendor@example.org>", "rsa3072", "sign", "never"],
                   check=True, capture_output=True, env=environment)  # fmt: skip
    exported = subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True, env=environment).stdout
    public_key = directory / f"RPM-GPG-KEY-{home.name}"
    public_key.write_bytes(exported)
    return Vendor(home, public_key)
