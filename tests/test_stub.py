"""The stub kickstart: small, parsable before and after, and closed against every value it carries."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pykickstart.constants import KS_SCRIPT_PRE
from pykickstart.errors import KickstartError
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

from avalanche.messages import StubDocument
from avalanche.stub import RUN, render_stub
from tests.handlers import handler_of

CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def document(**values: object) -> StubDocument:
    row = {
        "host": "compute-0-0",
        "order": "0f1e2d3c4b5a6978",
        "secret": "q3v0cZb8m7w5Yk2hJf6sTnR1xLd4pGa9uEoViCyBQzM",
        "http": ("http://10.1.1.1", "http://10.1.1.2:8080"),
        "https": ("https://10.1.1.1",),
        "bundle": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "ca": CA,
        **values,
    }
    return StubDocument(**row)  # type: ignore[arg-type]


def script_of(stub: str, *, release: str = "RHEL9", **options: bool) -> str:
    made = handler_of(release)
    KickstartParser(made, **options).readKickstartFromString(stub)
    (script,) = made.scripts
    assert (script.type, script.interp, script.errorOnFail) == (KS_SCRIPT_PRE, "/usr/bin/python3", True)
    assert script.logfile == "/tmp/avalanche-pre.log"
    return str(script.script)


def embedded(script: str) -> StubDocument:
    """The document the script holds, read as Python reads it."""
    values = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(script).body[:3]
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    assert values["RUN"] == RUN
    return StubDocument.parse(values["DOCUMENT"])


@pytest.mark.parametrize("release", ["RHEL9", "RHEL10", "F43"])
def test_the_installer_takes_it_before_the_kickstart_is_there(release: str) -> None:
    script = script_of(render_stub(document()), release=release, missingIncludeIsFatal=False)
    assert embedded(script) == document()


def test_the_installer_takes_it_with_the_kickstart_in_place(tmp_path: Path) -> None:
    stub = render_stub(document(), run=str(tmp_path))
    with pytest.raises(KickstartError):
        KickstartParser(makeVersion("RHEL9")).readKickstartFromString(stub)
    (tmp_path / "ks.cfg").write_text("lang en_US.UTF-8\n%packages\n@core\n%end\n")
    handler = makeVersion("RHEL9")
    KickstartParser(handler).readKickstartFromString(stub)
    assert handler.lang.lang == "en_US.UTF-8"


def test_it_is_a_few_kib_of_ascii() -> None:
    stub = render_stub(document(ca=CA * 20))
    assert len(stub.encode("ascii")) < 9000


def test_its_python_is_as_old_as_the_oldest_installer() -> None:
    script = script_of(render_stub(document()), missingIncludeIsFatal=False)
    ast.parse(script, feature_version=(3, 9) if sys.version_info < (3, 13) else None)


def test_every_section_it_opens_is_its_own() -> None:
    lines = [line for line in render_stub(document()).splitlines() if line.startswith("%")]
    assert [line.split()[0] for line in lines] == ["%pre", "%end", "%include"]


NASTY = st.text(alphabet=st.characters(blacklist_categories=["Cs"])) | st.sampled_from(
    ["\n%end\n%pre\nrm -rf /\n%end\n", "'''", '"""', "\\", "\\'", "\r%end", "\u2028%end", "${x}", "%include /x"]
)


@given(ca=NASTY, run=st.sampled_from([RUN]))
def test_no_value_ends_the_script_or_begins_a_line(ca: str, run: str) -> None:
    """Invariant: the installer sees one %pre, and Python in it sees the very document."""
    wanted = document(ca=CA + ca)
    stub = render_stub(wanted, run=run)
    lines = [line for line in stub.split("\n") if line.startswith("%")]
    assert [line.split()[0] for line in lines] == ["%pre", "%end", "%include"]
    script = script_of(stub, missingIncludeIsFatal=False)
    assert embedded(script) == wanted
    assert json.loads(embedded(script).to_json())["ca"] == CA + ca
