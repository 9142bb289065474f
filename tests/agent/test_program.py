"""The whole agent, as a process that the real stub starts, against a frontend over HTTP and HTTPS."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

from avalanche.agent import program
from tests.agent.bundle import make_bundle
from tests.agent.faulty import GENERATION, Certificates, Fault, FaultyFrontend, Generation, installation_of
from tests.agent.machine import Machine
from tests.agent.rig import read_answer, until
from tests.agent.swarm import StubTracker

BUNDLE = make_bundle()
PROFILE = """<profile version="1" root="compute" release="el9">
<node name="base" file="nodes/base.xml" roll="base"/>
<main command="lang" node="base" line="4">{lang}</main>
{pre}</profile>
"""


@pytest_asyncio.fixture
async def machine(folder: Path) -> AsyncIterator[Machine]:
    async with Machine(folder) as machine:
        yield machine


@pytest_asyncio.fixture
async def site(frontend: FaultyFrontend) -> FaultyFrontend:
    frontend.bundle = BUNDLE
    return frontend


def profile(frontend: FaultyFrontend, *, lang: str = "en_US.UTF-8", pre: str = "") -> None:
    frontend.installation = installation_of(frontend.generation, profile=PROFILE.format(lang=lang, pre=pre))


async def get(machine: Machine, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", machine.port)
    writer.write(f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = await read_answer(reader)
    writer.close()
    assert answer.is_whole, machine.log()
    return answer.body


async def test_a_host_goes_from_the_stub_to_done(site: FaultyFrontend, machine: Machine) -> None:
    profile(site, pre='<pre node="base" line="9" interpreter="/bin/sh">echo "I am $0"\n</pre>\n')
    status, output = await machine.boot(site.document())
    assert (status, output) == (0, "avalanche: the kickstart of compute-0-0 is ready\n")
    # The pipe is closed and the agent lives: it inherited nothing of the script's.
    agent = machine.agent()
    assert agent is not None
    stub = (machine.folder / "stub.cfg").resolve()
    from avalanche.stub import render_stub

    stub.write_text(render_stub(site.document(), run=str(machine.run)))
    handler = makeVersion("RHEL9")
    KickstartParser(handler).readKickstart(str(stub))
    assert handler.lang.lang == "en_US.UTF-8"
    assert "I am" in (machine.run / "pre-01-base.log").read_text()
    assert oct((machine.run / "ks.cfg").stat().st_mode)[-3:] == "600"
    assert oct(machine.run.stat().st_mode)[-3:] == "700"

    for path, data in site.generation.objects.items():
        assert await get(machine, path) == data
    assert await machine.done("ok") == (0, "avalanche: install ok, confirmed by the frontend\n")
    await machine.ended(agent)
    assert not (machine.folder / "cache").exists()
    assert [stage for stage in dict.fromkeys(event["stage"] for event in site.events)] == [
        "stub", "profile", "pre", "kickstart", "packages", "install",
    ]  # fmt: skip
    assert [event["seq"] for event in site.events] == list(range(1, len(site.events) + 1))
    (message,) = site.done
    assert (message["status"], message["summary"]["packages"]) == ("ok", 12)
    assert message["summary"]["bytes_from_frontend"] == site.generation.manifest.total_bytes
    # Said again, it is the same message.
    assert (await machine.done("ok"))[0] == 0
    assert site.done == [message, message]


async def test_after_done_nothing_of_the_agent_is_left(site: FaultyFrontend, machine: Machine) -> None:
    tracker = StubTracker()
    await tracker.start()
    membership = tracker.membership(site.document().order)
    site.installation = installation_of(site.generation, membership=membership)
    await machine.boot(site.document())
    agent = machine.agent()
    assert agent is not None
    await until(lambda: "ok" in dict(site.outcomes("packages")))
    ports = machine.ports(agent)
    assert ports == {machine.port, tracker.lookups[-1]["port"]}
    site.faults["/install/done"].append(Fault(status=503, retry_after="1"))
    assert (await machine.done("ok"))[0] == 0
    # At once, not a moment later.
    assert not machine.is_running(agent)
    assert machine.group(agent) == []
    assert not (machine.folder / "cache").exists()
    assert not (machine.run / "agent.sock").exists()
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
    assert tracker.lookups[-1]["state"] == "leaving"
    await tracker.stop()


async def test_a_second_pre_joins_the_agent_that_is_ready(site: FaultyFrontend, machine: Machine) -> None:
    await machine.boot(site.document())
    agent = machine.agent()
    assert (await machine.boot(site.document()))[0] == 0
    assert machine.agent() == agent
    tokens = {headers["x-avalanche-attempt"] for _, _, headers in site.requests if "x-avalanche-attempt" in headers}
    assert len(tokens) == 1


async def test_an_agent_of_another_order_is_left_alone(site: FaultyFrontend, machine: Machine) -> None:
    await machine.boot(site.document())
    agent = machine.agent()
    document = json.loads(site.document().to_json())
    other = type(site.document()).parse(json.dumps({**document, "order": "f" * 16}))
    status, output = await machine.boot(other)
    assert status == 1
    assert "an agent of order 0f1e2d3c4b5a6978 is running on this host" in output
    assert machine.agent() == agent


async def test_an_agent_that_was_killed_with_its_keeper_is_replaced_by_the_next_pre(
    site: FaultyFrontend, machine: Machine
) -> None:
    await machine.boot(site.document())
    await until(lambda: "ok" in dict(site.outcomes("kickstart")))
    first = await machine.kill()
    assert (await machine.boot(site.document()))[0] == 0
    assert machine.agent() not in (None, first)
    await until(lambda: len([event for event in site.events if event["stage"] == "stub"]) == 2)
    path, data = next(iter(site.generation.objects.items()))
    assert await get(machine, path) == data


async def test_done_speaks_for_an_agent_that_died(site: FaultyFrontend, machine: Machine) -> None:
    await machine.boot(site.document())
    await until(lambda: "ok" in dict(site.outcomes("packages")))
    await machine.kill()
    assert (machine.folder / "cache").exists()
    status, output = await machine.done("failed", "dnf said no")
    assert (status, "no agent was running" in output) == (0, True)
    assert not (machine.folder / "cache").exists()
    assert [(message["status"], message["text"]) for message in site.done] == [("failed", "dnf said no")]


async def test_done_is_not_confirmed_by_a_frontend_that_refuses(site: FaultyFrontend, machine: Machine) -> None:
    await machine.boot(site.document())
    site.always["/install/done"] = Fault(status=409)
    status, output = await machine.done("ok")
    assert (status, "409: told to fail" in output) == (1, True)
    assert machine.agent() is None
    assert not (machine.folder / "cache").exists()


async def test_done_waits_for_a_frontend_that_is_away(site: FaultyFrontend, machine: Machine) -> None:
    await machine.boot(site.document())
    await site.stop()
    saying = asyncio.ensure_future(machine.done("ok"))
    await until(lambda: "frontend unavailable target=/install/" in machine.log())
    # The host is installed: who waits for a confirmation need not serve anybody.
    await until(lambda: not (machine.folder / "cache").exists())
    assert machine.ports(machine.agent()) == set()
    await site.start()
    assert (await saying)[0] == 0


async def test_sigterm_ends_the_agent_cleanly(site: FaultyFrontend, machine: Machine) -> None:
    await machine.boot(site.document())
    agent = machine.agent()
    assert agent is not None
    os.kill(agent, signal.SIGTERM)
    await machine.ended(agent)
    assert not (machine.folder / "cache").exists()
    assert not (machine.run / "agent.sock").exists()
    assert "agent ended" in machine.log()


async def test_a_refused_order_stops_the_install_with_the_frontends_words(
    site: FaultyFrontend, machine: Machine
) -> None:
    site.always["/install/profile"] = Fault(status=403)
    status, output = await machine.boot(site.document())
    assert (status, output) == (1, "avalanche: told to fail\n")
    assert not (machine.run / "ks.cfg").exists()


async def test_a_kickstart_that_pykickstart_refuses_never_reaches_the_installer(
    site: FaultyFrontend, machine: Machine
) -> None:
    profile(site, lang="en_US.UTF-8 --nonsense")
    status, output = await machine.boot(site.document())
    assert status == 1
    assert "nodes/base.xml" in output
    assert "--nonsense" in output
    assert not (machine.run / "ks.cfg").exists()
    assert [status for status, _ in site.outcomes("kickstart")] == ["failed"]
    await until(lambda: site.done)
    assert site.done[0]["status"] == "failed"


async def test_a_failing_pre_script_is_named_with_its_last_lines(site: FaultyFrontend, machine: Machine) -> None:
    pre = '<pre node="base" line="9" interpreter="/bin/sh">echo no disk here\nexit 3\n</pre>\n'
    profile(site, pre=pre)
    status, output = await machine.boot(site.document())
    assert status == 1
    assert "nodes/base.xml:9: the <pre> script ended with status 3: no disk here" in output
    assert site.outcomes("pre")[-1][0] == "failed"
    assert not (machine.run / "ks.cfg").exists()


async def test_a_missing_interpreter_is_named(site: FaultyFrontend, machine: Machine) -> None:
    profile(site, pre='<pre node="base" line="9" interpreter="/no/such">x\n</pre>\n')
    _, output = await machine.boot(site.document())
    assert "nodes/base.xml:9: /no/such cannot be started: No such file or directory" in output


async def test_a_damaged_manifest_is_refused(site: FaultyFrontend, machine: Machine) -> None:
    site.installation = site.installation.replace(GENERATION.encode(), b"g-ffffffffffffffff")
    status, output = await machine.boot(site.document())
    assert (status, "the manifest is of g-0123456789abcdef" in output) == (1, True)


async def test_a_clock_off_by_a_day_breaks_nothing(objects: dict[str, bytes], folder: Path, machine: Machine) -> None:
    (folder / "expired").mkdir()
    generation = Generation(objects)
    frontend = FaultyFrontend(Certificates(folder / "expired", days=-1), generation, bundle=BUNDLE)
    frontend.installation = installation_of(generation)
    await frontend.start()
    assert (await machine.boot(frontend.document()))[0] == 0
    await frontend.stop()


async def test_a_frontend_with_another_ca_is_not_talked_to(
    site: FaultyFrontend, folder: Path, machine: Machine
) -> None:
    (folder / "other").mkdir()
    row = json.loads(site.document().to_json())
    document = type(site.document()).parse(json.dumps({**row, "ca": Certificates(folder / "other").ca}))
    status, output = await machine.boot(document)
    assert (status, "its certificate is not trusted" in output) == (1, True)
    assert not [target for _, target, _ in site.requests if target == "/install/profile"]


async def test_a_bundle_with_another_hash_is_never_started(site: FaultyFrontend, machine: Machine) -> None:
    document = site.document()
    site.bundle = make_bundle(main="raise SystemExit('evil')")
    site.faults[f"/install/bundle/{document.bundle}"].extend([Fault(status=200)] * 50)
    status, output = await machine.boot(document, wait_seconds=0.5)
    assert (status, "another SHA-256" in output) == (1, True)
    assert not (machine.run / "agent.pyz").exists()


async def test_a_frontend_that_is_busy_is_asked_for_the_bundle_again(site: FaultyFrontend, machine: Machine) -> None:
    document = site.document()
    site.faults[f"/install/bundle/{document.bundle}"].append(Fault(status=503, retry_after="1"))
    status, output = await machine.boot(document)
    assert (status, "503 told to fail; trying again" in output) == (0, True)


async def test_a_bundle_that_is_gone_is_final(site: FaultyFrontend, machine: Machine) -> None:
    document = site.document()
    site.always[f"/install/bundle/{document.bundle}"] = Fault(status=404)
    status, output = await machine.boot(document)
    assert (status, "404 told to fail" in output, "trying again" in output) == (1, True, False)


async def test_an_agent_that_dies_early_is_explained_at_once(site: FaultyFrontend, machine: Machine) -> None:
    site.bundle = make_bundle(main="raise SystemExit('this Python is too old')")
    status, output = await machine.boot(site.document())
    assert (status, output) == (
        1,
        "avalanche: the agent ended without a kickstart: this Python is too old\n",
    )


async def test_a_pre_that_waits_too_long_says_what_the_agent_did_last(site: FaultyFrontend, machine: Machine) -> None:
    site.always["/install/profile"] = Fault(status=503, retry_after="1")
    status, output = await machine.boot(site.document(), wait_seconds=15)
    assert status == 1
    assert "no kickstart after 15 s" in output
    assert "/install/profile: 503: told to fail" in output


@pytest.mark.parametrize("words", [[], ["--run"], ["--run", "/x", "--port", "1"], ["--listener", "3"]])
def test_words_that_no_keeper_says_are_wrong_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["agent", *words]) == 2
    assert capsys.readouterr().err.startswith("usage: agent.pyz agent --run RUN")


async def test_wrong_settings_are_named(site: FaultyFrontend, machine: Machine) -> None:
    (machine.run / "agent.json").write_text('{"cache": 1}')
    _, output = await machine.boot(site.document())
    assert "agent.json: unknown key 'cache'; the keys are cache_dir" in output


async def test_a_taken_port_is_named(site: FaultyFrontend, machine: Machine) -> None:
    taken = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", machine.port)
    _, output = await machine.boot(site.document())
    assert f"127.0.0.1:{machine.port}: cannot listen: " in output
    taken.close()


async def test_a_fault_of_the_agent_itself_is_said(site: FaultyFrontend, machine: Machine) -> None:
    main = BUNDLE_THAT_CRASHES.format(path=[entry for entry in sys.path if entry])
    site.bundle = make_bundle(main=main)
    _, output = await machine.boot(site.document())
    assert "the agent crashed (ZeroDivisionError: division by zero)" in output
    assert "Traceback" in machine.log()


BUNDLE_THAT_CRASHES = """
import sys
sys.path += {path!r}
import avalanche.agent.program as program
from avalanche.agent.__main__ import main

async def crash(*ignored):
    1 / 0

program.Preparation.make_kickstart = crash
main()
"""
