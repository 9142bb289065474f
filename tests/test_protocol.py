"""Every example of docs/protocol.md is read by the code that ships."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from avalanche import messages, news, tokens
from avalanche.agent import frames, lookup
from avalanche.bootaction import BootAction, boot_script
from avalanche.manifest import parse_manifest
from avalanche.news import News
from avalanche.pieces import Library, PieceAnswer, PieceRequest
from avalanche.profile import parse_installation
from tracker import messages as tracker_messages
from tracker.registry import Registered, parse_registry, write_registry

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "protocol.md").read_text(encoding="utf-8")
EXAMPLES = {name: text for name, text in re.findall(r"^```\w+ ([\w-]+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)}

SWARM_KEY = bytes(range(32))  # as the page says
PARENT = "aa1e2d3c4b5a6978"


def signed() -> dict[str, str]:
    return dict(line.split() for line in EXAMPLES["signed"].splitlines())


def read_token(text: str) -> None:
    token = tokens.SwarmToken(**without_version(text))
    assert tokens.sign_token(SWARM_KEY, token) == signed()["token"]
    assert tokens.verify_token(SWARM_KEY, signed()["token"], address=token.address, now=token.expires - 1) == token


def read_ticket(text: str) -> None:
    ticket = tokens.Ticket(**without_version(text))
    key = tokens.peer_key(SWARM_KEY, PARENT)
    assert tokens.sign_ticket(key, ticket) == signed()["ticket"]


def read_signed(text: str) -> None:
    assert tokens.peer_key(SWARM_KEY, PARENT).hex() == signed()["peer-key"]


def read_lookup(text: str) -> None:
    """The tracker reads it, and the agent writes the same."""
    row = json.loads(text)
    register = row["register"]
    things = [*register["have"], *(thing for thing, _, _ in register["fetch"]), *(ask[0] for ask in row["ask"])]
    registered = Registered(
        "g-5d41402abc4b2a76", dict.fromkeys(things, 1 << 20), {register["manifest"]: frozenset(things)}
    )
    request = tracker_messages.parse_request(text.encode(), registered)
    asks = [lookup.Ask(ask.thing, ask.left, ask.avoid) for ask in request.lookup.asks]
    assert [ask.to_row() for ask in asks] == row["ask"]
    written = lookup.format_lookup({name: value for name, value in row.items() if name != "version"})
    assert tracker_messages.parse_request(written, registered) == request


def read_answer(text: str) -> None:
    asks = [lookup.Ask("0" * 64, 1), lookup.Ask("1" * 64, 1)]
    answer = lookup.parse_answer(text.encode(), asks)
    assert answer.give == ("d6b394fc09dba5e9", "frontend")
    assert [parent for _, parent in answer.moves] == ["frontend"]
    assert [row.host for row in answer.rows] == ["compute-0-1"]


def read_registry(text: str) -> None:
    assert write_registry(parse_registry(text.encode(), file="registry")).decode() == text


def read_frames(text: str) -> None:
    """Every frame is read, and written again as it stands."""
    for line in text.splitlines():
        data = bytes.fromhex(line)
        head, view = frames.read_head(memoryview(data)), memoryview(data)
        assert len(data) == frames.HEAD_BYTES + head.length
        payload = view[frames.HEAD_BYTES :]
        if head.kind == frames.GET:
            again = frames.get(head.id, *frames.read_get(view))
        elif head.kind == frames.DATA:
            start = frames.read_offset(view)
            body = data[frames.DATA_HEAD_BYTES :]
            again = frames.data_head(head.id, start, len(body)) + body
        elif head.kind == frames.LEAVES:
            again = frames.leaves(head.id, frames.read_offset(view), data[frames.DATA_HEAD_BYTES :])
        elif head.kind == frames.HEARTBEAT:
            beat = frames.read_heartbeat(payload)
            again = frames.heartbeat(beat.backlog, beat.egress, beat.ingress, beat.held.items())
        elif head.kind == frames.REFUSE:
            again = frames.refuse(head.id, payload[0])
        else:
            again = frames.bare(head.kind, head.id)
        assert again == data


def read_boot_script(text: str) -> None:
    action = BootAction("install", "http://10.1.1.1/vmlinuz", "http://10.1.1.1/initrd.img", "ip=dhcp")
    assert boot_script(action, host="compute-0-0", kickstart="http://10.1.1.1/install/stub") == text


def read_pieces(text: str) -> None:
    request = PieceRequest.parse(text.encode())
    assert PieceRequest.parse(request.to_bytes()) == request
    assert json.loads(request.to_bytes()) == json.loads(text)


def read_pieces_answer(text: str) -> None:
    answer = PieceAnswer.parse(text.encode())
    assert json.loads(answer.to_line()) == json.loads(text)


def without_version(text: str) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(text)
    assert row.pop("version") == 1
    return row


READERS: dict[str, Callable[[str], object]] = {
    "stub": messages.StubDocument.parse,
    "installation": lambda text: parse_installation(text.encode()),
    "manifest": lambda text: parse_manifest(text.encode()),
    "events": messages.EventBatch.parse,
    "done": messages.Done.parse,
    "token": read_token,
    "ticket": read_ticket,
    "signed": read_signed,
    "lookup": read_lookup,
    "lookup-answer": read_answer,
    "registry": read_registry,
    "news": lambda text: News.parse(text.encode()),
    "news-answer": lambda text: news.parse_answer(text.encode()),
    "frames": read_frames,
    "boot-script": read_boot_script,
    "library": lambda text: Library.parse(text.encode()),
    "pieces": read_pieces,
    "pieces-answer": read_pieces_answer,
}


def test_every_example_has_a_reader() -> None:
    assert set(EXAMPLES) == set(READERS)


@pytest.mark.parametrize("name", sorted(READERS))
def test_an_example_is_read_by_the_code_that_ships(name: str) -> None:
    READERS[name](EXAMPLES[name])


@pytest.mark.parametrize(("name", "kind"), [("stub", messages.StubDocument), ("events", messages.EventBatch)])
def test_an_example_is_written_as_it_stands(name: str, kind: Any) -> None:
    assert json.loads(kind.parse(EXAMPLES[name]).to_json()) == json.loads(EXAMPLES[name])


@pytest.mark.parametrize("name", ["stub", "events", "done"])
def test_another_version_is_refused(name: str) -> None:
    with pytest.raises(messages.ProtocolError, match="version 2 is not known here"):
        READERS[name](EXAMPLES[name].replace('"version": 1', '"version": 2'))


def test_the_example_of_an_installation_fits_the_schema() -> None:
    schema = etree.RelaxNG(etree.parse(DOCS / "profile.rng"))
    schema.assertValid(etree.parse(BytesIO(EXAMPLES["installation"].encode())))


def test_the_page_names_the_limits_the_code_has() -> None:
    assert f"at most {messages.MAX_BODY // 1024} KiB" in PAGE
    assert f"at most {messages.MAX_TEXT:,} characters" in PAGE
    assert f"at most {messages.MAX_EVENTS} events" in PAGE
    assert f"`{' '.join(messages.STAGES)}`" in PAGE
