"""The agent's metrics: those of the table, by the field's conventions, on the installer's own port."""

from __future__ import annotations

import re
from pathlib import Path

from tests.agent.faulty import FaultyFrontend
from tests.agent.rig import Rig

PAGE = Path(__file__).parent.parent.parent / "docs" / "operations.md"


async def test_the_table_of_the_documentation_is_what_is_exposed(frontend: FaultyFrontend, folder: Path) -> None:
    async with Rig(frontend, folder) as rig:
        await rig.loaded()
        answer = await rig.get("/.avalanche/metrics")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    text = answer.body.decode()
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    rows = re.findall(r"^\| `(avalanche_agent_\w+)` \| (\w+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert types == dict(rows)
    total = frontend.generation.manifest.total_bytes
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert values['avalanche_agent_received_bytes_total{source="frontend"}'] == str(total)
    assert values["avalanche_agent_verified_bytes_total"] == str(total)
    assert values["avalanche_agent_packages_total"] == "12"
    assert values["avalanche_agent_transfers"] == "0"
    assert frontend.asked(".avalanche/metrics") == []


async def test_every_line_is_of_prometheus_s_form(frontend: FaultyFrontend, folder: Path) -> None:
    async with Rig(frontend, folder) as rig:
        lines = (await rig.get("/.avalanche/metrics")).body.decode().splitlines()
        assert (await rig.get("/.avalanche/metrics", method="HEAD")).status == 200
    described: set[str] = set()
    for line in lines:
        if line.startswith("# HELP "):
            described.add(line.split()[2])
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name in described
            assert (kind == "counter") == name.endswith("_total")
        else:
            found = re.fullmatch(r'([a-z_]+)(\{[a-z]+="[a-z]+"\})? [0-9]+', line)
            assert found is not None and found[1] in described, line
