"""Flood, garbage and replay: whatever some do, the others are answered as if they were alone."""

from __future__ import annotations

import asyncio
import json
import random
import time
from typing import Any

import aiohttp

from avalanche.agent import swarm
from tests.tracker.worlds import OBJECTS, THINGS, Running, lookup, running, token_of
from tracker.app import LOOKUPS_AT_ONCE, LOOKUPS_PER_SECOND, REFUSALS_AT_ONCE

GOOD = 12
BAD = 90


def good_answers(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a host does by its answers: whom it fetches what from."""
    return [{name: answer[name] for name in ("parents", "give", "move", "register", "place")} for answer in answers]


async def work(world: Running, *, between: Any = None) -> list[dict[str, Any]]:
    """Good hosts that register, ask and finish, one after the other, and what they are answered."""
    answers = []
    for round_ in range(3):
        for number in range(GOOD):
            fields: dict[str, Any] = {"ask": [[THINGS[round_], OBJECTS[THINGS[round_]]]]}
            if round_:
                fields |= {"register": None, "done": [THINGS[round_ - 1]]}
            answers.append(await world.look_up(number, token=token_of(number), **fields))
            if between is not None:
                await between()
        world.clock.now += 1.0
    return good_answers(answers)


async def peaceful() -> list[dict[str, Any]]:
    async with running() as world:
        return await work(world)


async def test_a_flood_of_one_host_is_turned_away_and_changes_nobodys_answer() -> None:
    statuses: list[int] = []
    async with running() as world:
        await world.look_up(BAD, register={"manifest": "0" * 64})

        async def flood() -> None:
            body = lookup(BAD, register=None)
            statuses.extend([status for status, _ in await asyncio.gather(
                *(world.post(token_of(BAD), body) for _ in range(10)))])  # fmt: skip

        found = await work(world, between=flood)
        admitted = LOOKUPS_AT_ONCE + 20 * 3
        assert statuses.count(200) <= admitted < len(statuses)
        assert set(statuses) == {200, 503}
    # It stands in the line like others, so that places differ; from whom they fetch does not.
    for name in ("give", "parents"):
        assert [row[name] for row in found] == [row[name] for row in await peaceful()]


async def test_garbage_changes_nobodys_answer() -> None:
    chance = random.Random(1)
    async with running() as world:

        async def send() -> None:
            _, writer = await asyncio.open_connection("127.0.0.1", world.port)
            writer.write(chance.randbytes(200) + b"\r\n\r\n")
            writer.close()
            for body in (chance.randbytes(300), b"[" * 5000, b'{"version": 1}', json.dumps({"ask": 1}).encode()):
                assert (await world.post(token_of(BAD), body))[0] in (400, 503)
                assert (await world.post(chance.randbytes(40).hex(), body))[0] == 403

        assert await work(world, between=send) == await peaceful()


async def test_what_a_host_said_is_worth_nothing_from_elsewhere_or_again() -> None:
    async with running() as world:
        connector = aiohttp.TCPConnector(local_addr=("127.0.0.9", 0))
        async with aiohttp.ClientSession(connector=connector) as elsewhere:

            async def replay() -> None:
                number = random.Random(2).randrange(GOOD)
                headers = {"Authorization": f"Bearer {token_of(number)}"}
                for row in (lookup(number), lookup(number, state="leaving"), lookup(number, attempt="f" * 16)):
                    async with elsewhere.post(f"{world.address}/lookup", data=row, headers=headers) as answer:
                        assert answer.status == 403

            assert await work(world, between=replay) == await peaceful()
            assert len(world.tracker.chains) == GOOD
            assert len(world.reports) <= REFUSALS_AT_ONCE * GOOD


def test_an_agent_in_a_hurry_asks_no_more_than_is_admitted() -> None:
    # Without a hurry it pauses; in a hurry it stays below this.
    assert 1 / swarm.PAUSE <= LOOKUPS_PER_SECOND
    assert swarm.LOOKUPS_PER_SECOND < LOOKUPS_PER_SECOND and swarm.LOOKUPS_AT_ONCE < LOOKUPS_AT_ONCE


async def test_a_refusal_costs_no_more_with_thousands_of_hosts_than_with_few() -> None:
    """Order of growth, not time: refusing is what an attacker can have for nothing."""

    async def cost(hosts: int) -> float:
        async with running() as world:
            for number in range(hosts):
                address = f"127.{1 + number // 65536}.{number // 256 % 256}.{number % 256}"
                peer = {"address": address, "host": f"host-{number}"}
                registered = world.tracker._registered(world.tracker._check(token_of(number, **peer), address))
                token = world.tracker._check(token_of(number, **peer), address)
                world.tracker._answer(token, registered, lookup(number))
            began = time.process_time()
            for _ in range(5000):
                world.tracker.chains.peer_at("10.0.0.1")
            return time.process_time() - began

    assert await cost(3000) < 20 * await cost(30) + 0.05
