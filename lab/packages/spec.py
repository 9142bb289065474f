"""RPM spec files: what one package of the set is, and the text rpmbuild reads. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lab.packages.debian import Evr


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A path of the package with its owner and mode; ``kind`` is ``file``, ``config``, ``link`` or ``directory``."""

    path: str
    kind: str
    mode: int = 0o755
    user: str = "root"
    group: str = "root"

    def line(self) -> str:
        """Return the entry's line in ``%files``."""
        if self.kind == "link":
            return f"%attr(-,root,root) {quote(self.path)}"
        prefix = {"directory": "%dir ", "config": "%config(noreplace) "}.get(self.kind, "")
        return f"{prefix}%attr({self.mode:04o},{self.user},{self.group}) {quote(self.path)}"


@dataclass(frozen=True, slots=True)
class RpmPlan:
    """One RPM to build from files of a root."""

    name: str
    evr: Evr
    is_noarch: bool
    summary: str
    description: str
    tags: tuple[str, ...]
    files: tuple[FileEntry, ...]
    posttrans: str = ""
    finds_sonames: bool = False

    @property
    def arch(self) -> str:
        return "noarch" if self.is_noarch else "x86_64"

    @property
    def filename(self) -> str:
        return f"{self.name}-{self.evr.version}-{self.evr.release}.{self.arch}.rpm"


def quote(path: str) -> str:
    """Quote a path for ``%files``, where rpmbuild expands macros and globs.

    A backslash (systemd writes ``\\x2d`` in unit names) is an escape for the glob: ``?`` stands for it.
    """
    return '"' + path.replace("\\", "?").replace('"', "?").replace("%", "%%") + '"'


# Excluded: what the translated dependencies say already, and libatm, which iproute2 loads only where it is installed.
_TEMPLATE = """\
%global debug_package %{{nil}}
%global __os_install_post %{{nil}}
%global _build_id_links none
%global _binary_payload w{level}.zstdio
%global _unpackaged_files_terminate_build 0
%global __requires_exclude ^(libatm|perl|python|pkgconfig|config|/|rtld|lib.*-private|ld-linux).*$
%global __provides_exclude ^(perl|python|pkgconfig|config).*$
Name: {name}
{epoch}Version: {version}
Release: {release}
Summary: {summary}
License: see /usr/share/doc
Vendor: Avalanche lab
{tags}
%description
{description}

%install
mkdir -p %{{buildroot}}
cd {root}
xargs -0 -r cp -al --no-dereference --parents -t %{{buildroot}} < {listing}
cd %{{buildroot}}
xargs -0 -r mkdir -p < {directories}

{scripts}
%files -f {files}
"""


def spec_text(plan: RpmPlan, *, root: str, folder: str, level: int = 3) -> str:
    """Return the spec of a plan.

    Args:
        root: absolute path of the root the files are taken from.
        folder: where ``listing``, ``directories`` and ``files`` of the plan were written (see `inputs`).
        level: zstd level of the payload.
    """
    tags = list(plan.tags)
    if plan.is_noarch:
        tags.append("BuildArch: noarch")
    tags.append(f"AutoReqProv: {'yes' if plan.finds_sonames else 'no'}")
    return _TEMPLATE.format(
        level=level,
        name=plan.name,
        epoch=f"Epoch: {plan.evr.epoch}\n" if plan.evr.epoch else "",
        version=plan.evr.version,
        release=plan.evr.release,
        summary=_literal(plan.summary)[:150] or plan.name,
        tags="\n".join(tags),
        description=_literal(plan.description),
        root=root,
        listing=f"{folder}/listing",
        directories=f"{folder}/directories",
        scripts=f"%posttrans\n{plan.posttrans}\n" if plan.posttrans else "",
        files=f"{folder}/files",
    )


def _literal(text: str) -> str:
    # Packagers write percent signs and lines that look like section names.
    return "\n".join(line.replace("%", "%%") for line in text.splitlines())


def inputs(plan: RpmPlan) -> dict[str, bytes]:
    """Return the files the spec reads: names to copy, directories to make, and the ``%files`` list."""
    copied = (entry.path for entry in plan.files if entry.kind != "directory")
    made = (entry.path for entry in plan.files if entry.kind == "directory")
    return {
        "listing": _nul_separated(copied),
        "directories": _nul_separated(made),
        "files": "".join(entry.line() + "\n" for entry in plan.files).encode(),
    }


def _nul_separated(paths: Iterable[str]) -> bytes:
    return b"".join(path.lstrip("/").encode() + b"\0" for path in paths)
