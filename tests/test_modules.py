"""Modules: what their documents say, and that nothing else is taken for one (what dnf makes of them:
tests/adapters/test_closure_modules.py).
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.document import Reference, Text
from avalanche.errors import RepositoryError, Unsatisfiable
from avalanche.modules import Build, joined_modules, parse_modules, requested_modules
from avalanche.profile import Command, Profile
from avalanche.sections import NodeName

DOCUMENTS = b"""---
document: modulemd
version: 2
data:
  name: perl
  stream: 5.30
  version: 8040020190911153207
  context: 466ea64f
  arch: x86_64
  dependencies:
  - buildrequires: {platform: [el8]}
    requires: {platform: [el8], tools: [], gcc: [-1, 2]}
  artifacts:
    rpms:
    - perl-4:5.30.1-452.module.src
    - perl-4:5.30.1-452.module.x86_64
...
---
document: modulemd
version: 1
data:
  name: old
  stream: f28
  version: 20180101
  dependencies: {requires: {platform: f28}}
...
---
document: modulemd-translations
version: 1
data: {module: perl}
---
document: modulemd-defaults
version: 1
data: {module: perl, stream: 5.30, profiles: {}}
---
document: modulemd-defaults
version: 1
data: {module: none, profiles: {}}
"""


def test_documents_say_what_is_of_which_stream_and_what_it_needs() -> None:
    found = parse_modules(DOCUMENTS, file="modules.yaml")
    assert found.defaults == {"perl": "5.30"}  # a text: 5.30 is not 5.3
    perl, old = found.builds
    assert perl == Build(
        "perl", "5.30", 8040020190911153207, "466ea64f", "x86_64",
        ({"platform": ("el8",), "tools": (), "gcc": ("-1", "2")},),
        frozenset({"perl-4:5.30.1-452.module.src", "perl-4:5.30.1-452.module.x86_64"}),
    )  # fmt: skip
    assert (old.name, old.needs, old.packages) == ("old:f28", ({"platform": ("f28",)},), frozenset())


def compiled(*texts: Text) -> Profile:
    commands = (
        *(Command("module", text, "web", 3) for text in texts),
        Command("lang", Text(("en_US.UTF-8",)), "web", 4),
    )
    return Profile("compute", "el9", (NodeName("web", "nodes/web.xml", "site"),), commands)


def test_a_node_file_enables_streams_as_a_kickstart_does() -> None:
    texts = (Text(("--name=nodejs --stream=20",)), Text(('--name "php"',)), Text(("--disable  --name=perl",)))
    found = [(one.module, one.stream, one.disable, one.line) for one in requested_modules(compiled(*texts))]
    assert found == [("nodejs", "20", False, 3), ("php", None, False, 3), ("perl", None, True, 3)]


@pytest.mark.parametrize(
    "text",
    [
        Text(("nodejs:20",)), Text(("--stream=20",)), Text(("--name=",)), Text(("--name=x --sream=1",)), Text(()),
        Text(("--name=nodejs --stream=", Reference("stream", 3))),
    ],
)  # fmt: skip
def test_what_no_frontend_could_know_is_refused_with_its_line(text: Text) -> None:
    with pytest.raises(Unsatisfiable, match=r"^nodes/web\.xml:3: web: write it as <module>--name=NAME"):
        requested_modules(compiled(text))


def default(stream: str, modified: str = "") -> bytes:
    more = f", modified: {modified}" if modified else ""
    return f"document: modulemd-defaults\nversion: 1\ndata: {{module: m, stream: {stream}{more}}}\n".encode()


@pytest.mark.parametrize(
    ("documents", "stream"),
    [
        ([default("a")], "a"),
        ([default("a"), default("a")], "a"),
        ([default("a"), default("b")], None),
        ([default("a", "201801010000"), default("b", "201901010000")], "b"),
        ([default("b", "201901010000"), default("a", "201801010000")], "b"),
    ],
)
def test_of_two_defaults_the_later_one_holds_and_none_of_two_that_are_as_old(
    documents: list[bytes], stream: str | None
) -> None:
    whole = joined_modules([(document, "x") for document in documents])
    assert parse_modules(whole, file="x").defaults.get("m") == stream


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (b"just a text", "^b: document 1 is no module"),
        (b"document: modulemd\ndata: [", r"^b:\d: not YAML"),
        (DOCUMENTS.decode().encode("utf-16"), r"^a \+ b: not YAML"),
        (DOCUMENTS.decode().encode("utf-8-sig"), r"^a \+ b: document 6 is no module"),
    ],
)
def test_of_several_files_the_one_that_is_wrong_is_named_or_all_that_cannot_stand_together(
    second: bytes, why: str
) -> None:
    with pytest.raises(RepositoryError, match=why):
        joined_modules([(DOCUMENTS, "a"), (second, "b")])


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"a: [", r"^m:\d: not YAML: "),
        (b"---\n" + DOCUMENTS + b"\n--- {document: modulemd, data: {name: x}}\n", "^m: document 7 is no module"),
        (b"just a text", "^m: document 1 is no module"),
        (b"document: modulemd\ndata: {name: x, stream: y, version: z}", "^m: document 1 is no module"),
        (b"\xff\xfe\x00", "^m: not YAML"),
        (b"\n" + b"[" * 200_000, "^m:2: nested too deeply"),
        (b"- " * 100_000, "^m:1: nested too deeply"),
        (b"document: &x a\ndata: *x", r"^m:2: references \(\*name\) are not read"),
        (b"{[a]: b}", "^m: "),
    ],
)
def test_what_is_no_module_is_one_line(document: bytes, why: str) -> None:
    with pytest.raises(RepositoryError, match=why) as caught:
        parse_modules(document, file="m")
    assert "\n" not in str(caught.value)


@given(st.one_of(st.binary(max_size=200), st.text(alphabet="abdocumentl:-[]{}&*!\n '0", max_size=80).map(str.encode)))
def test_any_bytes_are_modules_or_a_repository_error(data: bytes) -> None:
    try:
        parse_modules(data, file="m").shown({}, ())
    except RepositoryError as error:
        assert "\n" not in str(error)
