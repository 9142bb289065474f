"""The examples of docs/protocol.md, sections 9 to 11, are what the code reads and writes."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import asdict
from pathlib import Path

import pytest

from avalanche.agent import lookup
from avalanche.tokens import (
    SwarmToken,
    Ticket,
    peer_id,
    peer_key,
    sign_ticket,
    sign_token,
    verify_ticket,
    verify_token,
)
from tracker.lookup import NAMED_AHEAD, Answer, Ask, Blame
from tracker.messages import MAXIMUM_ROWS, Row, format_answer, parse_request
from tracker.registry import Registered, parse_registry, write_registry

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
KEY = bytes(range(32))
PARENT_ORDER = "aa1e2d3c4b5a6978"
NOW = 1_795_000_000.25


def example(name: str) -> str:
    found = re.search(rf"^```\w+ {name}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/protocol.md has no example {name!r}"
    return found[1]


def signed() -> dict[str, str]:
    return dict(line.split() for line in example("signed").splitlines())


def document(name: str) -> dict[str, object]:
    row = json.loads(example(name))
    assert row.pop("version") == 1
    return row  # type: ignore[no-any-return]


@pytest.fixture
def token() -> SwarmToken:
    return SwarmToken(**document("token"))  # type: ignore[arg-type]


@pytest.fixture
def ticket() -> Ticket:
    return Ticket(**document("ticket"))  # type: ignore[arg-type]


def test_the_token_is_signed_as_the_page_says(token: SwarmToken) -> None:
    assert sign_token(KEY, token) == signed()["token"]
    assert verify_token(KEY, signed()["token"], address=token.address, now=NOW) == token


def test_the_ticket_is_signed_as_the_page_says(ticket: Ticket) -> None:
    key = peer_key(KEY, PARENT_ORDER)
    assert key.hex() == signed()["peer-key"]
    assert sign_ticket(key, ticket) == signed()["ticket"]
    assert (
        verify_ticket(key, signed()["ticket"], address=ticket.address, generation=ticket.generation, now=NOW) == ticket
    )


def lookup_generation() -> Registered:
    """A generation that has every object and the closure of the page's lookup."""
    hashes = set(re.findall(r"\b[0-9a-f]{64}\b", example("lookup")))
    row = json.loads(example("lookup"))
    closure = row["register"]["manifest"]
    things = sorted(hashes - {closure})
    return Registered("g-5d41402abc4b2a76", dict.fromkeys(things, 300_000), {closure: frozenset(things)})


def test_the_lookup_is_read_whole() -> None:
    row = json.loads(example("lookup"))
    request = parse_request(example("lookup").encode(), lookup_generation())
    parent = peer_id(PARENT_ORDER, "fedcba9876543210")
    lookup = request.lookup
    assert (request.attempt, request.port, request.known) == ("0123456789abcdef", 41234, {parent})
    assert lookup.asks == (Ask(row["ask"][0][0], 300_000), Ask(row["ask"][1][0], 45_056, parent))
    assert lookup.blames == (Blame(parent, "dead"),)
    assert lookup.registration is not None
    assert lookup.registration.place == 7
    assert lookup.registration.have == tuple(row["register"]["have"])
    assert lookup.registration.fetch == ((row["register"]["fetch"][0][0], parent, 300_000),)
    assert len(lookup.registration.wants) == 4
    assert (lookup.state, lookup.received) == ("fetching", 104_857_600)


def test_the_limits_of_the_lookup_are_those_of_the_page() -> None:
    section = PAGE.partition("\n## 10. ")[2].partition("\n## ")[0]
    lines = {name: line for name in MAXIMUM_ROWS for line in section.splitlines() if line.startswith(f"| `{name}` |")}
    assert lines
    for name, line in lines.items():
        assert f"{MAXIMUM_ROWS[name]:,}" in line, name
    assert f"{MAXIMUM_ROWS['have']:,}; {MAXIMUM_ROWS['fetch']:,}" in PAGE


def test_the_answer_is_written_as_the_page_says() -> None:
    row = json.loads(example("lookup-answer"))
    peer = row["parents"][1]
    answer = Answer(
        give=(peer, "frontend"),
        moves=((row["move"][0][0], "frontend"),),
        next=row["next"],
        place=row["place"],
        ahead=(peer,),
    )
    rows = [Row(**row["rows"][0])]
    written = json.loads(format_answer(answer, time=NOW, rows=rows))
    # The order of parents is free; what they stand for is not.
    assert sorted(written.pop("parents")) == sorted(row["parents"])
    assert written.pop("give") == [0, 1]
    assert written.pop("move") == [[row["move"][0][0], 1]]
    assert written.pop("ahead") == [0]
    varied = ("parents", "give", "move", "ahead")
    assert written == {name: value for name, value in row.items() if name not in varied}
    assert asdict(rows[0]).keys() == row["rows"][0].keys()


def test_host_and_tracker_agree_on_how_many_stand_ahead() -> None:
    # Who is told of fewer takes itself for the first in line.
    assert NAMED_AHEAD == lookup.NAMED_AHEAD
    assert f"nearest first, {NAMED_AHEAD} at most" in PAGE


def test_the_registry_is_read_and_written_as_the_page_says() -> None:
    (registered,) = parse_registry(example("registry").encode(), file="registry.jsonl")
    assert registered.objects == {thing: size for thing, size in registered.objects.items() if size in (300_000, 3142)}
    assert list(registered.closures.values()) == [frozenset(registered.objects)]
    assert write_registry([registered]).decode() == example("registry")


def test_the_frames_have_the_lengths_they_say() -> None:
    kinds = []
    for line in example("frames").splitlines():
        frame = bytes.fromhex(line)
        kind, _, length = struct.unpack(">B3xII", frame[:12])
        assert frame[1:4] == bytes(3)
        assert len(frame) == 12 + length
        kinds.append(kind)
        assert re.search(rf"^\| {kind} \| `[A-Z]+` \|", PAGE, re.MULTILINE), f"frame type {kind} is not in the table"
    assert len(set(kinds)) == len(re.findall(r"^\| \d+ \| `[A-Z]+` \| (?:child|parent) \|", PAGE, re.MULTILINE))
